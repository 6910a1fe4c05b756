"""The controller's end of the link."""

import pytest

from pcg.model.errors import ProtocolError
from pcg.proto.serve import MOVES, Joined, Left, Offer, Peer, Reported, Short, State
from pcg.wire import limits
from pcg.wire import messages as m
from pcg.wire.snapshot import Snapshot
from tests.unit.wire.desired_states import state

ONE = {
    m.Hello: m.Hello("gw-a"),
    m.Resync: m.Resync(1, b"", 2),
    m.Credit: m.Credit(1, 3),
    m.Realised: m.Realised(1),
    m.Status: m.Status(1, 1, {}),
    m.Leases: m.Leases(1, True),
}


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(limits, "CHUNK_BYTES", 100)


def offer(desired=None):
    made = Offer(epoch=77)
    if desired:
        made.publish(desired, Snapshot.of(desired))
    return made


def stranger():
    return Peer("gw-a", offer(state(20)), 1.0, 5.0, 0.0)


def greeted():
    peer = stranger()
    peer.receive(m.Hello("gw-a"), 0.0)
    peer.outbox.clear()
    return peer


def sending():
    peer = greeted()
    peer.receive(m.Resync(1, b"", 2), 0.0)
    return peer


IN = {State.STRANGER: stranger, State.GREETED: greeted, State.SENDING: sending}


def test_the_table_speaks_of_every_state_and_message():
    assert {s for s, _ in MOVES} == set(State)
    assert {t for _, t in MOVES} == set(ONE) == set(m.ToController.__args__)


@pytest.mark.parametrize("where", State, ids=lambda s: s.value)
@pytest.mark.parametrize("what", ONE, ids=lambda t: t.__name__)
def test_every_move_is_as_the_table_says(where, what):
    peer = IN[where]()
    if (where, what) in MOVES:
        peer.receive(ONE[what], 0.0)
        assert peer.state in MOVES[where, what]
    else:
        with pytest.raises(ProtocolError, match=f"{what.__name__} while {where.value}"):
            peer.receive(ONE[what], 0.0)
        assert peer.state is where


def test_first_state_is_a_heartbeat_then_deltas_then_silence_when_nothing_is_new():
    made = offer()
    assert made.publish(state(1), Snapshot.of(state(1))) == m.Heartbeat(77, 1)
    second = made.publish(state(2), Snapshot.of(state(2)))
    assert (type(second), second.revision, len(second.changes)) == (m.Delta, 2, 1)
    assert made.publish(state(2), Snapshot.of(state(2))) is None
    assert made.revision == 2


def test_change_too_large_for_a_delta_is_announced_only(monkeypatch):
    monkeypatch.setattr(limits, "MAX_DELTA_BYTES", 1000)
    made = offer(state(1))
    assert made.publish(state(100), Snapshot.of(state(100))) == m.Heartbeat(77, 2)


def test_hello_is_welcomed():
    peer = stranger()
    assert peer.receive(m.Hello("gw-a", "0.1"), 0.0) == [Joined("0.1")]
    assert peer.outbox == [m.Welcome(77, 1.0)]


def test_a_name_that_is_not_the_keys_is_refused():
    peer = stranger()
    with pytest.raises(ProtocolError, match="gateway gw-b came with the key of gw-a"):
        peer.receive(m.Hello("gw-b"), 0.0)
    assert (peer.state, peer.outbox) == (State.STRANGER, [])


def test_chunks_wait_for_credit():
    peer = sending()
    assert [type(x) for x in peer.outbox] == [m.Begin, m.Chunk, m.Chunk]
    peer.outbox.clear()
    peer.receive(m.Credit(1, 3), 0.0)
    peer.receive(m.Credit(1, 3), 0.0)
    peer.receive(m.Credit(9, 50), 0.0)  # of another request
    assert [x.index for x in peer.outbox] == [2]


def test_a_new_request_supersedes_the_last():
    peer = sending()
    peer.outbox.clear()
    peer.receive(m.Resync(2, b"", 1), 0.0)
    assert [x.request for x in peer.outbox] == [2, 2]


def test_a_stream_keeps_its_snapshot_when_the_state_moves_on():
    peer = sending()
    first = peer.offer.snapshot
    peer.offer.publish(state(40), Snapshot.of(state(40)))
    for n in range(3, first.n_chunks + 1):
        peer.receive(m.Credit(1, n), 0.0)
    sent = [x for x in peer.outbox if isinstance(x, m.Chunk)]
    assert b"".join(x.data for x in sent) == first.blob
    assert peer.state is State.GREETED


def test_equal_content_is_current():
    peer = greeted()
    peer.receive(m.Resync(1, Snapshot.of(state(20)).digest, 2), 0.0)
    assert peer.outbox == [m.Current(1, 77, 1)]


def test_nothing_to_offer_is_said():
    peer = Peer("gw-a", offer(), 1.0, 5.0, 0.0)
    peer.receive(m.Hello("gw-a"), 0.0)
    peer.receive(m.Resync(1, b"", 2), 0.0)
    assert peer.outbox[-1] == m.Nothing(1, 77)


def test_who_spoke_to_our_predecessor_is_asked_to_say_hello_again():
    peer = stranger()
    assert peer.receive(m.Status(1, 1, {}), 0.0) == []
    assert peer.outbox == [m.Again()]


def test_reports_are_taken_once_and_heard():
    peer = greeted()
    assert peer.receive(m.Realised(2, revision=1), 0.0) == [Reported(m.Realised(2, revision=1))]
    assert peer.receive(m.Realised(2, revision=1), 0.0) == []
    assert peer.receive(m.Realised(1), 0.0) == []
    assert peer.heartbeat() == m.Heartbeat(77, 1, heard=2)


def test_the_newest_status_is_kept():
    peer = greeted()
    peer.receive(m.Status(1, 1, {"a": 1}), 0.0)
    peer.receive(m.Status(1, 1, {"a": 2}), 0.0)
    assert peer.status.facts == {"a": 2}


def short(number, at=1.7e9):
    return m.Shortage(number, at, "vm-1", "10.0.0.9", "t1", "QUOTA_PORTS", "out", "eip-1", 5)


def told(peer, *shortages):
    return peer.receive(m.Status(1, 1, {}, shortages), 0.0)


def test_who_is_short_is_news_once():
    peer, one, two, three = greeted(), *map(short, (1, 2, 3))
    assert told(peer) == []
    assert told(peer, one, two) == [Short((one, two), 0)]
    assert told(peer, one, two) == []
    assert told(peer, two, three) == [Short((three,), 0)]
    peer.receive(m.Hello("gw-a"), 0.0)  # the link was down, no more
    assert told(peer, two, three) == []


def test_who_was_short_in_no_status_is_counted():
    peer = greeted()
    assert told(peer, short(8), short(9)) == [Short((short(8), short(9)), 7)]
    assert told(peer, short(12)) == [Short((short(12),), 2)]


def test_a_gateway_that_was_started_anew_counts_again():
    peer, again = greeted(), short(1, at=1.8e9)
    told(peer, *map(short, (1, 2, 3)))
    assert told(peer, again) == [Short((again,), 0)]


def test_a_silent_gateway_leaves_and_its_stream_ends():
    peer = sending()
    assert peer.tick(4.9) == []
    assert peer.tick(5.0) == [Left(5.0)]
    assert peer.tick(6.0) == []
    assert peer.receive(m.Credit(1, 3), 6.0) == []
    assert peer.outbox[-1] == m.Again()
