"""ICMP errors: about sessions, both ways (RFC 5508); made by the gateway (RFC 1812); and RST."""

import pytest
from scapy.layers.inet import ICMP, IP, TCP

from pcg.reconcile.touches import NOTHING
from tests.c import wire
from tests.c.packets import answer, complaint, flow, gre, inside, one, ping, ports, tcp, udp
from tests.c.places import (
    APP,
    FEW,
    GATEWAY,
    LOST,
    NET,
    PLAIN,
    SERVER,
    THIN,
    TINY,
    TWIN,
    WEB,
    WHOLE,
    A,
    B,
    C,
    R,
)
from tests.c.world import over

ROUTER = "198.51.100.254"  # between us and NET
OPENERS = {"udp": udp(), "tcp": tcp("S"), "icmp": ping()}


class TestAboutSessions:
    @pytest.mark.parametrize("packet", OPENERS.values(), ids=OPENERS)
    @pytest.mark.parametrize("quote", [28, 40, None])
    def test_from_outside_about_what_a_workload_sent(self, world, packet, quote):
        """RFC 4787 REQ-12, RFC 5382 REQ-9, RFC 5508 REQ-4."""
        out = one(world.down(A, packet))
        seen = one(world.up(complaint(out, ROUTER, quote=quote)))
        assert (seen.ip.src, seen.ip.dst) == (ROUTER, A.address)
        assert (seen.tep, seen.vni, seen.eth.dst) == (A.tep, A.vni, A.mac)
        quoted = inside(seen)
        assert (quoted.src, quoted.dst, *ports(quoted)) == (A.address, NET, *ports(packet))

    def test_from_a_workload_about_what_it_received(self, world):
        """RFC 5508 REQ-5."""
        got = one(world.up(tcp("S", NET, SERVER.secondary, sport=5, dport=80)))
        seen = one(world.down(B, complaint(got, B.address), vni=APP))
        assert (seen.ip.src, seen.ip.dst) == (SERVER.secondary, NET)
        quoted = inside(seen)
        assert (quoted.src, quoted.dst, *ports(quoted)) == (NET, SERVER.secondary, 5, 80)

    def test_from_a_workload_about_a_reply(self, world):
        out = one(world.down(A, udp()))
        back = one(world.up(answer(out)))
        seen = one(world.down(A, complaint(back, A.address)))
        assert (seen.ip.src, seen.ip.dst) == (out.ip.src, NET)
        assert ports(inside(seen)) == ports(out.ip)[::-1]

    @pytest.mark.parametrize("vm, public", [(R, TWIN), (C, WHOLE)], ids=["reflexive", "snat"])
    def test_about_a_protocol_without_ports(self, world, vm, public):
        out = one(world.down(vm, gre(vm.address)))
        assert out.ip.src == public.secondary
        seen = one(world.up(complaint(out, ROUTER)))
        assert inside(seen).src == vm.address

    def test_path_mtu_reaches_the_sender(self, world):
        out = one(world.down(A, tcp("S")))
        seen = one(world.up(complaint(out, ROUTER, code=4, mtu=1400)))
        assert (seen.ip[ICMP].code, seen.ip[ICMP].nexthopmtu) == (4, 1400)

    def test_udp_without_checksum_inside(self, world):
        packet = udp()
        packet[1].chksum = 0
        out = one(world.down(A, packet))
        seen = one(world.up(complaint(out, ROUTER)))
        assert inside(seen).payload.chksum == 0

    def test_neither_refreshes_nor_ends_the_session(self, world):
        """RFC 5508 REQ-5, RFC 4787 REQ-12."""
        out = one(world.down(A, udp()))
        world.now_s = 200
        assert world.up(complaint(out, ROUTER))
        assert world.up(answer(out))
        world.now_s = 400
        assert world.up(complaint(out, ROUTER))
        world.sweep(after_s=101)  # 301 s after the last packet of the session itself
        assert world.dp.totals()["sessions"] == 0

    def test_opens_nothing(self, world):
        """RFC 5508 REQ-4."""
        out = one(world.down(A, udp()))
        world.sweep(after_s=301)
        assert not world.up(complaint(out, ROUTER))
        assert sum(world.drops().values()) == 1
        assert world.dp.totals()["sessions"] == 0

    def test_a_wrong_checksum_is_not_made_right(self, world):
        """RFC 5508 REQ-3."""
        out = one(world.down(A, udp()))
        packet = complaint(out, ROUTER)
        packet[ICMP].chksum = 1
        assert not world.up(packet)
        assert world.drops() == {"IP_CHECKSUM": 1}

    def test_source_is_checked(self, world):
        """RFC 5508 REQ-5: another workload may not speak about B's session."""
        got = one(world.up(udp(NET, SERVER.secondary, dport=7000)))
        assert not world.down(A, complaint(got, A.address))
        assert world.drops() == {"SOURCE_SPOOFED": 1}

    @pytest.mark.parametrize("vm", [A, PLAIN], ids=["translated", "routed"])
    def test_its_own_source_is_checked(self, world, vm):
        """RFC 1812 section 5.3.8: what it quotes finds the session; who says it is another
        question.
        """
        back = one(world.up(answer(one(world.down(vm, udp(vm.address))))))
        for liar in ("192.0.2.1", C.address if vm is A else B.address):
            assert not world.down(vm, complaint(back, liar))
            assert world.drops() == {"SOURCE_SPOOFED": 1}

    def test_from_a_workload_that_routes(self, world):
        """RFC 5508 REQ-5c: another workload of the same host, in front of A: the peer sees A's
        public address.
        """
        out = one(world.down(A, udp()))
        seen = one(world.down(A, complaint(one(world.up(answer(out))), TINY.address)))
        assert (seen.ip.src, seen.ip.dst) == (out.ip.src, NET)

    @pytest.mark.parametrize("vm", [A, PLAIN], ids=["translated", "routed"])
    def test_goes_to_nobody_but_the_sender_of_what_it_quotes(self, world, vm):
        out = one(world.down(vm, udp(vm.address)))
        outwards, inwards = (
            complaint(one(world.up(answer(out))), vm.address),
            complaint(out, ROUTER),
        )
        outwards.dst, inwards.dst = "203.0.113.200", SERVER.secondary
        assert not world.down(vm, outwards)
        assert not world.up(inwards)
        assert world.drops() == {"ICMP_NO_SESSION": 2}

    def test_between_workloads(self, world):
        got = one(world.down(A, udp(dst=B.address)))
        seen = one(world.down(B, complaint(got, B.address), vni=APP))
        assert (seen.ip.src, seen.ip.dst, seen.vni) == (B.address, A.address, WEB)
        assert inside(seen).src == A.address


class TestMadeHere:
    """Quoted: the packet as it came. Counted as made, and the packet as dropped."""

    def made(self, world, sent, before: int) -> ICMP:
        seen = one(sent)
        assert world.dp.totals()["made"] == before + 1
        return seen

    @pytest.mark.parametrize("tos", [0, 0x28, 3], ids=["none", "dscp", "congested"])
    def test_precedence_of_errors(self, world, tos):
        """RFC 1812 section 4.3.2.5: "internetwork control", whatever the packet had."""
        assert one(world.down(A, udp(ttl=1, tos=tos))).ip.tos == 0xC0

    def test_too_big_outwards(self, world):
        """RFC 4787 REQ-13, RFC 1812 section 4.3.2.3: the segment's gateway says the uplink's."""
        packet = udp(flags="DF", data=bytes(1473))
        seen = self.made(world, world.down(A, packet), 0)
        assert (seen.ip.src, seen.ip.dst) == (GATEWAY[WEB][0], A.address)
        assert (seen.ip[ICMP].type, seen.ip[ICMP].code, seen.ip[ICMP].nexthopmtu) == (3, 4, 1500)
        assert bytes(inside(seen))[:40] == bytes(packet)[:40]
        assert len(seen.ip) <= 576
        assert world.drops() == {"TOO_BIG": 1}

    def test_too_big_inwards_says_the_inner_mtu_from_the_public_address(self, world):
        world.policy.nat["web"] = world.policy.nat["web"]._replace(target_be=THIN.record.address_be)
        world.commit()
        packet = tcp("S", NET, SERVER.secondary, dport=80) / bytes(1411)
        packet.flags = "DF"
        seen = self.made(world, world.up(packet), 0)
        assert (seen.role, seen.ip.src, seen.ip.dst) == ("uplink", SERVER.secondary, NET)
        assert seen.ip[ICMP].nexthopmtu == 1450
        assert flow_of_quoted(seen) == (NET, SERVER.secondary, 1000, 80)

    def test_too_big_between_segments(self, world):
        seen = self.made(
            world, world.down(A, udp(dst=THIN.address, flags="DF", data=bytes(1423))), 0
        )
        assert (seen.ip.src, seen.ip[ICMP].nexthopmtu) == (GATEWAY[WEB][0], 1450)

    def test_nothing_is_said_when_it_may_be_fragmented(self, world):
        """RFC 4787 REQ-13; how it is cut is in test_fragments.py."""
        assert [len(s.ip) for s in world.down(A, udp(data=bytes(1473)))] == [1500, 21]
        assert world.dp.totals()["made"] == 1

    def test_ttl_outwards(self, world):
        """RFC 792, RFC 1812 section 5.3.1."""
        packet = udp(ttl=1)
        seen = self.made(world, world.down(A, packet), 0)
        assert (seen.ip.src, seen.ip[ICMP].type, seen.ip[ICMP].code) == (GATEWAY[WEB][0], 11, 0)
        assert bytes(inside(seen)) == bytes(packet)  # untranslated, its TTL as it came
        assert world.dp.totals()["sessions"] == world.dp.totals()["mappings"] == 0

    def test_ttl_of_a_known_session(self, world):
        world.down(A, udp())
        packet = udp(ttl=1)
        seen = self.made(world, world.down(A, packet), 0)
        assert bytes(inside(seen)) == bytes(packet)

    def test_ttl_inwards(self, world):
        """RFC 1812 section 5.3.1."""
        packet = udp(NET, SERVER.secondary, dport=7000, ttl=1)
        seen = self.made(world, world.up(packet), 0)
        assert (seen.role, seen.ip.src, seen.ip.dst) == ("uplink", SERVER.secondary, NET)
        assert bytes(inside(seen)) == bytes(packet)

    def test_rejected_by_a_rule(self, world):
        """RFC 1812 section 5.2.7.1."""
        seen = self.made(world, world.down(A, udp(dst="198.51.100.67")), 0)
        assert (seen.ip.src, seen.ip[ICMP].type, seen.ip[ICMP].code) == (GATEWAY[WEB][0], 3, 13)

    def test_rejected_inwards(self, world):
        packet = udp("198.51.100.68", SERVER.secondary, dport=7000)
        seen = self.made(world, world.up(packet), 0)
        assert (seen.ip.src, seen.ip.dst) == (SERVER.secondary, "198.51.100.68")

    def test_dropped_by_a_rule_in_silence(self, world):
        assert not world.down(A, udp(dst="198.51.100.66"))

    def test_never_about_an_icmp_error(self, world):
        """RFC 1812 section 4.3.2.7."""
        out = one(world.down(A, udp()))
        packet = complaint(out, ROUTER)
        packet.ttl = 1
        assert not world.up(packet)
        assert world.drops() == {"TTL_EXPIRED": 1}

    @pytest.mark.parametrize(
        "packet",
        [
            udp(ttl=1, frag=5),
            udp(dst="224.0.0.1", ttl=1),
            udp(dst="255.255.255.255", ttl=1),
            udp(src="127.0.0.1", ttl=1),
        ],
        ids=["fragment", "multicast", "broadcast", "loopback"],
    )
    def test_never_about(self, world, packet):
        """RFC 1812 section 4.3.2.7."""
        assert not world.down(A, packet)
        assert world.dp.totals()["made"] == 0

    def test_never_about_a_link_level_broadcast(self, world):
        """RFC 1812 section 4.3.2.7."""
        assert not world.down(A, udp(ttl=1), inner_dst="ff:ff:ff:ff:ff:ff")

    def test_a_known_workload_only(self, world):
        """A stranger's packet is not answered, whatever its TTL."""
        assert not world.down(A, udp(src="192.168.99.250", ttl=1))
        assert not world.down(LOST, udp(LOST.address, ttl=1), tep=A.tep)


def unmade(world) -> tuple[int, ...]:
    """Errors not made: all, over the rate of one source, over that of all, without a way back."""
    names = ("unmade", "unmade_source", "unmade_all", "unmade_no_way")
    return tuple(world.dp.totals()[name] for name in names)


class TestRates:
    """RFC 1812 section 4.3.2.8: "A router which sends ICMP Source Quench messages MUST be able to
    limit the rate at which the messages can be generated. A router SHOULD also be able to limit
    the rate at which it sends other sorts of ICMP error messages (Destination Unreachable,
    Redirect, Time Exceeded, Parameter Problem)."
    """

    def answers(self, world, *vms, n=250) -> list[int]:
        """How many each is told that sends n whose TTL runs out, in turns."""
        frames = [over(vm, udp(vm.address, ttl=1)) for vm in vms]
        sent = world.inject("downlink", *frames * n)
        return [sum(seen.ip.dst == vm.address for seen in sent) for vm in vms]

    def from_outside(self, world, *sources, n=1) -> int:
        packets = [udp(src, SERVER.secondary, dport=7000, ttl=1) for src in sources]
        return len(world.inject("uplink", *[wire.plain(p) for p in packets] * n))

    def test_of_one_source(self, world):
        """Fifty at once, then one in ten milliseconds; what is not said is counted."""
        assert self.answers(world, A) == [50]
        assert world.drops() == {"TTL_EXPIRED": 250}
        assert unmade(world) == (200, 200, 0, 0)
        world.now_s += 0.100
        assert self.answers(world, A) == [10]
        world.now_s += 60
        assert self.answers(world, A) == [50]

    def test_a_noisy_source_costs_others_nothing(self, world):
        world.policy.quota = {"made_each": 10}
        world.commit()
        assert self.answers(world, A) == [5]
        assert self.answers(world, C, n=5) == [5]

    def test_of_all(self, world):
        """A hundred at once, then one a millisecond, whoever they are about."""
        many = [f"198.51.{n // 250}.{1 + n % 250}" for n in range(400)]
        assert self.from_outside(world, *many) == 100
        assert unmade(world) == (300, 0, 300, 0)
        world.now_s += 0.050
        assert self.from_outside(world, *many) == 50

    def test_too_big_has_a_rate_of_its_own(self, world):
        """RFC 1191: whatever others scan for, a path that is too narrow is told."""
        world.policy.quota = {"made_all": 200}
        world.commit()
        assert sum(self.answers(world, B, R, C)) == 20
        large = udp(flags="DF", data=bytes(1473))
        sent = world.inject("downlink", *[over(A, large)] * 10)
        assert [seen.ip[ICMP].code for seen in sent] == [4] * 10

    def test_the_uplink_does_not_use_up_the_workloads_share(self, world):
        assert self.from_outside(world, *[f"198.51.100.{1 + n}" for n in range(250)], n=2) == 100
        assert self.answers(world, A, n=50) == [50]

    def test_as_configured(self, world):
        world.policy.quota = {"made_all": 20, "made_each": 20}
        world.commit()
        assert self.answers(world, A) == [2]
        world.policy.quota = {"made_all": 10000, "made_each": 2000}
        world.commit()
        world.now_s += 60
        assert self.answers(world, A, n=1100) == [1000]

    @pytest.mark.parametrize("each, every", [(1, 1), (1, 9), (9, 9)])
    def test_few_are_more_than_none(self, world, each, every):
        """One at once, at least, however long it takes until the next."""
        world.policy.quota = {"made_all": every, "made_each": each}
        world.commit()
        assert self.answers(world, A) == [1]
        world.now_s += 60
        assert self.answers(world, A) == [1]
        world.now_s += 1 / each
        assert self.answers(world, A, n=2) == [1]

    def test_what_has_no_way_back_is_counted(self, world):
        world.up(udp(NET, SERVER.secondary, dport=7000))
        del world.policy.routes["default"]
        world.commit([NOTHING])
        assert not world.up(udp(NET, SERVER.secondary, dport=7000, ttl=1))
        assert unmade(world) == (1, 0, 0, 1)

    def test_resets_count_too(self, world):
        frames = [over(A, tcp("A", sport=1 + n)) for n in range(60)]
        assert len(world.inject("downlink", *frames)) == 50

    def test_explain_pays_nothing(self, world):
        for _ in range(60):
            world.dp.explain("downlink", over(A, udp(ttl=1)))
        assert self.answers(world, A) == [50]


def flow_of_quoted(seen):
    quoted = inside(seen)
    return quoted.src, quoted.dst, *ports(quoted)


class TestReset:
    """TCP without a session (RFC 9293 section 3.10.7.1): RST inwards, silence outwards."""

    @pytest.mark.parametrize(
        "flags, data, seq, ack, answered",
        [
            ("A", b"", 100, 777, (777, 0, "R")),
            ("PA", b"abc", 100, 777, (777, 0, "R")),
            ("SA", b"", 100, 777, (777, 0, "R")),
            ("F", b"", 100, 0, (0, 101, "RA")),
            ("", b"abcd", 100, 0, (0, 104, "RA")),
            ("SF", b"ab", 100, 0, (0, 104, "RA")),
        ],
    )
    def test_towards_a_workload(self, world, flags, data, seq, ack, answered):
        seen = one(world.down(A, tcp(flags, seq=seq, ack=ack, sport=5, dport=80) / data))
        assert flow(seen) == (NET, A.address, 80, 5)
        assert (seen.tep, seen.eth.dst) == (A.tep, A.mac)
        got = seen.ip[TCP]
        assert (got.seq, got.ack, str(got.flags)) == answered
        assert world.drops() == {"TCP_NO_SESSION": 1}

    def test_never_about_a_reset(self, world):
        assert not world.down(A, tcp("R"))
        assert not world.down(A, tcp("RA"))

    def test_silence_outwards(self, world):
        for flags in ("A", "SA", "F", "R"):
            assert not world.up(tcp(flags, NET, SERVER.secondary, dport=80))
        assert world.drops() == {"TCP_NO_SESSION": 4}
        assert world.dp.totals()["made"] == 0

    def test_silence_about_a_syn_to_no_door(self, world):
        """RFC 5382 REQ-4."""
        assert not world.up(tcp("S", NET, FEW.secondary, dport=80))


def test_quoted_header_with_options_of_nobodys_packet(world):
    out = one(world.down(A, udp()))
    packet = IP(src=ROUTER, dst=out.ip.src) / ICMP(type=3, code=1) / b"\x46" / bytes(40)
    assert not world.up(packet)
    assert world.drops() == {"ICMP_NO_SESSION": 1}
