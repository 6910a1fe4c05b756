"""recent.c: which flows were dropped lately, how often and by what; bounded, and fair in a flood.

That it never holds more than was dropped is asserted after every test of this folder.
"""

import struct
import threading
from socket import inet_aton

from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import ARP

from pcg.datapath.ledger import FLOW
from pcg.datapath.lib import Datapath
from tests.c.packets import ping, tcp, udp
from tests.c.places import (
    GATEWAY,
    LONE,
    NET,
    RED,
    RED_WEB,
    SERVER,
    TRANSIT,
    UP_MAC,
    WEB,
    A,
    B,
)
from tests.c.world import TEPS, World, over

DENIED, DENIED_IN = "198.51.100.66", "198.51.100.68"
PLACES, NEW = 4096, 64  # of a worker; new flows of a kind in 100 ms


def denied(src=A.address, sport=1000, dport=53):
    return udp(src, dst=DENIED, sport=sport, dport=dport)


def told(row: dict, *keys: str) -> tuple:
    return tuple(row[key] for key in keys)


def test_a_flow_is_counted_with_its_rule_and_times(world):
    for number, now_s in enumerate((1.0, 2.5, 9.0)):
        world.now_s = now_s
        world.down(A, denied(sport=40_000 + number))
    (row,) = world.dp.recent()
    assert told(row, "reason", "role", "fw_id", "nat_id", "vni", "vrf") == (
        "FIREWALL_DENIED", "downlink", 1, 0, TRANSIT, 0,
    )  # fmt: skip
    ends = told(row, "outer_src", "src", "dst", "dport", "protocol")
    assert ends == (A.tep, A.address, DENIED, 53, "udp")
    assert (row["packets"], row["sport"]) == (3, 40_002)
    assert row["length"] == len(over(A, denied()))
    assert row["first_ns"] == world.zero_ns + 1_000_000_000
    assert row["last_ns"] == world.now_ns


def test_what_makes_a_flow(world):
    """Addresses, protocol, destination's port, VRF, VNI, reason, rule and side."""
    world.down(A, denied())
    world.down(A, denied(dport=54))
    world.down(B, denied(B.address))
    world.down(A, tcp("S", dst=DENIED, dport=53))
    world.down(A, denied(), vni=WEB)
    world.down(A, udp(dst="198.51.100.67"))  # by another rule
    world.down(RED, udp(dst="192.0.2.1", src=RED.address), vni=RED_WEB)  # by another reason
    world.up(IP(src=DENIED_IN, dst=SERVER.secondary) / UDP(sport=1, dport=7000))
    rows = world.dp.recent()
    assert len(rows) == 8
    assert {row["packets"] for row in rows} == {1}
    assert len({told(row, *FLOW) for row in rows}) == 8


def test_the_latest_is_first(world):
    for dport in (1, 2, 3):
        world.now_s += 1
        world.down(A, denied(dport=dport))
    assert [row["dport"] for row in world.dp.recent()] == [3, 2, 1]


def test_ping_is_a_flow_of_its_identifier(world):
    world.down(A, ping(dst=DENIED, id_=9))
    (row,) = world.dp.recent()
    assert told(row, "protocol", "src", "dst", "dport") == ("icmp", A.address, DENIED, 9)


# ---- what ended before its addresses were asked for ----


def test_who_is_behind_a_stranger_is_read(world):
    world.down(A._replace(tep="10.99.3.99"), udp())
    (row,) = world.dp.recent()
    assert told(row, "reason", "outer_src", "vni") == ("TEP_UNKNOWN", "10.99.3.99", TRANSIT)
    assert told(row, "src", "sport", "dst", "dport") == (A.address, 1000, NET, 53)
    assert row["vrf"] is None


def test_each_unknown_vni_is_told(world):
    for vni in (77_777, 88_888):
        world.down(A, udp(), vni=vni)
    seen = {told(row, "reason", "vni", "src", "dst") for row in world.dp.recent()}
    assert seen == {("VNI_UNKNOWN", vni, A.address, NET) for vni in (77_777, 88_888)}


def test_what_the_gateway_says_itself_is_a_flow_to_each(world):
    """It has no Ethernet header yet when nobody knows where to send it."""
    world.dp.put("teps", [tep._replace(mac=bytes(6), resolved=0) for tep in TEPS])
    for vm in (A, B, RED):
        packet = udp(vm.address)
        packet.ttl = 1
        assert not world.down(vm, packet)
    assert world.drops() == {"TTL_EXPIRED": 3, "NEIGHBOUR_UNRESOLVED": 3}
    rows = [row for row in world.dp.recent() if row["reason"] == "NEIGHBOUR_UNRESOLVED"]
    assert {told(row, "src", "dst", "protocol", "vrf") for row in rows} == {
        (GATEWAY[vm.vni][0], vm.address, "icmp", vm.vrf) for vm in (A, B, RED)
    }


def test_options_are_passed_over_to_the_ports(world):
    world.down(A, IP(src=A.address, dst=NET, options=[b"\x01\x01\x01\x00"]) / UDP(sport=5, dport=6))
    (row,) = world.dp.recent()
    assert told(row, "reason", "src", "dst", "sport", "dport") == (
        "IP_OPTIONS", A.address, NET, 5, 6,
    )  # fmt: skip


def test_a_fragment_has_no_ports(world):
    packet = IP(src=A.address, dst=NET, frag=100, flags="MF", proto=17) / bytes(64)
    world.down(A._replace(tep="10.99.3.99"), packet)
    (row,) = world.dp.recent()
    assert told(row, "src", "dst", "sport", "dport") == (A.address, NET, 0, 0)


def test_arp_is_who_asks_for_whom(world):
    ask = ARP(op=1, hwsrc=A.mac, psrc=A.address, pdst="192.168.99.250")
    world.inject("downlink", over(A, ask, vni=WEB))
    (row,) = world.dp.recent()
    assert told(row, "reason", "src", "dst", "dport", "protocol", "outer_src") == (
        "ARP_NOT_OURS", A.address, "192.168.99.250", 0, "any", A.tep,
    )  # fmt: skip


def test_what_is_neither_in_a_tunnel_is_its_hosts(world):
    """Not said to be a flow of the two tunnel endpoints."""
    before, _, behind = over(A, udp()).rpartition(b"\x08\x00E")
    world.inject("downlink", before + b"\x86\xddE" + behind)
    (row,) = world.dp.recent()
    assert told(row, "src", "dst", "outer_src") == ("0.0.0.0", "0.0.0.0", A.tep)


def test_not_for_us_by_the_uplink(world):
    world.up(udp(NET, "10.99.1.250", dport=7))
    (row,) = world.dp.recent()
    assert told(row, "reason", "role", "dst", "dport") == ("NOT_OWNED", "uplink", "10.99.1.250", 7)


def test_cut_anywhere_it_is_one_of_a_flow_and_never_read_past(world):
    whole = over(A._replace(tep="10.99.3.99"), udp())
    for cut in range(len(whole)):
        world.inject("downlink", whole[:cut])
        world.inject("uplink", whole[:cut])
    assert sum(row["packets"] for row in world.dp.recent()) == 2 * len(whole)


def test_a_header_that_says_less_than_it_has(world):
    eth = bytes.fromhex(UP_MAC.replace(":", "")) + bytes(6) + b"\x08\x00"
    for first in range(256):
        world.inject("uplink", eth + bytes([first]) + bytes(19))
    assert sum(row["packets"] for row in world.dp.recent()) == 256


# ---- bounded, and fair ----


def strangers(start: int, n: int) -> list[bytes]:
    """Plain UDP that no DNAT rule takes, each to another port. Made by hand: there are many."""
    ip = bytes(IP(src=NET, dst=SERVER.secondary, proto=17, len=28))
    whole = bytes.fromhex(UP_MAC.replace(":", "")) + bytes(6) + b"\x08\x00" + ip
    return [whole + struct.pack("!4H", 5, i, 8, 0) for i in range(start, start + n)]


def checked(frame: bytes) -> bytes:
    """With the checksum that its IP header has now."""
    total = sum(struct.unpack("!10H", frame[14:24] + bytes(2) + frame[26:34]))
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return frame[:24] + struct.pack("!H", total ^ 0xFFFF) + frame[26:]


def flood(world, n: int, start: int = 10_000) -> None:
    """n flows of one kind, as many at once as may enter."""
    for at in range(start, start + n, NEW):
        world.now_s += 0.1
        world.dp.inject("uplink", strangers(at, NEW), world.now_ns)


def of(world, reason: str) -> list[dict]:
    return [row for row in world.dp.recent() if row["reason"] == reason]


def test_so_many_new_flows_of_a_kind_enter_at_once(world):
    world.inject("uplink", *strangers(10_000, 300))
    (line,) = world.dp.ledger()
    assert len(world.dp.recent()) == NEW
    assert (line["packets"], line["unlisted"]) == (300, 300 - NEW)
    world.inject("uplink", *strangers(10_000, NEW))
    assert {row["packets"] for row in world.dp.recent()} == {2}  # those that are known count on
    world.inject("downlink", *(over(A, denied(dport=i)) for i in range(9)))
    assert len(world.dp.recent()) == NEW + 9  # another kind is not concerned
    world.now_s += 0.1
    world.inject("uplink", *strangers(999, 1))
    assert world.dp.recent()[0]["dport"] == 999


def test_memory_is_bounded(world):
    flood(world, 3 * PLACES)
    assert PLACES * 0.9 < len(world.dp.recent()) <= PLACES


def test_a_flood_takes_its_own_places_only(world):
    world.down(LONE, udp(LONE.address))
    before = of(world, "NO_NAT")
    flood(world, 3 * PLACES)
    assert of(world, "NO_NAT") == before
    assert len(before) == 1


def test_who_tries_again_outlives_those_who_do_not(world):
    for _ in range(2):
        world.now_s += 1
        world.inject("uplink", *strangers(999, 1))
    flood(world, 3 * PLACES)  # which takes less than a minute
    (again,) = [row for row in world.dp.recent() if row["dport"] == 999]
    assert again["packets"] == 2
    world.now_s += 120
    flood(world, 3 * PLACES, start=30_000)
    assert not [row for row in world.dp.recent() if row["dport"] == 999]


# ---- readers, restarts ----


def test_restart_empties_it(built, tmp_path):
    sizes = {"sessions": 1024, "workload_addresses": 1024, "arena": str(tmp_path / "arena")}
    with Datapath(**sizes) as dp:
        World(dp).down(A, denied())
        assert len(dp.recent()) == 1
    with Datapath(**sizes) as dp:
        assert dp.recent() == []


def test_explain_leaves_nothing(world):
    world.dp.explain("downlink", over(A, denied()))
    assert world.dp.recent() == []


def test_a_record_is_never_torn(world):
    """Read while others move in: each is one that was dropped."""
    end, read = threading.Event(), []

    def look() -> None:
        while not end.is_set():
            read.extend(world.dp.recent())

    reader = threading.Thread(target=look)
    reader.start()
    tuples = {}
    for at in range(1, 40_000, NEW):  # source and destination's port belong together
        tuples[at] = f"192.0.2.{at // NEW % 250 + 1}"
    while len(read) < 30_000:
        for at, src in tuples.items():
            frames = [f[:26] + inet_aton(src) + f[30:] for f in strangers(at, NEW)]
            world.now_s += 0.1
            world.dp.inject("uplink", [checked(f) for f in frames], world.now_ns)
    end.set()
    reader.join()
    assert read
    for row in read:
        at = (row["dport"] - 1) // NEW * NEW + 1
        assert (row["src"], row["reason"]) == (tuples[at], "NO_DNAT")
