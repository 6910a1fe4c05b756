"""The fast path against its slow twins (tests/oracle), on input that hypothesis makes up."""

import struct
from ipaddress import IPv4Address, IPv4Network
from itertools import pairwise

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, UDP
from scapy.utils import checksum as scapy_checksum

from pcg.datapath.lib import Datapath
from pcg.reconcile import records as r
from tests.c.conftest import assert_accounted
from tests.c.packets import answer, flow, ping, udp
from tests.c.places import (
    HOP,
    NET,
    OTHER_NET,
    POOL_A,
    POOL_B,
    SERVER,
    VMS,
    WHOLE,
    A,
    B,
    C,
    R,
    ip,
)
from tests.c.test_drops import rebuilt
from tests.c.world import NAT, SEGMENTS, Policy, World, over
from tests.oracle import checksum as slow
from tests.oracle import geneve
from tests.oracle.fragments import Reassembly, piece
from tests.oracle.routes import longest
from tests.oracle.sessions import Model, Tuple

# One world serves all examples of a test: they must not depend on each other's sessions.
SHARED = settings(
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
ports = st.integers(1, 65535)
payloads = st.binary(max_size=80)
addresses = st.integers(0, 0xFFFFFFFF).map(lambda n: str(IPv4Address(n)))


class TestChecksum:
    @given(st.binary(max_size=200))
    @SHARED
    def test_the_twin_agrees_with_scapy(self, data):
        assert slow.checksum(data) == scapy_checksum(data)

    @given(st.binary(min_size=20, max_size=20), st.binary(min_size=4, max_size=4))
    @SHARED
    def test_the_incremental_twin_agrees_with_the_whole(self, header, new):
        """RFC 1624 against RFC 1071, but for the two forms of zero."""
        header = bytes(10) + header[10:]
        changed = header[:12] + new + header[16:]
        by_difference = slow.update(slow.checksum(header), header[12:16], new)
        assert by_difference % 0xFFFF == slow.checksum(changed) % 0xFFFF

    @given(sport=ports, data=payloads, id_=st.integers(0, 65535), tos=st.integers(0, 255))
    @SHARED
    def test_translated_packets(self, world, sport, data, id_, tos):
        """World reads every frame and holds every checksum in it against the twin."""
        for packet in (udp(sport=sport, data=data, id=id_, tos=tos), ping(id_=sport)):
            (out,) = world.down(A, packet)
            (back,) = world.up(answer(out, data=data))
            assert bytes(back.ip.payload.payload) == data
            assert flow(back)[3] == sport

    @given(sport=ports, data=payloads, zero=st.booleans())
    @SHARED
    def test_outer_checksum_from_headers_alone(self, world, sport, data, zero):
        packet = udp(dst=B.address, sport=sport, data=data)
        if zero:
            packet[UDP].chksum = 0
        (out,) = world.down(A, packet)
        assert bytes(out.ip[UDP].payload) == data

    @given(sport=ports, data=payloads, quote=st.integers(28, 110), code=st.integers(0, 15))
    @SHARED
    def test_quoted_packets(self, world, sport, data, quote, code):
        world.now_s += 1
        (out,) = world.down(A, udp(sport=sport, data=data))
        quoted = bytes(out.ip)[:quote]
        error = IP(src=OTHER_NET, dst=out.ip.src) / ICMP(type=3, code=code) / quoted
        (seen,) = world.up(error)
        inner = bytes(seen.ip[ICMP].payload)
        assert len(inner) == len(quoted)
        assert inner[12:16] == ip(A.address)
        assert inner[20:22] == struct.pack("!H", sport)


prefixes = st.builds(
    lambda n, length: IPv4Network((n, length), strict=False),
    # close to each other, so that they nest
    st.integers(0, 0x3FF).map(lambda n: 0xC6336400 ^ n << 22 ^ n),
    st.integers(0, 32),
)


@given(st.dictionaries(prefixes, st.integers(0, 2), max_size=30), st.data())
@settings(SHARED, max_examples=60)
def test_longest_prefix(world, table, data):
    """Each prefix a blackhole, the uplink or LOST's segment: told apart by what happens."""
    kinds = {0: (0, HOP, 0), 1: (1, "0.0.0.0", SEGMENTS[0].vni), 2: (2, "0.0.0.0", 0)}
    world.policy.routes = {
        prefix: r.Routes(
            0, prefix.network_address.packed, prefix.prefixlen, kind, ip(hop), vni
        )
        for prefix, value in table.items()
        for kind, hop, vni in [kinds[value]]
    }  # fmt: skip
    world.commit()
    asked = [prefix[0] for prefix in table] + [prefix[-1] for prefix in table]
    asked += [data.draw(prefixes)[0] for _ in range(5)]
    owned = {vm.address for vm in VMS}
    for address in asked:
        if address.is_multicast or address.is_reserved or int(address) >> 24 in (0, 127):
            continue
        assert str(address) not in owned
        got, _ = world.dp.explain("downlink", over(A, udp(dst=str(address))))
        found = longest(table.items(), address)
        wanted = {None: "NO_ROUTE", 0: "", 1: "PORT_UNKNOWN", 2: "BLACKHOLE"}[found]
        assert (got[-1]["reason"] or "") == wanted, address


options = st.lists(
    st.builds(
        lambda cls, kind, reserved, words, data: (
            struct.pack("!HBB", cls, kind, reserved << 5 | words) + data[: 4 * words]
        ),
        st.sampled_from([0x0104, 0x0105, 0xFFF0]),
        st.sampled_from([0x00, 0x01, 0x80, 0x81]),
        st.integers(0, 7),
        st.sampled_from([0, 1, 1, 1, 2, 3, 31]),
        st.binary(min_size=124, max_size=124),
    ),
    max_size=4,
).map(b"".join)


@given(
    options=options,
    change=st.none() | st.tuples(st.integers(0, 7), st.integers(0, 255)),
    cut=st.integers(0, 40),
)
@SHARED
def test_geneve_header(world, options, change, cut):
    """Any options, one byte of the header changed, the end cut: the same verdict by the RFC."""
    assume(len(options) <= 252)
    frame = bytearray(over(A, udp(), options=options, words=len(options) // 4))
    if change:
        frame[42 + change[0]] = change[1]
    whole = rebuilt(bytes(frame[: len(frame) - cut]))
    told = geneve.read(whole[42:], {row.vni for row in SEGMENTS})
    events, _ = world.dp.explain("downlink", whole)
    decap = next(event for event in events if event["stage"] == "geneve_decap")
    assert (decap["reason"] or None) == told.reason
    if not told.reason:
        assert decap["vni"] == told.vni


# ---- sessions and NAT ----

INSIDE = (A.address, B.address, C.address, "192.168.99.250")  # the last is nobody's
PEERS = (NET, OTHER_NET, "198.51.100.11")
few_ports = st.integers(1, 4)


def pings(packet: Tuple) -> Tuple:
    return packet._replace(dport=packet.sport) if packet.protocol == 1 else packet


outwards = st.builds(
    Tuple,
    st.sampled_from(INSIDE),
    st.sampled_from((*PEERS, R.address, "192.168.100.200", "192.168.100.99")),
    few_ports,
    few_ports,
    st.sampled_from((17, 17, 1)),
).map(lambda packet: ("downlink", pings(packet)))
inwards = st.builds(
    Tuple,
    st.sampled_from(PEERS),
    st.sampled_from((SERVER.secondary, WHOLE.secondary, POOL_A.secondary, "10.99.1.2")),
    few_ports,
    st.sampled_from((1, 2, 3, 7000, 7001, 7009, 7010)),
    st.sampled_from((17, 17, 1)),
).map(lambda packet: ("uplink", pings(packet)))
again = st.tuples(st.just("again"), st.integers(0, 50))  # a packet back along some session
another = st.tuples(st.just("another"), st.integers(0, 50))  # from another peer to its outside
passes = st.tuples(st.just("time"), st.sampled_from((1.0, 40.0, 61.0, 200.0, 301.0)))


def model() -> Model:
    routes = [("0.0.0.0/0", "uplink"), ("192.168.100.200/32", "blackhole")]
    routes += [("192.168.99.0/24", "segment"), ("192.168.100.0/24", "segment")]
    doors = {
        (SERVER.secondary, 17, 7000, 7009): (B.address, 9000),
        (WHOLE.secondary, 0, 0, 65535): (C.address, None),
    }
    pool = {POOL_A.secondary, POOL_B.secondary}
    vms = {vm.address for vm in (A, B, C, R)}
    return Model(vms, routes, doors, pool, pool | {SERVER.secondary, WHOLE.secondary})


def frame_of(packet: Tuple) -> IP:
    if packet.protocol == 1:
        return ping(packet.src, packet.dst, id_=packet.sport)
    return udp(packet.src, packet.dst, packet.sport, packet.dport)


def sends(w: World, role: str, packet: Tuple) -> tuple[str | None, str, Tuple | None]:
    vm = next((vm for vm in VMS if vm.address == packet.src), A)
    made = frame_of(packet)
    sent = w.down(vm, made) if role == "downlink" else w.up(made)
    drops = w.drops()
    if drops:
        (reason,) = drops
        return reason, "", None
    return None, sent[0].role, Tuple(*flow(sent[0]), packet.protocol)


def next_packet(m: Model, step) -> tuple[str, Tuple] | None:
    """What a step of the random sequence asks for, given what lives now."""
    kind, which = step
    if kind not in ("again", "another"):
        return step
    if not m.sessions:
        return None
    session = m.sessions[which % len(m.sessions)]
    arrives = [way for way, _ in session.ways()][which % 2]
    if kind == "again" or arrives[0] == "downlink":
        return arrives
    return "uplink", arrives[1]._replace(src=PEERS[which % 3])


def follow(w: World, m: Model, step) -> None:
    """One step by both; then they hold as many sessions and mappings."""
    if step[0] == "time":
        w.sweep(after_s=step[1])
        m.sweep(w.now_s)
    elif asked := next_packet(m, step):
        expected = m.packet(*asked, w.now_s)
        reason, left_by, got = sends(w, *asked)
        assert (reason, left_by) == (expected.reason, expected.role), asked
        if expected.packet and not expected.packet.src:
            m.learn(expected, got)
        else:
            assert got == expected.packet, asked
    totals = w.dp.totals()
    assert (totals["sessions"], totals["mappings"]) == (len(m.sessions), len(m.mappings))
    assert totals["peers"] == m.further


@given(st.lists(outwards | inwards | again | another | passes, min_size=30, max_size=60))
@settings(SHARED, max_examples=120)
def test_sessions_and_translation(built, steps):
    """Every packet of a random sequence: dropped for the model's reason, or sent as it says."""
    with Datapath(sessions=1024, workload_addresses=1024, fresh=True) as dp:
        dp.nic_add("up0", "uplink")
        dp.nic_add("down0", "downlink")
        policy = Policy(nat={name: NAT[name] for name in ("range", "whole", "snat")})
        w, m = World(dp, policy), model()
        for step in steps:
            follow(w, m, step)
        assert_accounted(dp)


class TestFragments:
    """Datagrams in pieces that hypothesis cuts, mixes, repeats, changes and loses."""

    cuts = st.lists(st.integers(0, 12), max_size=4)
    change = st.sampled_from(["", "", "", "twice", "other bytes", "reach on", "lost", "the end"])
    datagram = st.tuples(st.integers(1, 100), cuts, st.lists(change, max_size=6), st.integers(0, 2))

    def pieces(self, size, cuts, changes, id_):
        packet = bytes(IP(src=A.address, dst=B.address, proto=47, id=id_) / bytes(range(size)))
        edges = sorted({0, size, *(8 * c for c in cuts if 8 * c < size)})
        for i, (start, end) in enumerate(pairwise(edges)):
            what, more = changes[i] if i < len(changes) else "", end < size
            data = packet[20 + start : 20 + end]
            if what == "reach on" and more:
                data += bytes(8)
            if what in ("twice", "other bytes"):
                yield piece(packet, start, data, more)
            if what == "other bytes":
                data = bytes(len(data) - 1) + b"!"
            if what != "lost":
                yield piece(packet, start, data, more and what != "the end")

    @given(st.lists(datagram, max_size=4), st.randoms(use_true_random=False))
    @SHARED
    def test_every_frame_ends_as_the_twin_says(self, dp, datagrams, random):
        world, twin = World(dp), Reassembly()
        world.sweep(after_s=100)  # nothing of another example
        world.drops()
        pieces = [p for given in datagrams for p in self.pieces(*given)]
        random.shuffle(pieces)
        for one in pieces:
            whole = not int.from_bytes(one[6:8]) & 0x3FFF
            want = one if whole else twin.put(one)
            sent = world.inject("downlink", over(A, one, inner={"type": 0x0800}))
            drops = world.drops()
            if isinstance(want, tuple):
                assert (sent, drops) == ([], dict([want]))
            else:
                got = [bytes(s.ip)[20:] for s in sent]
                assert (got, drops) == ([] if want == "held" else [want[20:]], {})
        assert dp.totals()["held"] == sum(d.held for d in twin.table.values())
        late = twin.expire(15)
        world.sweep(after_s=15)
        assert world.drops() == ({"FRAGMENT_TIMEOUT": late} if late else {})
