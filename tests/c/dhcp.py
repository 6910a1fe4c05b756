"""A world whose segment `web` has DHCP, what its clients say, and the relay's end of the path."""

from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from pcg.datapath.lib import Datapath
from pcg.datapath.parcels import Answer, Punt, joined, split
from pcg.reconcile import records as r
from tests.c.places import GATEWAY, NEWCOMER, VMS, WEB, Vm, ip, mac
from tests.c.world import SEGMENTS, World, over

DHCP_FLAG = 2  # enum pcgdp_segment_flags
EVERYBODY, ALL_MACS = "255.255.255.255", "ff:ff:ff:ff:ff:ff"
GATEWAY_OF_WEB, GATEWAY_MAC = GATEWAY[WEB]


def client(vm: Vm) -> r.Clients:
    return r.Clients(vm.vni, mac(vm.mac), ip(vm.tep))


def served_segments() -> list[r.Segments]:
    """Those of the world; `web` has a scope."""
    return [s._replace(flags=s.flags | DHCP_FLAG) if s.vni == WEB else s for s in SEGMENTS]


def serve(world: World, *vms: Vm) -> World:
    """`web` gets a scope, and its ports and `vms` are clients. Nobody reads yet."""
    world.policy.segments = served_segments()
    known = [vm for vm in VMS if vm.vni == WEB]
    world.dp.put("clients", [client(vm) for vm in (*known, NEWCOMER, *vms)])
    world.commit()
    return world


def bootp(vm: Vm, **given) -> BOOTP:
    chaddr = given.pop("chaddr", mac(vm.mac))
    return BOOTP(**{"op": 1, "xid": 7, "chaddr": chaddr, **given})


def ask(vm: Vm = NEWCOMER, what: str = "discover", src="0.0.0.0", dst=EVERYBODY, **given):
    """What follows the inner Ethernet header; ports, ip, udp: fields of theirs, others BOOTP's."""
    sport, dport = given.pop("ports", (68, 67))
    headers = IP(src=src, dst=dst, **given.pop("ip", {}))
    headers /= UDP(sport=sport, dport=dport, **given.pop("udp", {}))
    return headers / bootp(vm, **given) / DHCP(options=[("message-type", what), "end"])


def asked(vm: Vm = NEWCOMER, packet=None, **given) -> bytes:
    """Its tunnel frame, over its segment's own VNI, to all."""
    packet = ask(vm) if packet is None else packet
    return over(vm, packet, **{"vni": vm.vni, "inner_dst": ALL_MACS, **given})


def answer(vm: Vm = NEWCOMER, dst="192.168.99.200", eth_dst: str | None = None, xid=7) -> Answer:
    """A reply as the relay makes it."""
    frame = Ether(src=GATEWAY[vm.vni][1], dst=eth_dst or vm.mac)
    frame /= IP(src=GATEWAY[vm.vni][0], dst=dst) / UDP(sport=67, dport=68)
    frame /= BOOTP(op=2, xid=xid, yiaddr=dst, chaddr=mac(vm.mac))
    frame /= DHCP(options=[("message-type", "offer"), "end"])
    return Answer(vm.vni, mac(vm.mac), bytes(frame))


class Relay:
    """Reads what is punted, at the path's border."""

    def __init__(self, dp: Datapath, room: int = 1 << 16) -> None:
        self.dp, self.room = dp, bytearray(room)
        assert self.read() == []

    def read(self, gone: bool = True) -> list[Punt]:
        n = self.dp.punts_raw(self.room, gone)
        return split(bytes(self.room[:n]))

    def send(self, *answers: Answer) -> None:
        parcels = joined(answers)
        assert self.dp.send_raw(parcels) == len(parcels)
