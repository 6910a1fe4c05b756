"""A workload dials an Elastic IP of ours: turned round inside, as the Internet gateway would."""

import pytest
from scapy.layers.inet import IP, UDP

from tests.c.packets import answer, flow, ping, tcp, udp
from tests.c.places import POOL_A, POOL_B, RED, SERVER, TWIN, WHOLE, A, B, C, R, Vm

ELASTIC = {POOL_A.elastic, POOL_B.elastic}


def one(sent):
    (seen,) = sent
    return seen


def call(w, vm: Vm, packet, callee: Vm):
    """There and back again: what the callee and the caller saw."""
    there = one(w.down(vm, packet))
    assert (there.tep, there.vni, there.eth.dst) == (callee.tep, callee.vni, callee.mac)
    back = one(w.down(callee, answer(there)))
    assert (back.tep, back.vni, back.eth.dst) == (vm.tep, vm.vni, vm.mac)
    return there, back


def test_tcp_through_a_translated_port(world):
    there, back = call(world, A, tcp("S", dst=SERVER.elastic, dport=80), B)
    assert there.ip.src in ELASTIC  # RFC 4787 REQ-9: the callee sees an external address
    assert flow(there)[1::2] == (B.address, 8080)
    assert flow(back) == (SERVER.elastic, A.address, 80, 1000)
    again = one(world.down(A, tcp("A", dst=SERVER.elastic, dport=80)))
    assert flow(again) == flow(there)
    assert world.drops() == {}


def test_udp_and_ping(world):
    there, back = call(world, A, udp(dst=SERVER.elastic, dport=7003), B)
    assert flow(there)[3] == 9003
    assert flow(back) == (SERVER.elastic, A.address, 7003, 1000)
    there, back = call(world, A, ping(dst=WHOLE.elastic, id_=77), C)
    assert flow(back) == (WHOLE.elastic, A.address, 77, 77)


def test_both_sessions_are_there(world):
    call(world, A, tcp("S", dst=SERVER.elastic, dport=80), B)
    assert world.dp.totals()["sessions"] == 2
    assert {s["fwd_from_uplink"] for s in world.dp.sessions()} == {0, 1}


def test_to_oneself(world):
    """B dials the very Elastic IP behind which it is (RFC 4787 REQ-9)."""
    there, back = call(world, B, tcp("S", B.address, SERVER.elastic, dport=80), B)
    assert there.ip.src in ELASTIC
    assert flow(back) == (SERVER.elastic, B.address, 80, 1000)


def test_between_reflexive_and_pool(world):
    there, back = call(world, R, udp(R.address, SERVER.elastic, dport=7000), B)
    assert flow(there) == (TWIN.elastic, B.address, 1000, 9000)
    assert flow(back) == (SERVER.elastic, R.address, 7000, 1000)
    there, back = call(world, A, udp(dst=TWIN.elastic, sport=2), R)
    assert flow(there)[1::2] == (R.address, 53)


def test_into_another_vrf(world):
    """RED has A's address; they speak by their Elastic IPs."""
    there = one(world.down(RED, udp(RED.address, "198.51.100.1")))
    assert there.role == "uplink"
    world.policy.routes["red-all"] = world.policy.routes["default"]._replace(vrf=1)
    world.commit()
    there, back = call(world, RED, udp(RED.address, SERVER.elastic, dport=7000), B)
    assert flow(there)[0] == "203.0.113.20"
    assert flow(back) == (SERVER.elastic, RED.address, 7000, 1000)


def test_no_door_behind_the_address(world):
    assert not world.down(A, udp(dst=SERVER.elastic, dport=9))
    assert world.drops() == {"NO_DNAT": 1}


@pytest.mark.parametrize(
    "packet, reason",
    [
        (udp(dst=SERVER.elastic, dport=7000, ttl=2), "TTL_EXPIRED"),
        (udp(dst=SERVER.elastic, dport=7000, flags="DF", data=bytes(8930)), "TOO_BIG"),
    ],
)
def test_what_ends_half_way_is_counted_once(world, packet, reason):
    """The second half makes an ICMP error, and counts what became of it, too."""
    world.down(A, packet)
    drops = world.drops()
    assert drops.pop(reason) == 1
    assert sum(drops.values()) == world.dp.totals()["made"] == 1


@pytest.mark.parametrize("dst", [WHOLE.secondary, C.address], ids=["half way", "at the end"])
def test_udp_checksum_that_comes_out_zero_is_sent_as_ones(world, dst):
    """RFC 768: zero would say that there is none. The payload that makes it so is worked out."""
    sent = one(world.down(A, udp(dst=WHOLE.elastic, data=b"\0\0")))
    header = IP(src=sent.ip.src, dst=dst) / UDP(sport=sent.ip.sport, dport=53) / b"\0\0"
    data = bytes(header)[26:28]  # its checksum: as payload, it makes the new checksum zero
    sent = one(world.down(A, udp(dst=WHOLE.elastic, data=data)))
    assert sent.ip[UDP].chksum != 0
    assert bytes(sent.ip[UDP].payload) == data


def test_not_a_word_leaves_by_the_uplink(world):
    before = world.dp.nics()
    call(world, A, tcp("S", dst=SERVER.elastic, dport=80), B)
    uplink = {nic["name"]: nic["tx_packets"] for nic in world.dp.nics()}
    assert uplink["up0"] == {nic["name"]: nic["tx_packets"] for nic in before}["up0"]
