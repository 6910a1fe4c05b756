"""Seeds of the fuzzer that bring about what packets alone seldom do."""

from scapy.layers.l2 import ARP

from pcg.cli import bpf
from tests.c import dhcp, wire
from tests.c.packets import ping, tcp, udp
from tests.c.places import (
    APP,
    FEW,
    GATEWAY,
    NET,
    NEWCOMER,
    OTHER_NET,
    RED,
    SERVER,
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
from tests.fuzz import frames
from tests.fuzz.steps import (
    AGAIN,
    ANSWER,
    ERROR,
    EXPLAIN,
    HOLD,
    LANES,
    MANY,
    MEND,
    PIECES,
    POLICY,
    PUT,
    READ,
    RESTART,
    TIME,
    WATCH,
    follows,
    step,
)
from tests.oracle.fragments import cut

# Tables and rows as world.c counts them; offsets in struct pcgdp_nat.
NEXTHOPS_PUT, NAT_AT, FIREWALL_AT, ROUTES_AT = 2, 5, 6, 4
RANGE_ROW, TINY_ROW, SNAT_ROW = 5, 7, 9
SPORT, DPORT, ID, DST_LOW = 20, 22, 4, 18
FW_MATCH, LOG, PORT_FIRST, PORT_LAST, RESET = 9, 10, 12, 15, 158
ESTABLISHED = follows(ANSWER, 0, 0x12) + follows(ANSWER, 0, 0x10)
SWEPT = follows(TIME, 1, 0, 1)


def odd_lives() -> list[bytes]:
    """TCP that is over by another policy, or by silence; sessions decided again in another way."""
    syn = step("downlink", over(A, tcp("S", A.address, NET, dport=80)))
    flow = step("downlink", over(A, udp()))
    goes, logged = follows(POLICY, NAT_AT, SNAT_ROW), follows(POLICY, NAT_AT, SNAT_ROW, LOG, 1)
    silent = follows(POLICY, NAT_AT, SNAT_ROW, RESET, 0)
    open_ = syn + ESTABLISHED
    asked = [follows(ANSWER, which, flags) for which in (0, 1) for flags in (0xFF, 0x10, 0x14)]
    ends = [goes, follows(TIME, 125, 3, 1), silent, follows(POLICY, ROUTES_AT, 0)]
    made = [open_ + end + follows(TIME, 1, 0, 0) + one + one for end in ends for one in asked]
    made += [open_ + goes + follows(TIME, 20, 1, 1) + one for one in asked]
    changes = [logged, follows(PUT, NEXTHOPS_PUT, 0, 10, 0), follows(RESTART), goes]
    changes += [follows(POLICY, FIREWALL_AT, row) for row in range(4)]
    begun = [open_, flow, flow + follows(ANSWER, 0, 0xFF)]
    made += [
        one + change + again + again
        for one in begun
        for change in changes
        for again in (follows(AGAIN, 0), follows(ANSWER, 0, 0x10), follows(AGAIN, 0, op=EXPLAIN))
    ]
    odd = [tcp("S", dst=dst) for dst in ("198.51.100.66", "198.51.100.67")]
    odd += [udp(dport=port, sport=sport) for port in (5005, 5030, 5350) for sport in (0, 7)]
    made += [step("downlink", over(A, one)) * 2 for one in odd]
    made += [step("uplink", wire.plain(tcp("S", "198.51.100.68", SERVER.secondary)))]
    made += [step("downlink", frames.path_mtu_told(mtu)) + flow for mtu in (0, 500, 1000)]
    unswept = [follows(POLICY | HOLD, NAT_AT, SNAT_ROW), follows(POLICY | HOLD, ROUTES_AT, 0)]
    made += [
        one + logged + goes_on + follows(AGAIN, 0) * 2
        for one in (open_, flow)
        for goes_on in unswept
    ]
    return [
        *made,
        *(one + follows(READ, row, 1) + follows(READ) for row in (0, 1) for one in made[:3]),
    ]


def met() -> list[bytes]:
    """What meets itself, or somebody who has its way already; who asks for what is not for him."""
    lets_in = [wire.plain(udp(NET, WHOLE.secondary, sport=53, dport=3000 + n)) for n in range(4)]
    own = over(C, udp(C.address, NET))
    made = [
        b"".join(step("uplink", one) for one in lets_in[:taken]) + step("downlink", own, op) * 2
        for taken in (1, 3, 4)
        for op in (0, EXPLAIN)
    ]
    made += [
        step("downlink", over(vm, make(vm.address, at.elastic, sport=53, dport=53)), op)
        for vm, at in ((R, TWIN), (C, WHOLE), (B, SERVER))
        for make in (udp, lambda *a, **k: tcp("S", *a, **k))
        for op in (0, EXPLAIN)
    ]
    red = [over(RED, make(dst=at)) for at in (C.address, A.address) for make in (udp, ping)]
    red += [over(A, udp(dst=C.address), vni=vni) for vni in (19000, 19096)]
    made += [step("downlink", one) + follows(ANSWER, 0, 0xFF) for one in red]
    hairpin = step("downlink", over(A, udp(dst=SERVER.elastic, dport=7000)))
    made += [hairpin + follows(ERROR, 0, code | 3 << 3, 0) for code in range(8)]
    lands = over(TINY, udp(TINY.address, FEW.secondary))
    doors = [wire.plain(udp(NET, at.secondary, dport=n)) for at, n in ((SERVER, 7000), (FEW, 9000))]
    made += [step("downlink", lands, op) for op in (0, EXPLAIN)]
    made += [b"".join(step("uplink", one, op) for one in doors) for op in (0, EXPLAIN)]
    made += [step("downlink", over(vm, tcp("S", vm.address, dst))) for vm in (A, TINY)
             for dst in (vm.address, FEW.elastic, "203.0.113.99")]  # fmt: skip
    tiny = b"".join(step("downlink", over(TINY, udp(TINY.address, sport=n))) for n in range(12))
    changes = [(LOG, 1), (PORT_FIRST, 0xD2), (FW_MATCH, 1), (FW_MATCH, 2)]
    made += [
        tiny + follows(POLICY, NAT_AT, TINY_ROW, *one) + follows(AGAIN, n) * 2
        for one in changes
        for n in (0, 7)
    ]
    made += [
        tiny
        + follows(POLICY | HOLD, NAT_AT, TINY_ROW, PORT_FIRST, 0xD2)
        + follows(AGAIN, n, DST_LOW, 7)
        for n in (0, 7)
    ]
    into = step("uplink", wire.plain(udp(NET, SERVER.secondary, dport=7003)))
    made += [follows(POLICY, NAT_AT, RANGE_ROW, FW_MATCH, n) + into for n in (1, 2)]
    asks = [ARP(op=op, psrc=src, hwsrc=mac, pdst=dst) for op in (1, 2)
            for src in (A.address, B.address, "192.168.99.250", "0.0.0.0") for mac in (A.mac, B.mac)
            for dst in (GATEWAY[WEB][0], B.address)]  # fmt: skip
    made += [step("downlink", over(A, ask, vni=vni)) for ask in asks for vni in (WEB, APP)]
    made += [
        step("downlink", dhcp.asked(vm, dhcp.ask(vm, src=src)))
        for vm in (B, RED, A, TINY)
        for src in ("127.0.0.1", B.address, GATEWAY[WEB][0])
    ]
    return made


def filters() -> list[bytes]:
    """Captures by programs of libpcap's."""
    flow = step("downlink", over(A, udp()))
    words = ["udp port 53", "host 192.168.99.9 and not tcp", "len > 60", "ip[8] = 64", "arp"]
    words += ["tcp[tcpflags] & 2 != 0", "geneve 9000 and udp", "net 192.168.0.0/16"]
    words += ["portrange 50-60", "ip[6:2] & 0x1fff = 0"]
    return [
        follows(WATCH, 1 | inside, *bpf.compiled(one)) + flow * 2 + follows(WATCH, 2)
        for one in words
        for inside in (0, 4)
    ]


def floods() -> list[bytes]:
    """Ports that run out, tables that are full, chains, and what comes too often."""
    tiny = step("downlink", over(TINY, udp(TINY.address)))
    other = step("downlink", over(TINY, udp(TINY.address, OTHER_NET)))
    flow, syn = step("downlink", over(A, udp())), step("downlink", over(A, tcp("S")))
    discover = step("downlink", dhcp.asked(NEWCOMER))
    piece = step("downlink", frames.fragments_of_the_overlay()[0])
    made = [
        one + follows(MANY, 0, n, at) + then
        for one in (tiny, tiny + other, flow, syn, step("downlink", over(C, udp(C.address))))
        for n, at in ((12, SPORT), (12, DPORT), (200, SPORT), (200, DPORT), (90, DST_LOW))
        for then in (
            SWEPT,
            tiny,
            follows(RESTART) + follows(AGAIN, 0),
            follows(MANY, 128, 8, DPORT),
        )
    ]
    changes = other, follows(POLICY, NAT_AT, TINY_ROW, PORT_LAST, 8), follows(RESTART) + tiny
    made += [tiny + follows(MANY, 0, 6, SPORT) + one + one for one in changes]
    into = step("uplink", wire.plain(udp(NET, WHOLE.secondary)))
    full = into + follows(MANY, 0, 255, SPORT) * 5
    made += [
        full,
        full + follows(RESTART) + into,
        full + follows(MANY, 0, 9, SPORT, op=MEND | EXPLAIN),
    ]
    made += [one + follows(MANY, 0, 255, ID) + follows(TIME, 40, 2, 1) for one in (piece, flow)]
    made += [discover + follows(MANY, 0, 20, 30) + follows(TIME, 2, 2, 0) + discover]
    refused = step("downlink", over(A, udp(dst="198.51.100.67")))
    return [
        *made,
        refused + follows(MANY, 0, 150, SPORT),
        refused + follows(MANY, 0, 255, DPORT) * 6,
    ]


def crowds() -> list[bytes]:
    """More in one burst than there is room for; ports shared, then decided again; odd options."""
    shared = b"".join(
        step("downlink", over(TINY, udp(TINY.address, dst, sport=n)))
        for dst, sports in ((NET, range(9)), (OTHER_NET, range(20, 25)))
        for n in sports
    )
    logged = follows(POLICY, NAT_AT, TINY_ROW, LOG, 1)
    made = [shared + logged + follows(AGAIN, n) * 2 for n in range(4)]
    own = b"".join(
        step("downlink", over(TINY, udp(TINY.address, OTHER_NET, sport=n))) for n in range(8)
    )
    made += [shared + own, shared + own + follows(RESTART) + own]
    turned = step("downlink", over(A, udp(dst=SERVER.elastic, dport=7000)), hold=True)
    long = step("downlink", over(A, udp(data=bytes(8000))), hold=True)
    made += [turned + follows(MANY, 0, 60, SPORT), long + follows(MANY, 0, 60, ID)]
    for pieces in (
        cut(bytes(udp(dst=B.address, data=bytes(900))), 316),
        cut(bytes(udp(data=bytes(3000))), 1208),
    ):
        df = [bytes([*one[:6], one[6] | 0x40, *one[7:]]) for one in pieces]
        made.append(
            b"".join(step("downlink", over(A, one, inner={"type": 0x0800}), MEND) for one in df)
        )
    odd = (
        [("WScale", 2), ("MSS", 8900)],
        [("NOP", None), ("MSS", 600)],
        [("Timestamp", (1, 0))],
        [(77, b"x")],
    )
    made += [step("downlink", over(A, tcp("S", options=one))) for one in odd]
    closing = [follows(ANSWER, 0, flags) for flags in (0x11, 0x14, 0x04, 0x10)]
    syn = step("downlink", over(A, tcp("S", dport=80))) + ESTABLISHED
    made += [
        syn + a + b + follows(TIME, 5, 3, 1) + follows(AGAIN, 0) for a in closing for b in closing
    ]
    return made


def of_workers() -> list[bytes]:
    """Pieces that reach another worker than theirs; both directions of a session at two of them."""
    pairs = [(a, b) for a in LANES for b in LANES]
    whole = [step("downlink", over(A, udp(dst=B.address, data=bytes(n)))) for n in (900, 2400)]
    made = [
        one + follows(PIECES | lane, 128, size, order)
        for one in whole
        for lane in LANES
        for size in (8, 60)
        for order in range(32)
    ]
    pieces = [*frames.fragments_of_the_overlay()]
    marked = [bytes([*piece[:15], 3, *piece[16:]]) for piece in pieces]
    for a, b in pairs:
        for some in (pieces[:3], pieces[3:], [pieces[0], *marked[1:3]], marked[3:]):
            lanes = (a, b, a)
            made.append(
                b"".join(
                    step("downlink", f, MEND, lane=at) for f, at in zip(some, lanes, strict=False)
                )
            )
        flow = step("downlink", over(A, udp()), lane=a) + follows(ANSWER | b, 0, 0xFF)
        made += [
            flow + follows(AGAIN | b, 1) + follows(PIECES | b, 0, 1, order) for order in (0, 1)
        ]
    return made


def seeds() -> list[bytes]:
    return odd_lives() + met() + filters() + floods() + crowds() + of_workers()
