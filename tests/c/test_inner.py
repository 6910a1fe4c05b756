"""inner.c: what is odd but legal passes."""

from scapy.layers.inet import IP, UDP

from tests.c.packets import udp
from tests.c.places import A
from tests.c.world import over
from tests.oracle.checksum import ones_sum


def test_bytes_behind_a_datagram_are_carried(world):
    """RFC 768: the UDP length may be less than what the packet has left."""
    packet = IP(bytes(udp(data=b"seen")))
    whole = bytes(packet) + b"behind"
    packet = IP(whole)
    packet.len = len(whole)
    del packet.chksum
    [sent] = world.dp.inject(
        "downlink", [over(A, bytes(packet), inner={"type": 0x800})], world.now_ns
    )
    assert sent.role == "uplink"
    assert sent.frame.endswith(b"seenbehind")
    assert ones_sum(sent.frame[14:34]) == 0xFFFF
    datagram = IP(sent.frame[14:-6])  # without what is behind
    datagram.len -= 6
    was = datagram[UDP].chksum
    del datagram[UDP].chksum
    assert IP(bytes(datagram))[UDP].chksum == was


def test_port_67_of_somebody_else_is_no_dhcp(world):
    assert len(world.down(A, udp(dport=67))) == 1


def test_a_port_in_another_segment_is_checked_again(world):
    """What it sends over its old segment is not its any more; its sessions go on over the new."""
    assert len(world.down(A, udp(), vni=A.vni)) == 1
    world.dp.put("ports", [A._replace(vni=9100).record])
    world.dp.sweep(world.now_ns)
    assert world.down(A, udp(), vni=A.vni) == []
    assert world.drops() == {"SOURCE_SPOOFED": 1}
    assert len(world.down(A, udp())) == 1  # over the transit
    assert world.dp.totals()["sessions"] == 1
