"""Requirements of RFC 4787, 5382, 5508 and 7857 that the tests of no one part are about.

Each test's name has its number; docs/standards.md lists all of them, and where the others are held.
"""

import struct

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.packet import Raw

from tests.c import wire
from tests.c.packets import answer, complaint, flow, inside, one, ping, prohibited, tcp, udp
from tests.c.places import NET, OTHER_NET, TINY, WHOLE, A, C
from tests.c.wire import Seen
from tests.c.world import over
from tests.oracle.checksum import ones_sum, pseudo

ROUTER = "198.51.100.254"
ESTABLISHED_S = 7440


def connected(w) -> Seen:
    out = one(w.down(A, tcp("S")))
    w.up(answer(out, "SA", b""))
    w.down(A, tcp("A"))
    return out


# ---- mapping and ports ----

MAKERS = {
    "udp": lambda dst, n: udp(dst=dst, dport=50 + n),
    "tcp": lambda dst, n: tcp("S", dst=dst, dport=50 + n),
    "icmp": lambda dst, n: ping(dst=dst, seq=n),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_rfc4787_req1_rfc5382_req1_rfc5508_req1a_one_outside_endpoint(world, make):
    """RFC 4787 REQ-1, RFC 5382 REQ-1, RFC 5508 REQ-1a: whoever it speaks to."""
    seen = {flow(one(world.down(A, make(dst, n))))[::2] for n, dst in enumerate((NET, OTHER_NET))}
    assert len(seen) == 1


@pytest.mark.parametrize("kind", ["udp", "tcp"])
def test_rfc4787_req3_rfc5382_req7_no_port_is_overloaded(world, kind):
    """RFC 4787 REQ-3, RFC 5382 REQ-7: to one destination, so that nothing else tells them apart."""
    make = {"udp": lambda n: udp(sport=n), "tcp": lambda n: tcp("S", sport=n)}[kind]
    frames = [over(A, make(n)) for n in range(1, 401)]
    assert len({flow(sent)[::2] for sent in world.inject("downlink", *frames)}) == 400


def test_rfc4787_req3a_req4_ports_are_of_the_high_range_and_of_any_parity(world):
    """RFC 4787 REQ-3a is kept for ports from 1024 on; those below leave by high ones too, as RFC
    6056 section 3.2 has it. RFC 4787 REQ-4, port parity, is not kept: RFC 7857 section 8 allows it.
    """
    frames = [over(A, udp(sport=n)) for n in (*range(2, 400, 2), *range(40000, 40400, 2))]
    drawn = [flow(sent)[2] for sent in world.inject("downlink", *frames)]
    assert min(drawn) >= 1024
    assert {port % 2 for port in drawn} == {0, 1}


def test_rfc4787_req11_what_is_scarce_changes_nothing(world):
    """RFC 4787 REQ-11: deterministic. All ports are taken: who has one keeps it towards whoever,
    who has none is told so, and none is shared."""
    had = {n: flow(one(world.down(TINY, udp(TINY.address, sport=n))))[::2] for n in range(4)}
    assert prohibited(world.down(TINY, udp(TINY.address, sport=9)))
    for n, endpoint in had.items():
        again = one(world.down(TINY, udp(TINY.address, OTHER_NET, sport=n)))
        assert flow(again)[::2] == endpoint
        stranger = udp("8.8.8.8", endpoint[0], dport=endpoint[1])
        assert not world.up(stranger)
    assert len(set(had.values())) == 4
    assert world.drops() == {"NAT_PORTS_EXHAUSTED": 1, "NAT_FILTERED": 4}


APPLICATIONS = {
    "ftp": (21, b"PORT 192,168,99,9,4,1\r\n"),
    "sip": (5060, b"REGISTER sip:x SIP/2.0\r\nContact: <sip:a@192.168.99.9:1000>\r\n\r\n"),
}


@pytest.mark.parametrize("dport, data", APPLICATIONS.values(), ids=APPLICATIONS)
def test_rfc4787_req10_rfc5382_req6_no_application_is_read(world, dport, data):
    """RFC 4787 REQ-10, RFC 5382 REQ-6: there is no ALG. Active FTP ends at that: the server's
    connection to the port that was named finds no door."""
    out = one(world.down(A, udp(dport=dport, data=data)))
    assert bytes(out.ip[UDP].payload) == data
    out = one(world.down(A, tcp("S", dport=dport)))
    world.up(answer(out, "SA", b""))
    said = one(world.down(A, tcp("PA", dport=dport) / Raw(data)))
    assert bytes(said.ip[TCP].payload) == data
    assert len(said.ip) == 40 + len(data)
    assert not world.up(tcp("S", NET, out.ip.src, sport=20, dport=1025))


# ---- ICMP errors about sessions ----

KINDS = [(3, code) for code in range(16)] + [(11, 0), (11, 1), (12, 0)]


@pytest.mark.parametrize("way", ["in", "out"])
def test_rfc5382_req10_rfc4787_req12_no_error_ends_a_connection(world, way):
    """RFC 5382 REQ-10, RFC 4787 REQ-12, RFC 5508 REQ-4b, RFC 5508 REQ-5b: of any type and code,
    which are left as they are."""
    out = connected(world)
    back = one(world.up(answer(out, "A", b"")))
    for kind, code in KINDS:
        if way == "in":
            seen = one(world.up(complaint(out, ROUTER, kind, code)))
        else:
            seen = one(world.down(A, complaint(back, A.address, kind, code)))
        assert (seen.ip[ICMP].type, seen.ip[ICMP].code) == (kind, code)
    (session,) = world.dp.sessions()
    assert (session["state"], session["timeout_s"]) == ("established", ESTABLISHED_S)
    assert flow(one(world.down(A, tcp("A")))) == flow(out)
    assert world.up(answer(out, "A"))


def quoted_at(seen: Seen) -> bytes:
    """The packet inside, as it stands there."""
    return bytes(seen.ip)[28:]


def error_quoting(out: Seen, quote: bytes, **icmp) -> IP:
    return IP(src=ROUTER, dst=out.ip.src) / ICMP(type=3, code=1, **icmp) / Raw(quote)


def from_wire(world, packet) -> bytes:
    """What the path sends for it, not read: World would refuse its checksums."""
    (sent,) = world.dp.inject("uplink", [wire.plain(packet)], world.now_ns)
    return sent.frame[14 + 20 + 8 + 16 + 14 :]


def test_rfc5508_req3a_a_header_that_was_wrong_inside_stays_so(world):
    """RFC 5508 REQ-3a says SHOULD drop. Some routers quote a header that they changed already; to
    drop those would lose path MTUs. What was wrong is not made right: the receiver sees it."""
    out = one(world.down(A, udp()))
    quote = bytearray(bytes(out.ip))
    quote[10] ^= 0x55
    seen = from_wire(world, error_quoting(out, bytes(quote)))
    right = from_wire(world, error_quoting(out, bytes(out.ip)))
    assert ones_sum(right[28:48]) == 0xFFFF
    assert ones_sum(seen[28:48]) != 0xFFFF
    assert ones_sum(seen[20:]) == 0xFFFF  # of the error itself


OPTIONS = {"router alert": b"\x94\x04\0\0", "record route": bytes([7, 39, 4, *bytes(36), 0])}


@pytest.mark.parametrize("option", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("packet", [udp(), tcp("S"), ping()], ids=["udp", "tcp", "icmp"])
def test_rfc5508_req3b_options_of_the_quoted_packet_are_passed_over(world, packet, option):
    """RFC 5508 REQ-3b: "If the embedded packet includes IP options, the NAT device MUST traverse
    past the IP options to locate the start of the transport header for the embedded packet". We
    forward none that has any; somebody on the way may have put them there."""
    out = one(world.down(A, packet))
    quote = bytearray(bytes(out.ip)[:20] + option + bytes(out.ip)[20:])
    quote[0] = 0x40 | (20 + len(option)) // 4
    quote[10:12] = b"\0\0"
    head = bytes(quote[: 20 + len(option)])
    quote[10:12] = struct.pack("!H", 0xFFFF ^ ones_sum(head))
    seen = from_wire(world, error_quoting(out, bytes(quote)))[28:]
    assert ones_sum(seen[: len(head)]) == 0xFFFF
    assert (seen[12:16], seen[20 : len(head)]) == (bytes(IP(src=A.address))[12:16], option)
    assert seen[len(head) :] == bytes(packet)[20:]


@pytest.mark.parametrize("length", [0, 4, 15])
def test_rfc5508_req3b_options_that_do_not_fit(world, length):
    """A header shorter than its least, or longer than what is quoted."""
    out = one(world.down(A, udp()))
    quote = bytearray(bytes(out.ip)[:28])
    quote[0] = 0x40 | length
    assert not world.up(error_quoting(out, bytes(quote)))
    assert world.drops() == {"L4_SHORT": 1}


def test_rfc5508_req3c_the_transport_checksum_inside_is_not_judged(world):
    """RFC 5508 REQ-3c: it passes, wrong by as much as it was."""
    out = one(world.down(A, udp()))
    quote = bytearray(bytes(out.ip))
    quote[26:28] = struct.pack("!H", (out.ip[UDP].chksum ^ 0x0F0F) or 1)
    seen = from_wire(world, error_quoting(out, bytes(quote)))[28:]
    start = pseudo(seen[12:16], seen[16:20], 17, len(seen) - 20)
    assert ones_sum(seen[20:], start) != 0xFFFF
    assert (seen[12:16], seen[20:22]) == (bytes(IP(src=A.address))[12:16], b"\x03\xe8")


def test_rfc5508_req3d_extensions_behind_the_quote_stay(world):
    """RFC 5508 REQ-3d, RFC 4884: an MPLS label stack behind 128 quoted bytes, as routers say it."""
    out = one(world.down(A, udp(data=b"x" * 200)))
    stack = struct.pack("!HBBI", 8, 1, 1, 0x00010140)
    head = struct.pack("!BBH", 0x20, 0, 0)
    extension = head[:2] + struct.pack("!H", 0xFFFF ^ ones_sum(head + stack)) + stack
    packet = IP(src=ROUTER, dst=out.ip.src) / Raw(
        struct.pack("!BBHI", 11, 0, 0, 32 << 16) + bytes(out.ip)[:128] + extension
    )
    packet.proto = 1
    whole = bytearray(bytes(packet))
    whole[22:24] = struct.pack("!H", 0xFFFF ^ ones_sum(bytes(whole[20:])))
    seen = from_wire(world, IP(bytes(whole)))
    assert (seen[20], seen[25], seen[-len(extension) :]) == (11, 32, extension)
    assert seen[28 + 12 : 28 + 16] == bytes(IP(src=A.address))[12:16]
    assert ones_sum(seen[20:]) == 0xFFFF


def test_rfc5508_req6_an_error_about_a_ping_neither_refreshes_nor_ends(world):
    """RFC 5508 REQ-6: the session of a query."""
    out = one(world.down(A, ping()))
    world.sweep(after_s=40)
    assert inside(one(world.up(complaint(out, ROUTER)))).src == A.address
    assert world.dp.totals()["sessions"] == 1
    world.sweep(after_s=21)  # 61 s after the query
    assert world.dp.totals()["sessions"] == world.dp.totals()["mappings"] == 0


def test_rfc5508_req9_errors_may_be_switched_off(world):
    """RFC 5508 REQ-9: what would have been said is counted."""
    world.policy.quota = {"made_all": 0}
    world.commit()
    assert not world.down(A, udp(ttl=1))
    assert (world.dp.totals()["made"], world.dp.totals()["unmade"]) == (0, 1)


OTHERS = [4, 5, 9, 10, 13, 14, 15, 16, 17, 18, 30, 37, 42]


@pytest.mark.parametrize("kind", OTHERS)
def test_rfc5508_req10_req11_other_messages_end_here(world, kind):
    """RFC 5508 REQ-10: redirect, timestamp, router discovery and address mask may be supported;
    source quench and information requests should not be (RFC 6633: quench is discarded);
    RFC 5508 REQ-11: the rest may be dropped. They are, both ways, also where every protocol is let
    in, and are counted."""
    out = one(world.down(A, udp()))
    about = complaint(out, ROUTER, kind, 0)
    assert not world.up(about)
    assert not world.up(IP(src=NET, dst=WHOLE.secondary) / ICMP(type=kind))
    assert not world.down(C, IP(src=C.address, dst=NET) / ICMP(type=kind))
    assert world.drops() == {"ICMP_UNSUPPORTED": 3}


# ---- RFC 7857 ----


def open_to_all(world) -> None:
    world.policy.nat["snat"] = world.policy.nat["snat"]._replace(filtering=1)
    world.commit()


def test_rfc7857_section6_a_door_is_of_one_protocol(world):
    """RFC 7857 section 6: a mapping of UDP that is open to all lets no TCP in."""
    open_to_all(world)
    out = one(world.down(A, udp()))
    assert world.up(udp(OTHER_NET, out.ip.src, dport=out.ip.sport))
    assert not world.up(tcp("S", OTHER_NET, out.ip.src, dport=out.ip.sport))
    assert world.drops() == {"NO_DNAT": 1}


def test_rfc7857_section7_who_is_refused_refreshes_nothing(world):
    """RFC 7857 section 7: else a packet now and then would hold a mapping open for ever."""
    open_to_all(world)
    out = one(world.down(A, udp()))
    for _ in range(3):
        world.sweep(after_s=90)
        assert not world.up(udp("198.51.100.68", out.ip.src, dport=out.ip.sport))
    assert world.drops() == {"FIREWALL_DENIED": 3}
    world.sweep(after_s=31)  # 301 s after the only packet of its own
    assert world.dp.totals()["mappings"] == 0


def test_rfc7857_section7_1_errors_and_resets_outwards_refresh_nothing(world):
    """RFC 7857 section 7.1."""
    out = one(world.down(A, udp()))
    back = one(world.up(answer(out)))
    world.sweep(after_s=200)
    assert world.down(A, complaint(back, A.address))
    world.sweep(after_s=101)
    assert world.dp.totals()["sessions"] == 0
    connected(world)
    world.sweep(after_s=200)
    assert world.down(A, tcp("R"))
    world.sweep(after_s=41)  # 4 minutes after the last packet that was no reset
    assert world.dp.totals()["sessions"] == 0
