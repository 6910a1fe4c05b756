"""Translation: SNAT, DNAT, REFLEXIVE, by RFC 4787, 5382, 5508 and the rules of places.py."""

from itertools import pairwise

import pytest
from scapy.layers.inet import TCP, UDP

from tests.c.packets import PONG, answer, flow, gre, one, ping, ports, prohibited, tcp, udp
from tests.c.places import (
    FEW,
    NET,
    OTHER_NET,
    PLAIN,
    POOL_A,
    POOL_B,
    RED,
    RED_POOL,
    SERVER,
    TINY,
    TWIN,
    WHOLE,
    A,
    B,
    C,
    R,
)
from tests.c.world import SNAT, ip, nat, over, source, to_public

POOL = {POOL_A.secondary, POOL_B.secondary}


def exchange(w, vm, packet):
    """Out, and the answer back in: what left on either side."""
    out = one(w.down(vm, packet))
    back = one(w.up(answer(out)))
    assert (out.role, back.role) == ("uplink", "downlink")
    return out, back


class TestSnat:
    @pytest.mark.parametrize("packet", [udp(), tcp("S"), ping()], ids=["udp", "tcp", "icmp"])
    def test_out_and_back(self, world, packet):
        """RFC 5508 REQ-1."""
        out, back = exchange(world, A, packet)
        assert out.ip.src in POOL
        assert out.ip.dst == NET
        assert out.ip.ttl == packet.ttl - 1
        assert flow(back)[:2] == (NET, A.address)
        assert flow(back)[3] == ports(packet)[0]
        assert (back.tep, back.vni, back.eth.dst) == (A.tep, A.vni, A.mac)

    def test_mapping_is_endpoint_independent(self, world):
        """RFC 4787 REQ-1: one inside endpoint, one outside endpoint, whatever the peer."""
        first = one(world.down(A, udp(dst=NET, dport=53)))
        for dst, dport in ((NET, 54), (OTHER_NET, 53), ("8.8.8.8", 443)):
            assert flow(one(world.down(A, udp(dst=dst, dport=dport))))[::2] == flow(first)[::2]
        assert world.dp.totals()["mappings"] == 1
        assert world.dp.totals()["sessions"] == 4

    def test_protocols_have_mappings_of_their_own(self, world):
        """RFC 7857 section 5."""
        world.down(A, udp(sport=7))
        world.down(A, tcp("S", sport=7))
        world.down(A, ping(id_=7))
        assert world.dp.totals()["mappings"] == 3

    def test_no_two_endpoints_share_a_port(self, world):
        """RFC 4787 REQ-3."""
        frames = [over(A, udp(sport=sport)) for sport in range(1, 501)]
        seen = {flow(sent)[::2] for sent in world.inject("downlink", *frames)}
        assert len(seen) == 500

    def test_ports_are_in_range_and_random(self, world):
        """RFC 7857 section 9, RFC 6056 section 3.2; the default range is the policy's."""
        world.policy.ports = (20000, 29999)
        world.commit()
        frames = [over(A, udp(sport=sport)) for sport in range(1, 201)]
        drawn = [flow(sent)[2] for sent in world.inject("downlink", *frames)]
        assert all(20000 <= port <= 29999 for port in drawn)
        steps = {after - before for before, after in pairwise(drawn)}
        assert len(steps) > 100  # a counter would have one

    def test_one_source_keeps_one_public_address(self, world):
        """RFC 4787 REQ-2: paired."""
        for vm in (A, B, C):
            frames = [over(vm, udp(vm.address, sport=sport)) for sport in range(1, 20)]
            assert len({sent.ip.src for sent in world.inject("downlink", *frames)}) == 1

    def test_ports_of_dnat_rules_are_never_drawn(self, world):
        """RFC 6056 section 3.3."""
        world.policy.nat["door"] = nat(11, 0, to_public(FEW, 6, 2001, 2002), target=B)
        world.commit()
        for sport in (1, 2):
            sent = one(world.down(TINY, udp(TINY.address, sport=sport)))
            assert sent.ip[UDP].sport in (2000, 2003)
        assert prohibited(world.down(TINY, udp(TINY.address, sport=3)))
        assert world.drops() == {"NAT_PORTS_EXHAUSTED": 1}

    def test_an_exhausted_pool_address_is_helped_by_the_next(self, world):
        """RFC 7857 section 4."""
        world.policy.nat["tiny"] = nat(
            7, 1, source(TINY.address, 32), FEW, POOL_A, ports=(2000, 2001)
        )
        world.commit()
        frames = [over(TINY, udp(TINY.address, sport=sport)) for sport in range(1, 6)]
        sent = world.inject("downlink", *frames)
        assert prohibited(seen for seen in sent if seen.role == "downlink")
        assert {flow(seen)[::2] for seen in sent if seen.role == "uplink"} == {
            (public.secondary, port) for public in (FEW, POOL_A) for port in (2000, 2001)
        }
        assert world.drops() == {"NAT_PORTS_EXHAUSTED": 1}

    def test_exhaustion_is_over_when_a_session_ends(self, world):
        for sport in range(1, 5):
            assert world.down(TINY, udp(TINY.address, sport=sport))
        assert prohibited(world.down(TINY, udp(TINY.address, sport=5)))
        world.drops()
        world.sweep(after_s=301)
        assert world.dp.totals()["mappings"] == 0
        assert world.down(TINY, udp(TINY.address, sport=5))
        assert world.drops() == {}

    def test_exhausted_for_one_protocol_only(self, world):
        for sport in range(1, 6):
            world.down(TINY, udp(TINY.address, sport=sport))
        assert world.down(TINY, tcp("S", TINY.address, sport=1))

    def test_filtering_is_address_dependent(self, world):
        """RFC 4787 REQ-8: who was contacted may answer from any port; others may not."""
        out = one(world.down(A, udp(dst=NET, dport=53)))
        back = one(world.up(udp(NET, out.ip.src, sport=999, dport=out.ip.sport)))
        assert flow(back) == (NET, A.address, 999, 1000)
        assert not world.up(udp(OTHER_NET, out.ip.src, sport=53, dport=out.ip.sport))
        assert world.drops() == {"NAT_FILTERED": 1}
        again = one(world.down(A, answer(back)))
        assert flow(again) == (out.ip.src, NET, out.ip.sport, 999)

    def test_filtering_knows_every_peer_of_a_mapping(self, world):
        """RFC 4787 REQ-8, REQ-11: however many there are, none shuts out another."""
        peers = [f"9.9.{n >> 8}.{n & 255}" for n in range(600)]
        for peer in peers:
            out = one(world.down(A, udp(dst=peer)))
        for peer in peers:
            assert world.up(udp(peer, out.ip.src, sport=999, dport=out.ip.sport))
        assert not world.up(udp("9.8.7.6", out.ip.src, sport=53, dport=out.ip.sport))
        assert world.drops() == {"NAT_FILTERED": 1}
        totals = world.dp.totals()
        assert (totals["sessions"], totals["mappings"], totals["peers"]) == (1200, 1, 599)
        world.sweep(after_s=301)
        assert (world.dp.totals()["mappings"], world.dp.totals()["peers"]) == (0, 0)

    @pytest.mark.parametrize(
        "peers", [(NET, OTHER_NET), (OTHER_NET, NET)], ids=["first", "further"]
    )
    def test_filtering_shuts_out_whose_last_session_has_ended(self, world, peers):
        """RFC 4787 REQ-8, REQ-11: not whose last but one has, nor because the mapping is old."""
        for peer in peers:
            out = one(world.down(A, udp(dst=peer)))
            assert world.down(A, udp(dst=peer, dport=54))
        world.sweep(after_s=200)
        assert world.down(A, udp(dst=NET))
        world.sweep(after_s=200)
        assert world.dp.totals()["sessions"] == 1
        assert world.up(udp(NET, out.ip.src, sport=999, dport=out.ip.sport))
        assert not world.up(udp(OTHER_NET, out.ip.src, sport=999, dport=out.ip.sport))
        assert world.drops() == {"NAT_FILTERED": 1}
        again = one(world.down(A, udp(dst=OTHER_NET)))
        assert again.ip.sport == out.ip.sport
        assert world.up(udp(OTHER_NET, out.ip.src, sport=999, dport=out.ip.sport))

    def test_filtering_forgets_a_peer_with_whom_no_session_came_about(self, world):
        """Its answers are another workload's since a door was opened on the mapping's port."""
        out = one(world.down(A, udp(dst=NET)))
        pub = next(p for p in (POOL_A, POOL_B) if p.secondary == out.ip.src)
        door = to_public(pub, 17, out.ip.sport, out.ip.sport)
        world.policy.nat["door"] = nat(30, 0, door, target=B)
        world.commit()
        assert world.up(udp(OTHER_NET, out.ip.src, sport=53, dport=out.ip.sport))
        assert not world.down(A, udp(dst=OTHER_NET))
        assert world.drops() == {"SESSION_CONFLICT": 1}
        world.sweep()
        totals = world.dp.totals()
        assert (totals["sessions"], totals["mappings"], totals["peers"]) == (2, 1, 0)

    @pytest.mark.parametrize("packet", [udp, tcp], ids=["udp", "tcp"])
    def test_filtering_may_be_endpoint_independent(self, world, packet):
        """RFC 4787 REQ-8, RFC 5382 REQ-3: "If application transparency is most important, it is
        RECOMMENDED that a NAT have an "Endpoint-Independent Filtering" behavior."
        """
        flags = {"flags": "S"} if packet is tcp else {}
        world.policy.nat["snat"] = world.policy.nat["snat"]._replace(filtering=1)
        world.commit()
        out = one(world.down(A, packet(dst=NET, dport=53, **flags)))
        inwards = packet(src=OTHER_NET, dst=out.ip.src, sport=999, dport=out.ip.sport, **flags)
        seen = one(world.up(inwards))
        assert flow(seen) == (OTHER_NET, A.address, 999, 1000)
        back = one(world.down(A, answer(seen)))
        assert flow(back) == (out.ip.src, OTHER_NET, out.ip.sport, 999)

    def test_a_rule_of_many_sources_lets_peers_back_to_each(self, world):
        """Records are sources times destinations; a mapping's is found by its source."""
        to = [{"dst_be": ip(peer), "dst_len": 32} for peer in (NET, OTHER_NET)]
        sources = [(A.address, 32), ("192.168.100.0", 24), ("10.0.0.0", 8)]
        every = [nat(9, SNAT, source(*prefix, **peer), POOL_A) for prefix in sources for peer in to]
        world.policy.nat = dict(enumerate(every))
        world.commit()
        outs = [one(world.down(vm, udp(vm.address, dst=OTHER_NET))) for vm in (A, B)]
        for vm, out in zip((A, B), outs, strict=True):
            back = one(world.up(udp(OTHER_NET, out.ip.src, sport=999, dport=out.ip.sport)))
            assert back.ip.dst == vm.address
        world.policy.nat = dict(enumerate(every[2:]))
        world.commit()
        later = [udp(OTHER_NET, out.ip.src, sport=998, dport=out.ip.sport) for out in outs]
        assert [len(world.up(packet)) for packet in later] == [0, 1]

    def test_the_firewall_is_asked_about_strangers(self, world):
        world.policy.nat["snat"] = world.policy.nat["snat"]._replace(filtering=1)
        world.commit()
        out = one(world.down(A, udp()))
        assert not world.up(udp("198.51.100.68", out.ip.src, dport=out.ip.sport))
        assert world.drops() == {"FIREWALL_DENIED": 1}

    def test_filtering_that_becomes_strict_again_keeps_whom_it_let_in(self, world):
        """RFC 4787 REQ-11 speaks against changing it under a session; strangers find it shut."""
        world.policy.nat["snat"] = world.policy.nat["snat"]._replace(filtering=1)
        world.commit()
        out = one(world.down(A, udp()))
        guest = udp(OTHER_NET, out.ip.src, dport=out.ip.sport)
        assert world.up(guest)
        world.policy.nat["snat"] = world.policy.nat["snat"]._replace(filtering=0)
        world.commit()
        assert world.up(guest)
        assert not world.up(udp("8.8.8.8", out.ip.src, dport=out.ip.sport))
        assert world.drops() == {"NAT_FILTERED": 1}

    def test_udp_without_checksum_stays_without(self, world):
        packet = udp()
        packet[UDP].chksum = 0
        out = one(world.down(A, packet))
        reply = answer(out)
        reply[UDP].chksum = 0
        back = one(world.up(reply))
        assert (out.ip[UDP].chksum, back.ip[UDP].chksum) == (0, 0)

    def test_a_protocol_without_ports_by_one_to_one(self, world):
        out, back = exchange(world, C, gre(C.address))
        assert flow(out) == (WHOLE.secondary, NET, 0, 0)
        assert flow(back) == (NET, C.address, 0, 0)
        assert bytes(back.ip.payload) == b"answer"

    def test_no_snat_leaves_as_it_is(self, world):
        """The way back is taken only where the segment is marked `routed`."""
        out = one(world.down(A, udp(dst="172.16.5.5")))
        assert flow(out) == (A.address, "172.16.5.5", 1000, 53)
        assert not world.up(answer(out))
        assert world.drops() == {"NOT_OWNED": 1}

    def test_a_routed_segment_needs_no_nat(self, world):
        out, back = exchange(world, PLAIN, udp(PLAIN.address))
        assert flow(out) == (PLAIN.address, NET, 1000, 53)
        assert flow(back) == (NET, PLAIN.address, 53, 1000)
        seen = one(world.up(udp(NET, PLAIN.address, dport=9)))
        assert flow(one(world.down(PLAIN, answer(seen)))) == (PLAIN.address, NET, 9, 1000)

    def test_no_snat_is_for_its_match_only(self, world):
        assert one(world.down(B, udp(B.address, "172.16.5.5"))).ip.src in POOL

    def test_two_vrfs_with_the_same_prefix(self, world):
        """RFC 4787 REQ-7: the same inside endpoint to the same peer, twice: each has its own
        Elastic IP.
        """
        blue, back = exchange(world, A, udp())
        red, red_back = exchange(world, RED, udp(RED.address))
        assert blue.ip.src in POOL
        assert red.ip.src == RED_POOL.secondary
        assert (back.vni, red_back.vni) == (A.vni, RED.vni)
        assert (back.tep, red_back.tep) == (A.tep, RED.tep)


class TestDnat:
    def test_port_is_translated(self, world):
        seen = one(world.up(tcp("S", NET, SERVER.secondary, sport=999, dport=80)))
        assert flow(seen) == (NET, B.address, 999, 8080)
        assert (seen.tep, seen.vni, seen.eth.dst) == (B.tep, B.vni, B.mac)
        out = one(world.down(B, answer(seen)))
        assert flow(out) == (SERVER.secondary, NET, 80, 999)

    @pytest.mark.parametrize("offset", [0, 1, 9])
    def test_a_range_keeps_its_offset(self, world, offset):
        seen = one(world.up(udp(NET, SERVER.secondary, dport=7000 + offset)))
        assert flow(seen)[3] == 9000 + offset
        assert flow(one(world.down(B, answer(seen))))[2] == 7000 + offset

    @pytest.mark.parametrize("dport", [6999, 7010])
    def test_outside_the_range_is_no_door(self, world, dport):
        assert not world.up(udp(NET, SERVER.secondary, dport=dport))
        assert world.drops() == {"NO_DNAT": 1}

    @pytest.mark.parametrize("packet", [udp, gre, ping], ids=["udp", "gre", "icmp"])
    def test_whole_address(self, world, packet):
        seen = one(world.up(packet(NET, WHOLE.secondary)))
        assert (seen.ip.src, seen.ip.dst) == (NET, C.address)
        out = one(world.down(C, answer(seen)))
        assert (out.ip.src, out.ip.dst) == (WHOLE.secondary, NET)
        assert flow(out)[2:] == flow(seen)[:1:-1]

    def test_ping_keeps_its_identifier(self, world):
        seen = one(world.up(ping(NET, WHOLE.secondary, id_=4711)))
        assert flow(seen)[2] == 4711
        assert flow(one(world.down(C, answer(seen))))[2] == 4711

    def test_several_targets_by_source(self, world):
        world.policy.nat["web"] = nat(
            4, 0, to_public(SERVER, 6, 80, 80), ports=(80, 80), target=B, targets=2
        )
        world.commit()
        chosen = {}
        for i in range(1, 60):
            for sport in (1, 2):
                packet = tcp("S", f"198.51.100.{i}", SERVER.secondary, sport=sport)
                target = one(world.up(packet)).ip.dst
                assert chosen.setdefault(i, target) == target
        assert set(chosen.values()) == {B.address, R.address}

    def test_the_first_rule_that_matches_decides(self, world):
        assert not world.up(tcp("S", NET, SERVER.secondary, dport=23))
        world.policy.nat = {"all": nat(12, 0, to_public(SERVER), target=C), **world.policy.nat}
        world.commit()
        assert one(world.up(tcp("S", NET, SERVER.secondary, dport=23))).ip.dst == C.address


class TestReflexive:
    @pytest.mark.parametrize("packet", [udp, gre, ping], ids=["udp", "gre", "icmp"])
    def test_outwards(self, world, packet):
        out, back = exchange(world, R, packet(R.address))
        assert (out.ip.src, out.ip.dst) == (TWIN.secondary, NET)
        assert (back.ip.src, back.ip.dst) == (NET, R.address)

    @pytest.mark.parametrize("packet", [udp, gre, ping], ids=["udp", "gre", "icmp"])
    def test_inwards(self, world, packet):
        seen = one(world.up(packet(NET, TWIN.secondary)))
        assert (seen.ip.src, seen.ip.dst) == (NET, R.address)
        out = one(world.down(R, answer(seen)))
        assert (out.ip.src, out.ip.dst) == (TWIN.secondary, NET)

    def test_ports_are_kept(self, world):
        out = one(world.down(R, tcp("S", R.address, sport=4444, dport=80)))
        assert flow(out) == (TWIN.secondary, NET, 4444, 80)
        seen = one(world.up(tcp("S", NET, TWIN.secondary, sport=80, dport=5555)))
        assert flow(seen) == (NET, R.address, 80, 5555)

    def test_no_mapping_is_made(self, world):
        world.down(R, udp(R.address))
        assert world.dp.totals()["mappings"] == 0


def test_bytes_and_packets_are_counted_by_rule(world):
    exchange(world, A, udp(data=b"x" * 100))
    (row,) = [row for row in world.dp.counters("nat") if row["id"] == 9]
    assert (row["out_packets"], row["out_bytes"], row["in_packets"]) == (1, 128, 1)
    world.sweep(after_s=301)  # what ended is still counted
    (after,) = [row for row in world.dp.counters("nat") if row["id"] == 9]
    assert after == row | {"ports_used": 0}


def test_tcp_options_and_data_pass_untouched(world):
    options = [("MSS", 1400), ("SAckOK", b""), ("WScale", 7), ("EOL", None)]
    packet = tcp("S", options=options) / b"early data"
    out = one(world.down(A, packet))
    assert out.ip[TCP].options == packet[TCP].options
    assert bytes(out.ip[TCP].payload) == b"early data"


def test_a_late_echo_reply_opens_nothing(world):
    assert not world.up(ping(NET, WHOLE.secondary, kind=PONG))
    assert world.drops() == {"ICMP_NO_SESSION": 1}
