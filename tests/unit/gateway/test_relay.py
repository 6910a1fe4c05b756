"""The relay between a punt channel and an engine on a real UDP socket; time is nobody's here."""

import socket
from typing import NamedTuple

import pytest

from pcg.gateway import relay
from pcg.gateway.relay import AT_ONCE, Relay
from pcg.model.errors import BackendError
from pcg.wire import dhcp
from tests.unit.gateway.leasing import SERVED, programmed
from tests.unit.gateway.world import World
from tests.unit.proto.dhcp_world import frame, message, replied, seen
from tests.waiting import wait_until


class Punt(NamedTuple):
    vni: int
    mac: bytes
    tep: bytes
    at: float
    frame: bytes


class Answer(NamedTuple):
    vni: int
    mac: bytes
    frame: bytes


class Punts:
    """pcg.datapath.punts.Punts over lists."""

    def __init__(self):
        self.waiting, self.sent, self.room = [], [], 10_000

    def receive(self):
        taken, self.waiting = self.waiting, []
        return taken

    def send(self, answers):
        taken = answers[: self.room]
        self.sent += taken
        return len(taken)


class Place:
    """A relay in a gateway, and the engine of VRF t1."""

    def __init__(self, monkeypatch):
        self.world = World(monkeypatch)
        self.world.adopt(SERVED)
        self.world.run(3.0)
        self.grants, self.punts = self.world.gateway.grants, Punts()
        self.relay = Relay(self.punts, self.grants, Answer)
        self.engine = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.engine.bind(("127.0.0.1", 0))
        self.engine.settimeout(10)
        self.relay.serve({"t1": self.engine.getsockname()})

    def close(self):
        self.relay.close()
        self.engine.close()

    def client(self, name):
        return self.grants.roster.by_port[name]

    def say(self, name, *options, kind="discover", sent_frame=None, **header):
        one = self.client(name)
        if sent_frame is None:
            sent_frame = frame(message(kind, *options, mac=one.mac, **header))
        self.punts.waiting.append(Punt(one.site.vni, one.mac, bytes(4), 0.0, sent_frame))

    def turn(self):
        self.relay.turn()

    def heard(self):
        return dhcp.parse(self.engine.recv(2000))

    def answer(self, name, kind="ack", yiaddr="192.168.1.100", engine=None, **more):
        data = replied(
            kind, ("lease_time", 600), to=self.client(name), yiaddr=socket.inet_aton(yiaddr), **more
        )
        (engine or self.engine).sendto(data, ("127.0.0.1", self.relay.port))

    def until(self, cond, what):
        def look():
            self.turn()
            return cond()

        wait_until(look, what)

    def refused(self):
        return dict(self.grants.refused)


@pytest.fixture
def place(monkeypatch):
    made = Place(monkeypatch)
    yield made
    made.close()


def test_a_whole_exchange(place):
    place.say("vm-1")
    place.turn()
    assert place.heard().type == dhcp.DISCOVER
    place.answer("vm-1", "offer")
    place.until(lambda: len(place.punts.sent) == 1, "the offer")
    place.say("vm-1", ("hostname", b"joe"), ("requested_addr", "192.168.1.100"), kind="request")
    place.turn()
    assert place.heard().options[dhcp.ASKED] == socket.inet_aton("192.168.1.100")
    place.answer("vm-1")
    place.until(lambda: len(place.punts.sent) == 2, "the ack")
    kinds = [seen(answer.frame)[1].type for answer in place.punts.sent]
    assert kinds == [dhcp.OFFER, dhcp.ACK]
    assert place.punts.sent[0][:2] == (
        101,
        place.client("vm-1").mac,
    )
    assert [a for _, a in programmed(place.world)] == ["192.168.1.100"]
    (lease,) = place.grants.view()
    assert (lease["port"], lease["hostname"]) == ("vm-1", "joe")
    assert place.relay.messages == dict.fromkeys(
        (("DISCOVER", "in"), ("OFFER", "out"), ("REQUEST", "in"), ("ACK", "out")), 1
    )
    assert place.refused() == {}


@pytest.mark.parametrize("kind", ["release", "decline"])
def test_rfc2131_4_3_3_and_4_3_4_what_is_declined_or_released_is_no_longer_the_ports(place, kind):
    """RFC 2131 section 4.3.3, section 4.3.4."""
    place.answer("vm-1")
    place.until(place.grants.view, "the lease")
    if kind == "release":
        place.say("vm-1", kind=kind, ciaddr=socket.inet_aton("192.168.1.100"))
    else:
        place.say("vm-1", ("requested_addr", "192.168.1.100"), kind=kind)
    place.turn()
    assert place.heard().type == (dhcp.RELEASE if kind == "release" else dhcp.DECLINE)
    assert place.grants.view() == []
    assert programmed(place.world) == {}


def test_one_cannot_release_or_decline_anothers_address(place):
    place.answer("vm-1")
    place.until(place.grants.view, "the lease")
    place.say("vm-2", kind="release", ciaddr=socket.inet_aton("192.168.1.100"))
    place.say("vm-2", ("requested_addr", "192.168.1.100"), kind="decline")
    place.turn()
    assert [lease["port"] for lease in place.grants.view()] == ["vm-1"]
    assert len(programmed(place.world)) == 1


def test_bad_frames_are_counted_by_reason_and_harm_nobody(place):
    place.say("vm-1", sent_frame=b"")
    place.say("vm-1", sent_frame=frame(b"x" * 300))
    place.say("vm-1", hops=9)
    place.say("vm-1", giaddr=b"\x0a\0\0\1")
    place.punts.waiting.append(Punt(101, b"nobody", bytes(4), 0.0, b""))
    place.say("vm-2")
    place.turn()
    assert place.heard().mac == place.client("vm-2").mac
    assert place.refused() == {
        ("web", "FRAME"): 1,
        ("web", "COOKIE"): 1,
        ("web", "HOPS"): 1,
        ("web", "RELAYED"): 1,
        ("", "CLIENT_UNKNOWN"): 1,
    }


def test_rfc2131_4_3_1_an_ack_goes_out_once_its_lease_is_on_the_disk(place):
    """RFC 2131 section 4.3.1."""
    stored, full = [], [True]

    def kinds():
        return [seen(answer.frame)[1].type for answer in place.punts.sent]

    def store(vrf):
        stored.append((vrf, kinds().count(dhcp.ACK)))
        if full:
            raise BackendError("lease file", "No space left on device")

    place.grants.store = store
    place.answer("vm-2", "offer", "192.168.1.101")
    place.answer("vm-1")
    place.until(place.refused, "it is refused")
    place.until(kinds, "the offer")
    assert place.refused() == {("web", "NOT_STORED"): 1}
    assert programmed(place.world) == {}
    full.clear()
    place.answer("vm-1")
    place.until(lambda: len(place.punts.sent) == 2, "the ack")
    assert stored == [("t1", 0), ("t1", 0)]
    assert kinds() == [dhcp.OFFER, dhcp.ACK]


def test_a_vrf_without_engine_is_counted(place):
    place.say("far")
    place.turn()
    assert place.refused() == {("other", "NO_ENGINE"): 1}


def test_who_is_not_the_engine_is_not_believed(place):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        place.answer("vm-1", engine=stranger)
        place.until(place.refused, "it is refused")
    assert place.refused() == {("", "STRANGER"): 1}
    assert place.punts.sent == []


def test_the_engine_of_one_vrf_speaks_for_no_other(place):
    place.answer("far")
    place.until(place.refused, "it is refused")
    assert place.refused() == {("other", "REPLY_BROKEN"): 1}
    assert place.punts.sent == []


def test_what_the_datapath_does_not_take_at_once_waits_a_moment_in_order(place):
    place.punts.room = 1
    for kind in ("offer", "ack", "nak"):
        place.answer("vm-1", kind, yiaddr="0.0.0.0" if kind == "nak" else "192.168.1.100")
    place.until(lambda: len(place.punts.sent) == 3, "one after the other")
    kinds = [seen(answer.frame)[1].type for answer in place.punts.sent]
    assert sorted(kinds) == [dhcp.OFFER, dhcp.ACK, dhcp.NAK]
    assert place.refused() == {}


def test_replies_that_the_datapath_does_not_take_in_time_are_counted(place, monkeypatch):
    place.punts.room = 0
    place.answer("vm-1", "offer")
    place.until(lambda: place.relay._waiting, "it waits")
    assert place.refused() == {}
    monkeypatch.setattr(relay, "PATIENCE_S", -1.0)
    place.answer("vm-2", "offer", "192.168.1.101")
    place.until(place.refused, "it is refused")
    place.until(lambda: not place.relay._waiting, "all are")
    assert place.refused() == {("web", "NOT_SENT"): 2}
    assert not place.relay.messages


def test_no_more_replies_wait_than_there_is_room_for(place, monkeypatch):
    monkeypatch.setattr(relay, "WAITING_MAX", 2)
    place.punts.room = 0
    for _ in range(5):
        place.answer("vm-1", "offer")
    place.until(lambda: sum(place.refused().values()) == 3, "the oldest are refused")
    assert len(place.relay._waiting) == 2


def test_a_mistake_of_ours_costs_a_batch_and_is_told_once(place, caplog):
    def broken():
        place.punts.failures += 1
        if place.punts.failures <= 3:
            raise ZeroDivisionError
        return type(place.punts).receive(place.punts)

    place.punts.failures, place.punts.receive = 0, broken
    place.punts.socket = place.engine  # readable once something is sent to it
    place.relay.start()
    for _ in range(4):
        place.engine.sendto(b"wake", place.engine.getsockname())
    wait_until(lambda: place.punts.failures > 3, "it goes on")
    assert place.refused() == {("", "INTERNAL"): 3}
    assert caplog.text.count("by a mistake of its own") == 1


def test_a_mistake_at_expiry_ends_no_service(place, monkeypatch):
    tried = []

    def broken():
        tried.append(1)
        raise ValueError

    monkeypatch.setattr(place.grants, "expire", broken)
    monkeypatch.setattr(relay, "WAIT_MS", 1)
    place.punts.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    place.relay.start()
    wait_until(lambda: len(tried) > 3, "it goes on")
    place.answer("vm-1", "offer")
    wait_until(lambda: place.punts.sent, "the offer")
    place.relay.close()
    place.punts.socket.close()
    assert place.refused()["", "INTERNAL"] >= 3


def test_a_burst_is_carried_whole(place):
    n = AT_ONCE + 50
    for _ in range(n):
        place.answer("vm-1", "offer")
    place.until(lambda: len(place.punts.sent) == n, "all of them")


def test_an_engine_that_went_away_does_not_stop_the_others(place):
    gone = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    gone.bind(("127.0.0.1", 0))
    place.relay.serve({"t1": place.engine.getsockname(), "t2": gone.getsockname()})
    gone.close()
    for _ in range(5):
        place.say("far")
        place.say("vm-1")
        place.turn()
        assert place.heard().mac == place.client("vm-1").mac


def test_a_port_that_is_taken_is_a_backend_error(place):
    with pytest.raises(BackendError, match="relay port"):
        Relay(place.punts, place.grants, Answer, place.relay.port)
