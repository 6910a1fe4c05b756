"""The gateway's end of the link: one test for each rule that a reader would look for."""

import itertools

import msgspec
import pytest

from pcg.model.errors import Problem, ProtocolError
from pcg.proto.link import FIRST_WAIT_S, Link
from pcg.proto.link_table import (
    MOVES,
    Changed,
    Lost,
    Reconnect,
    Refused,
    State,
    Synced,
    Waiting,
)
from pcg.wire import limits
from pcg.wire import messages as m
from pcg.wire.changes import diff
from pcg.wire.snapshot import Snapshot
from tests.unit.wire.desired_states import state

HOLD_S = 5.0
EPOCH = 77

ONE = {
    m.Welcome: m.Welcome(EPOCH, 1.0),
    m.Refused: m.Refused("no"),
    m.Again: m.Again(),
    m.Begin: m.Begin(1, EPOCH, 1, 100, bytes(32)),
    m.Chunk: m.Chunk(1, 0, bytes(100)),
    m.Current: m.Current(1, EPOCH, 1),
    m.Nothing: m.Nothing(1, EPOCH),
    m.Delta: m.Delta(EPOCH, 1, ()),
    m.Heartbeat: m.Heartbeat(EPOCH, 1),
    m.LeasesHeard: m.LeasesHeard(1),
}


def bad_zone(desired):
    return [Problem("gateway.zone", "b", "is bad")] if desired.gateway.zone == "b" else []


def greeting(held=None):
    return Link("gw-a", HOLD_S, 0.0, judge=bad_zone, held=held)


def syncing(held=None):
    link = greeting(held)
    link.connected(0.0)
    link.receive(m.Welcome(EPOCH, 1.0), 0.0)
    return link


def answer(link, desired, revision=1):
    """What a controller says to the last Resync; the events."""
    request = [x for x in link.outbox if isinstance(x, m.Resync)][-1].request
    link.outbox.clear()
    whole = Snapshot.of(desired)
    events = link.receive(m.Begin(request, EPOCH, revision, len(whole.blob), whole.digest), 0.0)
    for i in range(whole.n_chunks):
        events += link.receive(whole.chunk(request, i), 0.0)
    return events


def live(desired=None):
    link = syncing()
    answer(link, desired or state(3))
    link.outbox.clear()
    return link


def behind():
    link = syncing()
    answer(link, state(zone="b"))
    link.outbox.clear()
    return link


IN = {State.GREETING: greeting, State.SYNCING: syncing, State.LIVE: live, State.BEHIND: behind}


def test_the_table_speaks_of_every_state_and_message():
    assert {s for s, _ in MOVES} == set(State)
    assert {t for _, t in MOVES} == set(ONE) == set(m.ToGateway.__args__)


@pytest.mark.parametrize("where", State, ids=lambda s: s.value)
@pytest.mark.parametrize("what", ONE, ids=lambda t: t.__name__)
def test_every_move_is_as_the_table_says(where, what):
    link = IN[where]()
    held = link.held
    if (where, what) in MOVES:
        link.receive(ONE[what], 0.0)
        assert link.state in MOVES[where, what]
    else:
        with pytest.raises(ProtocolError, match=f"{what.__name__} while {where.value}"):
            link.receive(ONE[what], 0.0)
        assert (link.state, link.held) == (where, held)


def test_snapshot_makes_it_live():
    link = syncing()
    events = answer(link, state(3), revision=9)
    assert events == [Synced(state(3), EPOCH, 9)]
    assert link.state is State.LIVE


def test_equal_content_is_not_sent_and_stays_the_same_object():
    link = syncing(held=state(3))
    held = link.held
    (ask,) = [x for x in link.outbox if isinstance(x, m.Resync)]
    assert ask.digest == Snapshot.of(state(3)).digest
    (event,) = link.receive(m.Current(ask.request, EPOCH, 4), 0.0)
    assert event.desired is held
    assert event.revision == 4


def test_delta_applies_on_its_predecessor_only():
    link = live()
    changes = diff(state(3), state(4))
    assert link.receive(m.Delta(EPOCH, 2, changes), 0.0) == [Changed(state(4), EPOCH, 2)]
    assert link.receive(m.Delta(EPOCH, 2, changes), 0.0) == []
    assert link.receive(m.Delta(EPOCH, 4, diff(state(4), state(6))), 0.0) == []
    assert link.held == state(4)
    assert isinstance(link.outbox[-1], m.Resync)


def test_heartbeat_shows_a_lost_tail():
    link = live()
    link.receive(m.Heartbeat(EPOCH, 1), 0.0)
    assert link.state is State.LIVE
    link.receive(m.Heartbeat(EPOCH, 2), 0.0)
    assert link.state is State.SYNCING


def test_new_epoch_is_greeted_anew():
    link = live()
    link.receive(m.Heartbeat(EPOCH + 1, 1), 0.0)
    assert link.state is State.GREETING
    assert isinstance(link.outbox[-1], m.Hello)


def test_deltas_that_overtake_the_snapshot_are_applied_after_it():
    link = syncing()
    link.receive(m.Delta(EPOCH, 3, diff(state(4), state(5))), 0.0)
    link.receive(m.Delta(EPOCH, 2, diff(state(3), state(4))), 0.0)
    assert answer(link, state(3), revision=1) == [Synced(state(5), EPOCH, 3)]


@pytest.mark.parametrize("n_chunks", [1, 15, 16, 17, 20, 21, 50])
def test_credit_is_granted_in_time_and_never_beyond_the_end(monkeypatch, n_chunks):
    size = len(Snapshot.of(state(100)).blob)
    monkeypatch.setattr(limits, "CHUNK_BYTES", -(-size // n_chunks))
    link = syncing()
    answer(link, state(100))
    granted = [x.upto for x in link.outbox if isinstance(x, m.Credit)]
    assert granted == sorted(set(granted))
    assert [limits.WINDOW_CHUNKS, *granted][-1] == max(limits.WINDOW_CHUNKS, n_chunks)


def test_snapshot_cut_in_the_middle_leaves_the_old_state_and_is_asked_again():
    link = live()
    link.receive(m.Heartbeat(EPOCH, 2), 0.0)
    whole = Snapshot.of(state(3000))
    ask = link.outbox[-1]
    link.receive(m.Begin(ask.request, EPOCH, 2, len(whole.blob), whole.digest), 0.0)
    link.receive(whole.chunk(ask.request, 0), 0.0)
    link.receive(m.Heartbeat(EPOCH, 2), HOLD_S - 1)
    link.outbox.clear()
    assert link.tick(HOLD_S) == []
    assert link.outbox[-1].request == ask.request + 1
    assert link.held == state(3)
    assert link.receive(whole.chunk(ask.request, 1), HOLD_S) == []  # of the old question


def test_damaged_snapshot_is_refused_whole_and_asked_again():
    link = syncing(held=state(1))
    whole = Snapshot.of(state(3))
    request = link.outbox[-1].request
    link.receive(m.Begin(request, EPOCH, 1, len(whole.blob), bytes(32)), 0.0)
    (event,) = link.receive(whole.chunk(request, 0), 0.0)
    assert "damaged" in event.errors[0].text
    assert (link.state, link.held) == (State.SYNCING, state(1))
    link.tick(2 * FIRST_WAIT_S)
    assert link.outbox[-1].request == request + 1


def test_invalid_snapshot_is_refused_reported_and_not_asked_again_until_it_changes():
    link = behind()
    assert link.held is None
    link.receive(m.Heartbeat(EPOCH, 1), 0.0)
    assert not [x for x in link.outbox if isinstance(x, m.Resync)]
    (said,) = [x for x in link.outbox if isinstance(x, m.Realised)]
    assert (said.refused, said.errors[0].path) == (1, "gateway.zone")
    link.receive(m.Delta(EPOCH, 2, diff(state(zone="b"), state(1))), 0.0)
    assert answer(link, state(1), revision=2) == [Synced(state(1), EPOCH, 2)]
    assert link.reports.newest().refused == 0


def test_invalid_delta_is_refused_and_the_old_state_stays():
    link = live()
    (event,) = link.receive(m.Delta(EPOCH, 2, diff(state(3), state(3, zone="b"))), 0.0)
    assert event.errors == (m.ObjectError("gateway.zone", "gateway.zone: b is bad"),)
    assert (link.state, link.held, link.revision) == (State.BEHIND, state(3), 1)


def test_delta_of_a_kind_that_we_do_not_know_is_refused():
    link = live()
    put = m.Put("warp", msgspec.Raw(b"\x80"))
    (event,) = link.receive(m.Delta(EPOCH, 2, (put,)), 0.0)
    assert isinstance(event, Refused)
    assert (link.state, link.held) == (State.BEHIND, state(3))


def test_state_of_another_gateway_is_refused():
    link = syncing()
    (event,) = answer(link, state(id_="gw-b"))
    assert "gw-b is another gateway" in event.errors[0].text
    assert link.held is None


def test_no_state_at_the_controller_keeps_what_we_have():
    link = syncing(held=state(3))
    assert link.receive(m.Nothing(link.outbox[-1].request, EPOCH), 0.0) == [Waiting()]
    assert (link.state, link.held) == (State.BEHIND, state(3))
    link.receive(m.Heartbeat(EPOCH, 1), 0.0)
    assert link.state is State.SYNCING


def test_silence_is_lost_once_and_then_tried_with_backoff():
    link = live()
    assert link.tick(HOLD_S - 0.1) == []
    assert link.tick(HOLD_S) == [Lost(HOLD_S), Reconnect()]
    assert link.held == state(3)
    tries, now = [], HOLD_S
    while now < 60:
        now += 0.25
        tries += [now for e in link.tick(now) if isinstance(e, Reconnect)]
        assert not [e for e in link.tick(now) if isinstance(e, Lost)]
    gaps = [b - a for a, b in itertools.pairwise(tries)]
    assert gaps == sorted(gaps)
    assert gaps[-1] == HOLD_S


def test_hold_time_is_never_shorter_than_three_heartbeats():
    link = greeting()
    link.connected(0.0)
    link.receive(m.Welcome(EPOCH, 10.0), 0.0)
    answer(link, state())
    assert link.tick(29.9) == []
    assert link.tick(30.0)[0] == Lost(30.0)


def test_report_is_repeated_until_it_is_heard():
    link = live()
    link.report(m.Realised(epoch=EPOCH, revision=1))
    link.outbox.clear()  # lost
    link.receive(m.Heartbeat(EPOCH, 1, heard=0), 0.0)
    assert [x.number for x in link.outbox if isinstance(x, m.Realised)] == [1]
    link.outbox.clear()
    link.receive(m.Heartbeat(EPOCH, 1, heard=1), 0.0)
    assert [type(x) for x in link.outbox] == [m.Status]


def test_who_is_short_stands_in_every_status():
    link = live()
    link.shortages = (
        m.Shortage(1, 1.7e9, "vm-1", "10.0.0.9", "t1", "QUOTA_PORTS", "out", "eip-1", 5),
    )
    for _ in range(2):
        link.receive(m.Heartbeat(EPOCH, 1), 0.0)
    assert link.outbox == 2 * [m.Status(EPOCH, 1, {}, link.shortages)]


def test_refused_by_the_controller_waits_before_the_next_hello():
    link = live()
    (event,) = link.receive(m.Refused("not with that key"), 0.0)
    assert event.errors[0].text == "not with that key"
    link.tick(FIRST_WAIT_S)
    assert link.outbox == []
    link.tick(2 * FIRST_WAIT_S)
    assert link.outbox == [m.Hello("gw-a")]
