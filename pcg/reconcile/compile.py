"""Desired state -> the records that the datapath should hold. Pure.

Of the kernel only the next hops' MACs are needed (`Hops`), of the datapath only the numbers that
names already have (`Numbers`). Takes valid state: what `validate` lets pass compiles.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from pcg.model import sizes
from pcg.model.desired import Desired, Route
from pcg.reconcile import records as r
from pcg.reconcile.addresses import address, mac, prefix
from pcg.reconcile.compile_firewall import FW_ACTIONS, firewall
from pcg.reconcile.compile_rules import Publics, nat_records
from pcg.reconcile.numbers import Numbers
from pcg.reconcile.ports import Home

OUR_OPTION = "0x0104/0x80"
SNAT_PORTS = (1024, 65535)  # RFC 4787 REQ-3a: sources stay out of the well-known range
SEGMENT, TRANSIT = 0, 1
ROUTED, DHCP = 1, 2
VIA_UPLINK, VIA_SEGMENT, VIA_BLACKHOLE = 0, 1, 2


class Hop(NamedTuple):
    """How the kernel reaches an underlay address."""

    mac: bytes  # 6 bytes, of the next hop; zeros while it is not known
    mtu: int  # bytes of IP, of the interface or a learned path MTU
    silent: bool = False  # the kernel asked for it, and nobody answered


class Hops(NamedTuple):
    """By address (4 bytes); what is missing is being asked for."""

    teps: Mapping[bytes, Hop] = {}
    nexthops: Mapping[bytes, Hop] = {}


Policy = dict[str, list]  # table of records.POLICY -> its records, in canonical order


def compile_policy(desired: Desired, numbers: Numbers) -> Policy:
    """All policy tables. Rules keep the order in which they decide, the rest is sorted."""
    publics = Publics.of(desired, numbers)
    return {
        "local": local(desired),
        "vrfs": vrfs(desired, numbers),
        "segments": segments(desired, numbers),
        "publics": sorted(publics.records),
        "routes": routes(desired, numbers),
        "nat": nat_records(desired, numbers, publics),
        **firewall(desired, numbers, publics)._asdict(),
    }


def local(desired: Desired) -> list[r.Local]:
    gateway = desired.gateway
    return [
        r.Local(
            tep_be=address(gateway.tep),
            udp_checksum=int(gateway.udp_checksum),
            uplink_mtu=gateway.interfaces.uplink.mtu,
            downlink_mtu=gateway.interfaces.downlink.mtu,
            port_first=SNAT_PORTS[0],
            port_last=SNAT_PORTS[1],
            label=0,  # names a workload as the source; a gateway is none
            sessions_each=gateway.quota.sessions or 0,
            ports_each=gateway.quota.ports or 0,
            mss_clamp=int(gateway.mss_clamp),
            made_all=gateway.errors.per_second,
            made_each=gateway.errors.per_source,
            dhcp_all=gateway.dhcp_requests.per_second,
            dhcp_each=gateway.dhcp_requests.per_port,
        )
    ]


def vrfs(desired: Desired, numbers: Numbers) -> list[r.Vrfs]:
    wall = desired.firewall
    actions = FW_ACTIONS[wall.default_in], FW_ACTIONS[wall.default_out]
    logs = int(wall.default_in_log), int(wall.default_out_log)
    return sorted(r.Vrfs(numbers.vrfs[v.id], *actions, v.id, *logs) for v in desired.vrfs)


def segments(desired: Desired, numbers: Numbers) -> list[r.Segments]:
    transit_mtu = sizes.overlay_mtu(desired.gateway.interfaces.downlink.mtu)
    made = []
    for s in desired.segments:
        subnet_be, length = prefix(s.subnet)
        made.append(
            r.Segments(
                vni=s.vni,
                vrf=numbers.vrfs[s.vrf],
                kind=SEGMENT,
                subnet_be=subnet_be,
                gateway_be=address(s.gateway),
                mtu=s.mtu,
                prefix_len=length,
                flags=(ROUTED if s.routed else 0) | (DHCP if s.dhcp else 0),
                gateway_mac=mac(s.gateway_mac),
                name=s.id,
            )
        )
    for v in desired.vrfs:
        if v.transit:
            made.append(
                r.Segments(
                    vni=v.transit.vni,
                    vrf=numbers.vrfs[v.id],
                    kind=TRANSIT,
                    subnet_be=bytes(4),
                    gateway_be=bytes(4),
                    mtu=transit_mtu,
                    prefix_len=0,
                    flags=0,
                    gateway_mac=mac(v.transit.gateway_mac),
                    name=v.id,
                )
            )
    return sorted(made)


def homes(desired: Desired, numbers: Numbers) -> dict[str, Home]:
    """Where the ports of each segment live."""
    return {s.id: Home(numbers.vrfs[s.vrf], s.vni, bool(s.dhcp)) for s in desired.segments}


def routes(desired: Desired, numbers: Numbers) -> list[r.Routes]:
    """Static ones and the connected ones; of the same prefix the connected one stands."""
    vnis = {s.id: s.vni for s in desired.segments}
    made = {}
    for route in desired.routes:
        vrf, (prefix_be, length) = numbers.vrfs[route.vrf], prefix(route.prefix)
        made[vrf, prefix_be, length] = r.Routes(vrf, prefix_be, length, *_via(route, vnis))
    for s in desired.segments:
        vrf, (prefix_be, length) = numbers.vrfs[s.vrf], prefix(s.subnet)
        connected = r.Routes(vrf, prefix_be, length, VIA_SEGMENT, bytes(4), s.vni)
        made[vrf, prefix_be, length] = connected
    return sorted(made.values())


def _via(route: Route, vnis: Mapping[str, int]) -> tuple[int, bytes, int]:
    """(kind, next_hop_be, vni)."""
    if route.blackhole:
        return VIA_BLACKHOLE, bytes(4), 0
    if route.segment is not None:
        return VIA_SEGMENT, bytes(4), vnis[route.segment]
    return VIA_UPLINK, address(route.next_hop), 0


def teps(desired: Desired, hops: Hops) -> dict[bytes, r.Teps]:
    made, mtu = {}, desired.gateway.interfaces.downlink.mtu
    for tep in desired.teps:
        be = address(tep.address)
        hop = hops.teps.get(be, Hop(bytes(6), mtu))
        option = int(OUR_OPTION in tep.options)
        made[be] = r.Teps(be, hop.mac, int(any(hop.mac)), option, hop.mtu, int(hop.silent))
    return made


def uplink_next_hops(routes: Iterable[Route]) -> set[bytes]:
    return {address(route.next_hop) for route in routes if route.next_hop}


def nexthops(desired: Desired, hops: Hops) -> dict[bytes, r.Nexthops]:
    made = {}
    for be in uplink_next_hops(desired.routes):
        hop = hops.nexthops.get(be, Hop(bytes(6), 0))
        made[be] = r.Nexthops(be, hop.mac, int(any(hop.mac)), int(hop.silent))
    return made
