"""Leases reach the controller, each change at last once, over a net that loses and repeats."""

from hypothesis import given
from hypothesis import strategies as st

from pcg.proto.lease_report import LeaseReports
from pcg.proto.serve import Leased, Offer, Peer
from pcg.wire import codec, limits
from pcg.wire import messages as m


def lease(n: int, expires: float = 100.0) -> m.Lease:
    address = f"10.0.{n >> 8}.{n & 255}"
    return m.Lease("t1", "web", address, "02:00:00:00:00:09", "", "", f"vm-{n}", "", expires)


def key(n: int) -> tuple[str, str]:
    return "t1", lease(n).address


def peer() -> Peer:
    made = Peer("gw-a", Offer(77), 1.0, 5.0, 0.0)
    made.receive(m.Hello("gw-a"), 0.0)
    made.outbox.clear()
    return made


def carry(reports: LeaseReports, to: Peer) -> int:
    """Until nothing is new; how many batches it took."""
    n = 0
    while batch := reports.next():
        n += 1
        to.receive(batch, 0.0)
        for answer in to.outbox:
            reports.heard(answer.number)
        to.outbox.clear()
    return n


def test_nothing_is_said_before_the_gateway_knows_itself():
    reports = LeaseReports()
    assert reports.next() is None
    reports.tell({})
    assert reports.next() == m.Leases(1, True)


def test_changes_arrive_and_those_that_ended_go():
    reports, controller = LeaseReports(), peer()
    reports.tell({key(n): lease(n) for n in range(3)})
    assert carry(reports, controller) == 1
    reports.tell({key(0): None, key(1): lease(1, 200.0)})
    assert carry(reports, controller) == 1
    assert controller.leases == {key(1): lease(1, 200.0), key(2): lease(2)}


def test_one_batch_at_a_time_and_the_same_again_until_it_was_heard():
    reports = LeaseReports()
    reports.tell({key(1): lease(1)})
    batch = reports.next()
    reports.tell({key(2): lease(2)})
    assert reports.next() is None
    assert reports.again() is batch
    reports.heard(batch.number + 1)
    assert reports.again() is batch
    reports.heard(batch.number)
    assert reports.next().held == (lease(2),)


def test_a_book_of_any_size_goes_in_batches_that_fit_a_frame():
    reports, controller = LeaseReports(), peer()
    long = m.Lease(
        *("v" * 47, "s" * 47, "255.255.255.255", "02:00:00:00:00:09", "ab" * 255, "h" * 255),
        *("p" * 47, "\U0001f600" * 255, 1e9),
    )
    codec.encode(m.Leases(2**62, True, (long,) * limits.MAX_LEASES))
    reports.tell({key(n): lease(n) for n in range(2 * limits.MAX_LEASES + 1)})
    assert carry(reports, controller) == 3
    assert len(controller.leases) == 2 * limits.MAX_LEASES + 1


def test_a_controller_that_knows_nothing_gets_the_whole():
    reports, controller = LeaseReports(), peer()
    reports.tell({key(n): lease(n) for n in range(5)})
    carry(reports, controller)
    reports.tell({key(0): None})
    reports.restart()
    other = peer()
    carry(reports, other)
    assert set(other.leases) == {key(n) for n in range(1, 5)}


def test_what_a_former_life_of_the_gateway_had_is_void():
    old, controller = LeaseReports(), peer()
    old.tell({key(9): lease(9)})
    carry(old, controller)
    controller.receive(m.Hello("gw-a"), 0.0)
    controller.outbox.clear()
    new = LeaseReports()
    new.tell({key(1): lease(1)})
    carry(new, controller)
    assert set(controller.leases) == {key(1)}


def test_an_old_batch_that_comes_late_changes_nothing():
    reports, controller = LeaseReports(), peer()
    reports.tell({key(1): lease(1)})
    first = reports.next()
    assert controller.receive(first, 0.0) == [Leased()]
    reports.heard(first.number)
    reports.tell({key(1): None, key(2): lease(2)})
    carry(reports, controller)
    assert controller.receive(first, 0.0) == []
    assert set(controller.leases) == {key(2)}


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("tell"), st.integers(0, 5), st.sampled_from([None, 1.0, 2.0])),
        st.tuples(st.just("send"), st.booleans(), st.booleans()),  # is it lost, its answer
        st.tuples(st.just("again"), st.booleans(), st.booleans()),
        st.tuples(st.just("hello"), st.none(), st.none()),
    ),
    max_size=40,
)


@given(STEPS)
def test_whatever_is_lost_or_repeated_both_agree_in_the_end(steps):
    reports, controller, truth = LeaseReports(), peer(), {}
    for what, a, b in steps:
        if what == "tell":
            reports.tell({key(a): None if b is None else lease(a, b)})
            truth[key(a)] = None if b is None else lease(a, b)
        elif what == "hello":
            controller.receive(m.Hello("gw-a"), 0.0)
            controller.outbox.clear()
            reports.restart()
        elif (batch := reports.next() if what == "send" else reports.again()) and not a:
            controller.receive(batch, 0.0)
            if not b:
                reports.heard(controller.outbox[-1].number)
            controller.outbox.clear()
    if batch := reports.again():
        controller.receive(batch, 0.0)
        reports.heard(batch.number)
    controller.outbox.clear()
    carry(reports, controller)
    assert controller.leases == {k: v for k, v in truth.items() if v}
