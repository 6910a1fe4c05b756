"""Fragments in, put together; packets too long for their way, cut. RFC 791, 815, 1858, 3168, 4787,
5722, 6864 and 8926.
"""

import random

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPerror
from scapy.packet import Raw

from pcg.model.sizes import FRAME_MAX
from tests.c import wire
from tests.c.packets import PONG, gre, tcp, udp
from tests.c.places import (
    GATEWAY,
    NET,
    POOL_A,
    POOL_B,
    SERVER,
    THIN,
    WEB,
    A,
    B,
    C,
)
from tests.c.world import TEPS, over
from tests.oracle import fragments
from tests.oracle.fragments import cut, joined, piece

BIG = bytes(i % 251 for i in range(60_000))


def down(world, vm, pieces, **given):
    return world.inject("downlink", *[tunnelled(vm, p, **given) for p in pieces])


def tunnelled(vm, piece_, **given) -> bytes:
    return over(vm, piece_, inner={"type": 0x0800}, **given)


def up(world, pieces):
    return world.inject("uplink", *[wire.plain(p, type=0x0800) for p in pieces])


def whole(sent) -> IP:
    """The packet that these frames carry, its checksums held."""
    packet = joined([bytes(s.ip) for s in sent]) if len(sent) > 1 else bytes(sent[0].ip)
    wire.hold_ip(packet)
    return IP(packet)


def frags(sent) -> list[tuple[str, int, int]]:
    return [(str(s.ip.flags), s.ip.frag, len(s.ip)) for s in sent]


def held(world) -> int:
    return world.dp.totals()["held"]


def shuffled(pieces, seed):
    pieces = list(pieces)
    random.Random(seed).shuffle(pieces)
    return pieces


ORDERS = {
    "in order": lambda p: p,
    "reversed": lambda p: p[::-1],
    "last first": lambda p: p[-1:] + p[:-1],
    "any": lambda p: shuffled(p, 1),
    "any other": lambda p: shuffled(p, 2),
}


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
class TestEveryOrder:
    """RFC 4787 REQ-14: in order and out of order, on every side."""

    def test_outwards(self, world, order):
        packet = udp(data=BIG, id=77)
        seen = whole(down(world, A, order(cut(bytes(packet), 8943))))
        assert seen.src in (POOL_A.secondary, POOL_B.secondary)
        assert bytes(seen[UDP].payload) == BIG
        assert held(world) == 0

    def test_inwards(self, world, order):
        packet = udp(NET, SERVER.secondary, dport=7000, data=BIG)
        sent = up(world, order(cut(bytes(packet), 1500)))
        assert {s.tep for s in sent} == {B.tep}
        seen = whole(sent)
        assert (seen.dst, seen[UDP].dport, bytes(seen[UDP].payload)) == (B.address, 9000, BIG)

    def test_between_segments(self, world, order):
        packet = gre(dst=B.address, data=BIG)
        assert bytes(whole(down(world, A, order(cut(bytes(packet), 1400)))))[20:] == BIG

    def test_of_the_tunnel(self, world, order):
        """The underlay cut the outer packet (RFC 8926 section 4.1.1)."""
        outer = over(A, udp(dst=B.address, data=BIG[:8000]), outer={"flags": 0, "id": 9})
        pieces = [outer[:14] + p for p in cut(outer[14:], 1500)]
        assert len(pieces) == 6
        seen = whole(world.inject("downlink", *order(pieces)))
        assert bytes(seen[UDP].payload) == BIG[:8000]

    def test_of_the_tunnel_and_inside_it(self, world, order):
        frames = []
        for n, p in enumerate(cut(bytes(udp(dst=B.address, data=BIG)), 8943)):
            outer = tunnelled(A, p, outer={"flags": 0, "id": n})
            frames += [outer[:14] + one for one in cut(outer[14:], 1500)]
        seen = whole(world.inject("downlink", *order(frames)))
        assert bytes(seen[UDP].payload) == BIG


class TestThere:
    """What the sender of a large datagram sees."""

    def test_udp_of_60_kb_and_back(self, world):
        out = whole(down(world, A, cut(bytes(udp(data=BIG)), 8943)))
        back = udp(NET, out.src, sport=53, dport=out[UDP].sport, data=BIG[::-1])
        seen = whole(up(world, cut(bytes(back), 1500)))
        assert (seen.dst, seen[UDP].dport) == (A.address, 1000)
        assert bytes(seen[UDP].payload) == BIG[::-1]
        assert world.dp.totals()["sessions"] == 1

    def test_ping_of_9000_bytes_and_back(self, world):
        asked = IP(src=A.address, dst=NET) / ICMP(id=7, seq=1) / Raw(BIG[:9000])
        out = whole(down(world, A, cut(bytes(asked), 8943)))
        assert bytes(out[ICMP].payload) == BIG[:9000]
        told = IP(src=NET, dst=out.src) / ICMP(type=0, id=out[ICMP].id, seq=1) / Raw(BIG[:9000])
        back = whole(up(world, cut(bytes(told), 1500)))
        assert (back.dst, back[ICMP].id, bytes(back[ICMP].payload)) == (A.address, 7, BIG[:9000])

    def test_the_segments_gateway_answers_a_large_ping(self, world):
        """RFC 1122 section 3.2.2.6."""
        asked = IP(src=A.address, dst=GATEWAY[WEB][0]) / ICMP(id=7) / Raw(BIG)
        back = whole(down(world, A, cut(bytes(asked), 8943), vni=WEB))
        assert (back.src, back[ICMP].type) == (GATEWAY[WEB][0], PONG)
        assert bytes(back[ICMP].payload) == BIG

    def test_hairpin(self, world):
        """A workload dials the Elastic IP of another."""
        sent = down(world, A, cut(bytes(udp(dst=SERVER.elastic, dport=7000, data=BIG)), 8943))
        assert {s.tep for s in sent} == {B.tep}
        seen = whole(sent)
        assert seen.src in (POOL_A.elastic, POOL_B.elastic)
        assert (seen.dst, seen[UDP].dport) == (B.address, 9000)
        assert bytes(seen[UDP].payload) == BIG

    def test_tcp(self, world):
        world.down(A, tcp("S"))
        packet = tcp("A") / Raw(BIG)
        seen = whole(down(world, A, cut(bytes(packet), 1500)))
        assert bytes(seen[TCP].payload) == BIG

    def test_udp_without_a_checksum(self, world):
        packet = udp(data=BIG)
        packet[UDP].chksum = 0
        assert whole(down(world, A, cut(bytes(packet), 8943)))[UDP].chksum == 0

    def test_the_longest_datagram_there_is(self, world):
        packet = gre(dst=B.address, data=bytes(65515))
        assert len(whole(down(world, A, cut(bytes(packet), 8943)))) == 65535

    def test_a_large_icmp_error(self, world):
        """What it quotes is translated though it came in pieces."""
        out = whole(world.down(A, udp(data=bytes(1400))))
        error = IP(src="192.0.2.7", dst=out.src) / ICMP(type=3, code=1) / Raw(bytes(out))
        seen = whole(up(world, cut(bytes(error), 600)))
        assert (seen.dst, seen[IPerror].src) == (A.address, A.address)

    def test_an_ip_option_of_the_underlay(self, world):
        outer = over(A, udp(dst=B.address, data=BIG[:4000]), outer={"flags": 0, "id": 9})
        pieces = []
        for p in cut(outer[14:], 1500):
            with_option = IP(p[:20], options=[b"\x94\x04\0\0"]) / Raw(p[20:])
            del with_option.ihl, with_option.len, with_option.chksum
            pieces.append(outer[:14] + bytes(with_option))
        assert bytes(whole(world.inject("downlink", *pieces))[UDP].payload) == BIG[:4000]

    def test_tiny_fragments(self, world):
        """RFC 1858: no header hides from the rules, which see the whole."""
        packet = bytes(tcp("S", dst=NET, sport=5, options=[("MSS", 1460)]))
        assert whole(down(world, A, cut(packet, 28)))[TCP].dport == 80
        silent = bytes(tcp("S", dst="198.51.100.66"))
        assert not down(world, A, cut(silent, 28)[::-1])
        assert world.drops() == {"FIREWALL_DENIED": 1}

    def test_8190_pieces(self, world):
        """Before each of the same length stands the same, as long as the tunnel has no checksum."""
        *pieces, last = cut(bytes(gre(dst=B.address, data=bytes(65515))), 28)
        before = tunnelled(A, pieces[0], udp={"chksum": 0})[: -len(pieces[0])]
        frames = [tunnelled(A, last), *[before + one for one in reversed(pieces)]]
        assert len(frames) == 8190
        assert len(whole(world.inject("downlink", *frames))) == 65535

    def test_a_whole_that_fits_leaves_whole(self, world):
        sent = down(world, A, cut(bytes(udp(dst=B.address, data=BIG[:5000])), 1500))
        assert frags(sent) == [("", 0, 5028)]


class TestCut:
    """RFC 791 section 3.2: how a packet is cut. RFC 4787 REQ-13."""

    def test_towards_the_uplink(self, world):
        sent = world.down(A, udp(data=BIG[:4000]))
        assert frags(sent) == [("MF", 0, 1500), ("MF", 185, 1500), ("", 370, 1068)]
        assert bytes(whole(sent)[UDP].payload) == BIG[:4000]
        t = world.dp.totals()
        assert (t["rx"], t["made"], t["tx"]) == (1, 2, 3)

    def test_towards_a_tunnel_inside(self, world):
        """RFC 8926 section 4.1.1: the outer packet is never cut; wire.py holds its DF."""
        sent = world.down(A, udp(dst=THIN.address, data=BIG[:3000]))
        assert frags(sent) == [("MF", 0, 1444), ("MF", 178, 1444), ("", 356, 180)]
        assert len({s.sport for s in sent}) == 1  # one flow for the underlay

    @pytest.mark.parametrize("way", ["uplink", "tunnel"])
    def test_no_piece_is_longer_than_a_frame_may_be(self, world, way):
        """Whatever the records say of a link: no buffer has room for more."""
        world.policy.uplink_mtu = 30_000
        world.policy.segments = [s._replace(mtu=30_000) for s in world.policy.segments]
        world.dp.put("teps", [row._replace(mtu=30_000) for row in TEPS])
        world.commit()
        dst = NET if way == "uplink" else B.address
        sent = down(world, A, cut(bytes(udp(dst=dst, data=BIG)), 8943))
        assert FRAME_MAX - 64 < max(len(s.frame) for s in sent) <= FRAME_MAX
        assert bytes(whole(sent)[UDP].payload) == BIG

    def test_with_df_the_sender_is_told(self, world):
        """RFC 1191 section 4: the MTU of that side: the uplink's outwards, the tunnel's inner one
        inwards.
        """
        (told,) = world.down(A, udp(data=BIG[:4000], flags="DF"))
        assert (told.ip[ICMP].type, told.ip[ICMP].code, told.ip[ICMP].nexthopmtu) == (3, 4, 1500)
        assert world.drops() == {"TOO_BIG": 1}

    def test_pieces_with_df_stay_pieces(self, world):
        """Never longer than the sender's own, and still with DF: he asked to be told."""
        packet = bytes(udp(data=BIG[:4000]))
        sent = down(world, A, cut(packet, 1004, df=True))
        assert frags(sent) == [
            ("MF+DF", 0, 1004),
            ("MF+DF", 123, 1004),
            ("MF+DF", 246, 1004),
            ("MF+DF", 369, 1004),
            ("DF", 492, 92),
        ]

    def test_pieces_with_df_that_are_too_wide(self, world):
        (told,) = down(world, A, cut(bytes(udp(data=BIG[:8000])), 2000, df=True))
        assert (told.ip.dst, told.ip[ICMP].nexthopmtu) == (A.address, 1500)
        assert world.drops() == {"TOO_BIG": 1}

    def test_pieces_without_df_are_cut_further(self, world):
        sent = down(world, A, cut(bytes(udp(data=BIG[:8000])), 2000))
        assert len(sent) == 6

    def test_the_senders_identification_stays_between_segments(self, world):
        sent = world.down(A, udp(dst=THIN.address, data=BIG[:3000], id=4711))
        assert {s.ip.id for s in sent} == {4711}

    def test_behind_a_shared_address_it_is_ours(self, world):
        """RFC 7857 section 10, RFC 6864 section 5.3.1: two senders that chose the same one."""
        world.policy.nat = {"snat": world.policy.nat["snat"]._replace(n_pool=1)}
        world.commit()
        first = world.down(A, udp(data=BIG[:4000], id=4711))
        second = world.down(C, udp(C.address, data=BIG[:4000], id=4711))
        assert {s.ip.src for s in first + second} == {POOL_A.secondary}
        assert len({s.ip.id for s in first}) == len({s.ip.id for s in second}) == 1
        assert first[0].ip.id != second[0].ip.id

    def test_dscp_and_ttl_are_those_of_the_packet(self, world):
        sent = world.down(A, udp(data=BIG[:4000], tos=0xB8, ttl=9))
        assert {(s.ip.tos, s.ip.ttl) for s in sent} == {(0xB8, 8)}

    def test_many_at_once(self, world):
        """More pieces than there are buffers: what is in them leaves first."""
        frames = [over(A, udp(dst=THIN.address, data=BIG[:8000], id=i)) for i in range(50)]
        sent = world.inject("downlink", *frames)
        assert len(sent) == 50 * 6
        for at in range(0, 300, 6):
            assert bytes(whole(sent[at : at + 6])[UDP].payload) == BIG[:8000]

    def test_segments_count_each_piece(self, world):
        world.down(A, udp(dst=THIN.address, data=BIG[:3000]), vni=WEB)
        rows = {row["id"]: row for row in world.dp.counters("segments")}
        assert (rows[WEB]["in_packets"], rows[WEB]["out_packets"]) == (1, 3)


class TestOverlap:
    """RFC 5722 section 4, kept for IPv4: an overlap ends the datagram, and what still comes."""

    PACKET = bytes(gre(dst=B.address, data=BIG[:64]))

    def at(self, start, data, more=True):
        return piece(self.PACKET, start, data, more)

    OVERLAPS = (
        ("a byte of 8 more", [(0, 16, True), (8, 24, True)]),
        ("around", [(16, 24, True), (8, 32, True)]),
        ("the last reaches back", [(0, 32, True), (24, 64, False)]),
        ("beyond the end", [(32, 64, False), (64, 72, True)]),
        ("an end before what is there", [(40, 64, True), (8, 32, False)]),
        ("two ends", [(32, 64, False), (24, 32, False)]),
    )

    @pytest.mark.parametrize("pieces", [o[1] for o in OVERLAPS], ids=[o[0] for o in OVERLAPS])
    def test_ends_it(self, world, pieces):
        for start, end, more in pieces:
            assert not down(world, A, [self.at(start, BIG[:200][start:end], more)])
        assert world.drops() == {"FRAGMENT_OVERLAP": 2}
        for one in cut(self.PACKET, 28):
            assert not down(world, A, [one])
        assert set(world.drops()) == {"FRAGMENT_OVERLAP"}
        assert held(world) == 0

    def test_other_bytes_at_the_same_place(self, world):
        down(world, A, [self.at(0, b"A" * 16), self.at(0, b"B" * 16)])
        assert world.drops() == {"FRAGMENT_OVERLAP": 2}

    def test_the_same_twice_is_no_overlap(self, world):
        pieces = cut(self.PACKET, 36)
        sent = down(world, A, [pieces[0], pieces[0], pieces[3], pieces[3], *pieces[1:3]])
        assert bytes(sent[0].ip)[20:] == BIG[:64]
        assert world.drops() == {"FRAGMENT_DUPLICATE": 2}

    def test_other_datagrams_are_left_alone(self, world):
        other = bytes(gre(dst=B.address, data=BIG[:64]))
        other = fragments.header(other[:4] + b"\0\7" + other[6:], len(other), 0) + other[20:]
        down(world, A, [self.at(0, b"A" * 16), self.at(8, b"B" * 16)])
        assert down(world, A, cut(other, 36))

    def test_after_the_timer_the_identification_is_free(self, world):
        down(world, A, [self.at(0, b"A" * 16), self.at(8, b"B" * 16)])
        world.sweep(after_s=15)
        assert down(world, A, cut(self.PACKET, 36))


class TestBounds:
    def test_the_timer_starts_with_the_first_piece(self, world):
        """RFC 791: 15 seconds, not the 60 of RFC 1122 section 3.3.2; what comes later does not
        prolong it."""
        pieces = cut(bytes(udp(dst=B.address, data=BIG[:4000])), 1500)
        down(world, A, pieces[:1])
        world.now_s += 10
        down(world, A, pieces[1:2])
        world.sweep(after_s=4.9)
        assert held(world) == 2
        world.sweep(after_s=0.1)
        assert (held(world), world.drops()) == (0, {"FRAGMENT_TIMEOUT": 2})
        assert not down(world, A, pieces[2:])  # it waits for others now
        assert held(world) == 1

    def test_no_timer_is_needed_while_frames_come(self, world):
        down(world, A, cut(bytes(udp(dst=B.address, data=BIG[:4000])), 1500)[:1])
        world.now_s += 15
        world.down(A, udp())
        assert world.drops() == {"FRAGMENT_TIMEOUT": 1}

    def test_the_oldest_goes_first(self, world):
        """RFC 4787 REQ-14a."""
        packets = [bytes(udp(dst=B.address, data=BIG[:2000], id=i)) for i in range(130)]
        halves = [cut(p, 1500) for p in packets]
        for first, _ in halves:
            down(world, A, [first])
        assert (held(world), world.drops()) == (128, {"FRAGMENTS_FULL": 2})
        for i in (2, 129):
            assert down(world, A, halves[i][1:])
        assert not down(world, A, halves[1][1:])

    def test_the_internet_crowds_out_no_workload(self, world):
        """RFC 4787 REQ-14a."""
        first, second = cut(bytes(udp(dst=B.address, data=BIG[:2000])), 1500)
        down(world, A, [first])
        for i in range(300):
            up(world, [piece(bytes(udp(NET, SERVER.secondary, id=i)), 0, bytes(8), True)])
        assert world.drops() == {"FRAGMENTS_FULL": 172}
        assert down(world, A, [second])

    def test_as_many_as_a_call_takes_complete_at_once(self, world):
        halves = [cut(bytes(udp(dst=B.address, data=BIG[:2000], id=i)), 1500) for i in range(128)]
        assert not down(world, A, [h[0] for h in halves])
        sent = down(world, A, [h[1] for h in halves])
        assert [s.ip.id for s in sent] == list(range(128))
        assert {bytes(s.ip[UDP].payload) for s in sent} == {BIG[:2000]}

    def test_what_a_datagram_is_told_apart_by(self, world):
        """RFC 791: source, destination, protocol, identification; and the VRF."""
        first, second = cut(bytes(udp(dst=B.address, data=BIG[:2000])), 1500)
        down(world, A, [first])
        for at, value in ((5, 9), (9, 47), (19, 4)):
            other = bytearray(second)
            other[at] = value
            down(world, A, [fragments.header(bytes(other), len(other), 185) + second[20:]])
        assert held(world) == 4

    def test_a_stranger_fills_nothing(self, world):
        for given in ({"src": C.address}, {"src": "192.168.99.250"}):
            down(world, A, cut(bytes(udp(dst=B.address, data=BIG[:2000], **given)), 1500))
        assert (held(world), world.drops()) == (0, {"SOURCE_SPOOFED": 4})

    def test_explain_holds_nothing(self, world):
        first, _ = cut(bytes(udp(dst=B.address, data=BIG[:2000])), 1500)
        events, out = world.dp.explain("downlink", tunnelled(A, first))
        assert (events[-1]["stage"], events[-1]["verdict"], out) == ("parse_inner", "held", None)
        assert held(world) == 0

    def test_explain_shows_the_first_piece(self, world):
        _, out = world.dp.explain("downlink", over(A, udp(dst=THIN.address, data=BIG[:3000])))
        assert IP(out[64:]).flags == "MF"
        assert world.dp.totals()["made"] == 0


class TestFairness:
    """RFC 4787 REQ-14a: when its places are full, the oldest of the sender that holds most goes."""

    SIDES = ("inside", "uplink", "tunnels")

    def send(self, world, side: str, sender: int, id_: int, half: int):
        """One half of a datagram; on each side the senders are others."""
        if side == "uplink":
            packet = udp(f"198.51.100.{10 + sender}", SERVER.secondary, data=BIG[:2000], id=id_)
            packet[UDP].dport = 7000
            return up(world, cut(bytes(packet), 1500)[half : half + 1])
        vm, to = ((A, B), (B, A), (C, A))[sender]
        if side == "inside":
            packet = udp(vm.address, dst=to.address, data=BIG[:2000], id=id_)
            return down(world, vm, cut(bytes(packet), 1500)[half : half + 1])
        frame = over(vm, udp(vm.address, dst=to.address, data=BIG[:200]))
        outer = frame[14:18] + id_.to_bytes(2) + b"\0\0" + frame[22:]
        piece_ = cut(fragments.header(outer, len(outer), 0) + outer[20:], 200)[half]
        return world.inject("downlink", frame[:14] + piece_)

    @pytest.mark.parametrize("side", SIDES)
    def test_who_sends_most_crowds_out_nobody(self, world, side):
        assert not self.send(world, side, 0, 1, 0)
        for i in range(300):
            assert not self.send(world, side, 1, i, 0)
        assert (held(world), world.drops()) == (128, {"FRAGMENTS_FULL": 173})
        assert self.send(world, side, 0, 1, 1)  # the oldest of all, and whole now
        assert not self.send(world, side, 0, 2, 0)  # nor does it matter who comes first
        assert not self.send(world, side, 1, 0, 0)
        assert self.send(world, side, 0, 2, 1)
        assert world.drops() == {"FRAGMENTS_FULL": 1}

    def test_many_who_hold_one_each_lose_the_oldest(self, world):
        for i in range(140):
            self.send(world, "uplink", i, 1, 0)
        assert world.drops() == {"FRAGMENTS_FULL": 12}
        assert not self.send(world, "uplink", 11, 1, 1)
        assert not self.send(world, "uplink", 13, 1, 0)  # there already
        assert world.drops() == {"FRAGMENTS_FULL": 1, "FRAGMENT_DUPLICATE": 1}
        assert self.send(world, "uplink", 14, 1, 1)

    @pytest.mark.parametrize("seed", range(4))
    def test_as_the_twin_shares_them(self, world, seed):
        rnd, places = random.Random(seed), fragments.Places(128)
        begun = []
        for id_ in range(1000):
            sender = min(int(rnd.expovariate(0.3)), 40)
            if begun and rnd.random() < 0.2:
                who, name = begun.pop(rnd.randrange(len(begun)))
                there = places.end(who, name)
                assert bool(self.send(world, "uplink", who, name, 1)) == there
                if not there:
                    places.begin(who, name)  # its other half has come too late, and waits
            else:
                self.send(world, "uplink", sender, id_, 0)
                places.begin(sender, id_)
                begun.append((sender, id_))
            assert held(world) == len(places.kept)


class TestCongestion:
    """RFC 3168 section 5.3, for the outer pieces by RFC 6040."""

    NOT, ECT1, ECT0, CE = range(4)
    MIXES = (
        ([ECT0, CE], CE),
        ([CE, ECT0], CE),
        ([ECT1, CE], CE),
        ([CE, CE], CE),
        ([ECT0, ECT0], ECT0),
        ([NOT, CE], None),
        ([CE, NOT], None),
        ([NOT, NOT], NOT),
    )

    @pytest.mark.parametrize("marks, then", MIXES)
    @pytest.mark.parametrize("order", [1, -1], ids=["in order", "reversed"])
    def test_inside(self, world, marks, then, order):
        pieces = []
        halves = cut(bytes(udp(dst=B.address, data=BIG[:2000])), 1500)
        for p, mark in zip(halves, marks, strict=True):
            at = int.from_bytes(p[6:8])
            pieces.append(fragments.header(p[:1] + bytes([mark]) + p[2:], len(p), at) + p[20:])
        sent = down(world, A, pieces[::order])
        assert [s.ip.tos for s in sent] == ([] if then is None else [then])
        assert world.drops() == ({"ECN_CONGESTED": 1} if then is None else {})

    def test_outside(self, world):
        """A mark on one piece of the tunnel packet reaches the receiver."""
        outer = over(A, udp(dst=B.address, data=BIG[:2000], tos=2), outer={"flags": 0, "tos": 2})
        first, second = cut(outer[14:], 1500)
        marked = second[:1] + b"\3" + second[2:]
        marked = fragments.header(marked, len(marked), int.from_bytes(marked[6:8])) + second[20:]
        (seen,) = world.inject("downlink", outer[:14] + first, outer[:14] + marked)
        assert seen.ip.tos == 3
