"""RFC 5382, NAT for TCP: opening sequences, and silence about SYN that nobody asked for.

Its timers are in test_ageing.py, mapping and filtering in test_nat.py, hairpins in test_hairpin.py.
"""

import pytest
from scapy.layers.inet import TCP

from tests.c.packets import answer, flow, one, tcp
from tests.c.places import NET, OTHER_NET, SERVER, A, B
from tests.c.wire import Seen

ESTABLISHED = "established"


def states(w) -> list[str]:
    return [s["state"] for s in w.dp.sessions()]


def inwards(out: Seen, flags: str, src: str = NET, sport: int = 80):
    return tcp(flags, src, out.ip.src, sport=sport, dport=out.ip[TCP].sport)


# Who says what, in order; "A" is the workload, "N" the other side.
WAYS = {
    "three ways": ("A:S", "N:SA", "A:A"),
    "with data in the SYN": ("A:S", "N:SA", "A:PA", "N:A"),
    "the SYN is said again": ("A:S", "A:S", "N:SA", "N:SA", "A:A"),
    "simultaneous": ("A:S", "N:S", "A:SA", "N:SA"),
    "simultaneous, answered in four": ("A:S", "N:S", "N:A", "A:A", "A:SA", "N:SA"),
    "split handshake": ("A:S", "N:A", "N:S", "A:SA", "N:A"),
}


class TestOpening:
    """REQ-2: "A NAT MUST support all valid sequences of TCP packets (defined in [RFC0793]) for
    connections initiated both internally as well as externally when the connection is permitted by
    the NAT. In particular: a) In addition to handling the TCP 3-way handshake mode of connection
    initiation, A NAT MUST handle the TCP simultaneous-open mode of connection initiation."
    """

    @pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
    def test_from_inside(self, world, way):
        """RFC 5382 REQ-2."""
        out = one(world.down(A, tcp("S")))
        for step in way[1:]:
            who, flags = step.split(":")
            if who == "A":
                seen = one(world.down(A, tcp(flags)))
                assert flow(seen) == flow(out)
            else:
                seen = one(world.up(inwards(out, flags)))
                assert flow(seen) == (NET, A.address, 80, 1000)
            assert str(seen.ip[TCP].flags) == flags
        assert states(world) == [ESTABLISHED]
        assert world.drops() == {}

    @pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
    def test_from_outside(self, world, way):
        """RFC 5382 REQ-2: the other side is a workload behind a door now."""
        got = one(world.up(tcp("S", NET, SERVER.secondary, dport=80)))
        for step in way[1:]:
            who, flags = step.split(":")
            if who == "A":
                seen = one(world.up(tcp(flags, NET, SERVER.secondary, dport=80)))
                assert flow(seen) == flow(got)
            else:
                seen = one(world.down(B, answer(got, flags, b"")))
                assert flow(seen) == (SERVER.secondary, NET, 80, 1000)
        assert states(world) == [ESTABLISHED]
        assert world.drops() == {}

    def test_simultaneous_and_theirs_is_the_first_to_come(self, world):
        """RFC 5382 REQ-2a: A's endpoint is open, NET was contacted by another connection: its SYN
        is let in, and A's own belongs to the same connection.
        """
        out = one(world.down(A, tcp("S", dport=443)))
        seen = one(world.up(inwards(out, "S")))
        assert flow(seen) == (NET, A.address, 80, 1000)
        assert flow(one(world.down(A, tcp("S")))) == (out.ip.src, NET, out.ip[TCP].sport, 80)
        assert world.up(inwards(out, "SA"))
        assert world.down(A, tcp("SA"))
        assert sorted(states(world)) == [ESTABLISHED, "opening"]
        assert world.dp.totals()["mappings"] == 1


class TestUnsolicited:
    """REQ-4: "A NAT MUST NOT respond to an unsolicited inbound SYN packet for at least 6 seconds
    after the packet is received. If during this interval the NAT receives and translates an
    outbound SYN for the connection the NAT MUST silently drop the original unsolicited inbound SYN
    packet. Otherwise, the NAT SHOULD send an ICMP Port Unreachable error (Type 3, Code 3) for the
    original SYN, unless REQ-4a applies." REQ-4a: "The NAT MUST silently drop the original SYN
    packet if sending a response violates the security policy of the NAT." It does: a scan of the
    public addresses shall learn nothing. So we are silent for good.
    """

    def silent(self, world, packet) -> None:
        assert not world.up(packet)
        for _ in range(8):
            world.sweep(after_s=1)
        assert world.dp.totals()["made"] == 0

    def test_to_nobody(self, world):
        self.silent(world, tcp("S", NET, SERVER.secondary, dport=9))

    def test_to_a_mapping(self, world):
        """RFC 5382 REQ-4."""
        out = one(world.down(A, tcp("S")))
        self.silent(world, inwards(out, "S", OTHER_NET))
        assert world.drops() == {"NAT_FILTERED": 1}

    def test_to_a_mapping_though_the_firewall_would_reject(self, world):
        """A REJECT is an answer, and A may be about to open that very connection."""
        world.policy.defaults = (2, 0)
        world.commit()
        out = one(world.down(A, tcp("S")))
        self.silent(world, inwards(out, "S", OTHER_NET))
        assert world.drops() == {"FIREWALL_DENIED": 1}

    def test_to_a_door_the_firewall_s_word_counts(self, world):
        """Whoever asks for REJECT there gets it: no outbound SYN can be on its way."""
        world.policy.defaults = (2, 0)
        world.commit()
        seen = one(world.up(tcp("S", NET, SERVER.secondary, dport=80)))
        assert (seen.role, seen.ip.dst) == ("uplink", NET)

    def test_then_the_workload_opens_it_itself(self, world):
        """RFC 5382 REQ-4."""
        first = one(world.down(A, tcp("S", dport=443)))
        assert not world.up(inwards(first, "S", OTHER_NET))
        world.now_s += 2
        out = one(world.down(A, tcp("S", dst=OTHER_NET)))
        assert flow(one(world.up(inwards(out, "S", OTHER_NET)))) == (OTHER_NET, A.address, 80, 1000)
        assert world.down(A, tcp("SA", dst=OTHER_NET))
        assert world.up(inwards(out, "SA", OTHER_NET))
        assert ESTABLISHED in states(world)
        assert world.dp.totals()["made"] == 0
