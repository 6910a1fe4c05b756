"""path_mtu.c: the underlay says that tunnel packets are too big (RFC 1191, RFC 8926 4.1.1)."""

import pytest
from scapy.layers.inet import ICMP, IP
from scapy.packet import Raw

from tests.c import wire
from tests.c.packets import udp
from tests.c.places import DOWN_MAC, TEP, TEP2, TEP3, A, B

ROUTER = "10.99.3.1"
OVERHEAD = 58


def sent_to(world, vm=B, n=8000, **ip) -> bytes:
    """The outer packet of n bytes of data to the workload, as it left."""
    (seen,) = world.down(A, udp(dst=vm.address, data=bytes(n), **ip))
    return seen.frame[14:]


def complaint(about: bytes, mtu: int, quote=28, dst=TEP, kind=3, code=4, **icmp) -> bytes:
    icmp = ICMP(type=kind, code=code, nexthopmtu=mtu, **icmp)
    return wire.plain(IP(src=ROUTER, dst=dst) / icmp / Raw(about[:quote]), dst=DOWN_MAC)


def told(world, frame: bytes) -> bool:
    """Was it believed? It ends here either way."""
    before = world.dp.totals()["punt"]
    assert world.inject("downlink", frame) == []
    world.sweep()
    drops, punted = world.drops(), world.dp.totals()["punt"] - before
    assert (punted, drops) in ((1, {}), (0, {"OUTER_ICMP": 1}))
    return bool(punted)


def learned(world) -> dict[str, int]:
    return {".".join(map(str, p.address_be)): p.mtu for p in world.dp.read("path_mtu")}


class TestLearnt:
    @pytest.mark.parametrize("quote", [28, 60, 548])
    def test_what_is_sent_from_then_on_fits(self, world, quote):
        """RFC 8926 section 4.1.1."""
        assert told(world, complaint(sent_to(world), 1500, quote))
        assert learned(world) == {TEP2: 1500}
        pieces = world.down(A, udp(dst=B.address, data=bytes(3000)))
        assert max(len(s.frame) - 14 for s in pieces) <= 1500
        assert len(pieces) == 3
        (error,) = world.down(A, udp(dst=B.address, data=bytes(3000), flags="DF"))
        assert error.ip[ICMP].nexthopmtu == 1500 - OVERHEAD

    def test_other_teps_keep_theirs(self, world):
        assert told(world, complaint(sent_to(world), 1500))
        assert len(world.down(B, udp(B.address, A.address, data=bytes(8000)))) == 1

    def test_lower_again_and_never_higher(self, world):
        about = sent_to(world)
        for mtu in (4000, 1500, 2000):
            assert told(world, complaint(about, mtu))
        assert learned(world) == {TEP2: 1500}

    def test_the_lowest_of_several_at_once(self, world):
        about = sent_to(world)
        world.inject("downlink", *[complaint(about, mtu) for mtu in (3000, 1400, 5000)])
        world.sweep()
        assert learned(world) == {TEP2: 1400}

    def test_ten_minutes_and_it_is_tried_again(self, world):
        """RFC 1191 section 6.3."""
        about = sent_to(world)
        assert told(world, complaint(about, 1500))
        world.sweep(after_s=599)
        assert told(world, complaint(about, 1500))
        world.sweep(after_s=600)
        assert learned(world) == {TEP2: 1500}
        world.sweep(after_s=1)
        assert learned(world) == {}
        assert len(world.down(A, udp(dst=B.address, data=bytes(8000)))) == 1

    def test_an_old_router_says_no_mtu(self, world):
        """RFC 1191 section 7: the next lower common one."""
        assert told(world, complaint(sent_to(world), 0))
        assert learned(world) == {TEP2: 4352}

    def test_it_outlives_a_change_of_the_tep(self, world):
        assert told(world, complaint(sent_to(world), 1500))
        (tep,) = [t for t in world.dp.read("teps") if t.address_be == B.record.tep_be]
        world.dp.put("teps", [tep._replace(mac=bytes(5) + b"\x12")])
        assert learned(world) == {TEP2: 1500}
        assert tep.mtu == 9001  # the control loop's own value is not touched

    def test_it_ends_with_the_tep(self, world):
        assert told(world, complaint(sent_to(world), 1500))
        (tep,) = [t for t in world.dp.read("teps") if t.address_be == B.record.tep_be]
        world.dp.delete("teps", [tep])
        world.dp.put("teps", [tep])
        assert learned(world) == {}

    def test_explain_learns_nothing(self, world):
        world.dp.explain("downlink", complaint(sent_to(world), 1500))
        world.sweep()
        assert learned(world) == {}


def changed(about: bytes, at: int, value: bytes) -> bytes:
    return about[:at] + value + about[at + len(value) :]


FORGED = [
    ("an MTU of 633", lambda about: complaint(about, 633)),
    ("an MTU that would have passed", lambda about: complaint(about, 8086)),
    ("not our TEP's packet", lambda about: complaint(changed(about, 12, b"\x0a"[:1] * 4), 1500)),
    ("to a stranger", lambda about: complaint(changed(about, 19, b"\x63"), 1500)),
    ("not UDP", lambda about: complaint(changed(about, 9, b"\x06"), 1500)),
    ("another port", lambda about: complaint(changed(about, 22, b"\x17\xc2"), 1500)),
    ("a port we do not send from", lambda about: complaint(changed(about, 20, b"\x04\0"), 1500)),
    ("no DF", lambda about: complaint(changed(about, 6, b"\0\0"), 1500)),
    ("cut short", lambda about: complaint(about, 1500, quote=27)),
    ("a wrong checksum", lambda about: complaint(about, 1500, chksum=1)),
    ("another error", lambda about: complaint(about, 1500, code=1)),
    ("an echo", lambda about: complaint(about, 1500, kind=8, code=0)),
]


@pytest.mark.parametrize("forge", [f[1] for f in FORGED], ids=[f[0] for f in FORGED])
def test_not_believed(world, forge):
    assert not told(world, forge(sent_to(world)))
    assert learned(world) == {}


def test_the_floor_leaves_576_bytes_inside(world):
    assert told(world, complaint(sent_to(world), 634))
    (error,) = world.down(A, udp(dst=B.address, data=bytes(3000), flags="DF"))
    assert error.ip[ICMP].nexthopmtu == 576
    assert len(error.ip) == 576


def test_another_address_is_no_business_of_ours(world):
    world.inject("downlink", complaint(sent_to(world), 1500, dst="10.99.3.9"))
    assert world.drops() == {"OUTER_NOT_TUNNEL": 1}


def test_a_tep_nobody_knows_the_way_to(world):
    """TEP3 has no MAC, so nothing was sent to it; what speaks of it does no harm."""
    about = changed(sent_to(world), 16, bytes(map(int, TEP3.split("."))))
    assert told(world, complaint(about, 1500))
