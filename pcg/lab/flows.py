"""OpenFlow of a workload host, from the desired state: pure, text out.

A host with distributed routing decides everything itself, in tables of `nsx-managed`:

    0 where from -> DHCP: to the gateway's TEP alone, on the segment's VNI
                 -> 5 spoof guard -> 6 ARP answered here
                                  -> 20 to the router? -> 21 route, TTL - 1 -> 22 next MAC
                                                       -> 25 which TEP -> out
    0 from a tunnel -> 30 to the workload

A bare host has no such tables: what its workload sends goes into the tunnel to the gateway.

An address that a workload was leased is told by `leased`, as a controller tells its agents.
"""

from collections.abc import Mapping

from msgspec.structs import replace

from pcg.lab.layout import Site, transit_of
from pcg.model.desired import Desired, Port, Segment

WORKLOAD = 4  # ofport of nsx-eth0-peer
OPTION = "tun_metadata0"  # class 0x0104, type 0x80, 4 bytes
TLV_MAP = "{class=0x104,type=0x80,len=4}->tun_metadata0"


def tunnel_name(tep: str) -> str:
    """geneve<the address as a decimal number>, the naming of NSX Cloud's agent."""
    return f"geneve{int.from_bytes(bytes(map(int, tep.split('.'))))}"


def tunnel_port(tep: str) -> int:
    """Ofport of the tunnel towards a TEP: 1000 and its last two bytes, unique in the underlay."""
    third, fourth = map(int, tep.split(".")[2:])
    return 1000 + third * 256 + fourth


def leased(desired: Desired, leases: Mapping[tuple[str, str], str]) -> Desired:
    """With what ports without addresses were leased: (segment, MAC) -> address."""
    ports = tuple(
        replace(p, addresses=(leases[p.segment, p.mac],))
        if not p.addresses and (p.segment, p.mac) in leases
        else p
        for p in desired.ports
    )
    return replace(desired, ports=ports)


def flows(desired: Desired, site: Site) -> list[str]:
    """The whole table of one host; the port that lives there is the one whose TEP it is."""
    here = [p for p in desired.ports if p.tep == site.tep]
    if not here:
        return ["table=0,priority=0,actions=drop"]
    port = here[0]
    segment = next(s for s in desired.segments if s.id == port.segment)
    if site.bare:
        return _bare(desired, site, segment)
    return (
        _entry(desired, site, port, segment)
        + _dhcp(desired, site, port, segment)
        + _arp(desired, port, segment)
        + _routing(desired, port, segment)
        + _north(desired, site, port, segment)
        + _tunnels(desired, site, port)
    )


def _bare(desired: Desired, site: Site, segment: Segment) -> list[str]:
    tag = f"set_field:{segment.vni}->tun_id,set_field:{site.number}->{OPTION}"
    return [
        "table=0,priority=0,actions=drop",
        f"table=0,priority=10,in_port={WORKLOAD},actions={tag},output:{tunnel_port(desired.gateway.tep)}",
        f"table=0,priority=5,tun_id={segment.vni},{OPTION},actions=output:{WORKLOAD}",
    ]


def _entry(desired: Desired, site: Site, port: Port, segment: Segment) -> list[str]:
    """Tables 0 and 5: from the workload only what is its own, from tunnels only its segment."""
    peers = [t.address for t in desired.teps if t.address != site.tep] + [desired.gateway.tep]
    out = [
        "table=0,priority=0,actions=drop",
        f"table=0,priority=10,in_port={WORKLOAD},actions=set_field:{segment.vni}->reg0,goto_table:5",
        "table=5,priority=0,actions=drop",
    ]
    out += [
        f"table=0,priority=10,in_port={tunnel_port(tep)},tun_id={segment.vni},{OPTION},actions=goto_table:30"
        for tep in peers
    ]
    for address in port.addresses:
        mine = f"dl_src={port.mac}"
        out += [
            f"table=5,priority=20,arp,arp_spa={address},arp_sha={port.mac},{mine},actions=goto_table:6",
            f"table=5,priority=20,ip,nw_src={address},{mine},actions=goto_table:20",
        ]
    return [*out, f"table=30,priority=10,dl_dst={port.mac},actions=output:{WORKLOAD}"]


def _dhcp(desired: Desired, site: Site, port: Port, segment: Segment) -> list[str]:
    """Broadcast goes to the gateway, not to every TEP; nobody but the gateway is a server."""
    server = tunnel_port(desired.gateway.tep)
    out = [f"table=5,priority=30,udp,in_port={WORKLOAD},tp_src=67,actions=drop"]
    if segment.dhcp is None:
        return out
    asks = f"in_port={WORKLOAD},dl_src={port.mac},udp,tp_src=68,tp_dst=67"
    tag = f"set_field:{segment.vni}->tun_id,set_field:{site.number}->{OPTION}"
    out += [
        f"table=0,priority=20,{asks},nw_dst={to},actions={tag},output:{server}"
        for to in ("255.255.255.255", segment.gateway)
    ]
    answer = f"tun_id={segment.vni},{OPTION},udp,tp_src=67,tp_dst=68"
    everybody = "ff:ff:ff:ff:ff:ff"
    return [
        *out,
        f"table=0,priority=20,in_port={server},{answer},dl_dst={everybody},actions=output:{WORKLOAD}",
    ]


def _arp(desired: Desired, port: Port, segment: Segment) -> list[str]:
    """Table 6: the router and every known neighbour are answered for; nothing is flooded."""
    known = {segment.gateway: segment.gateway_mac}
    for other in _ports_of(desired, segment):
        if other.id != port.id:
            known |= dict.fromkeys(other.addresses, other.mac)
    return [
        f"table=6,priority=20,arp,arp_op=1,arp_tpa={address},actions={arp_answer(mac, address)}"
        for address, mac in known.items()
    ] + ["table=6,priority=0,actions=drop"]


def arp_answer(mac: str, address: str) -> str:
    return (
        f"move:eth_src->eth_dst,set_field:{mac}->eth_src,set_field:2->arp_op,"
        f"move:arp_sha->arp_tha,move:arp_spa->arp_tpa,set_field:{mac}->arp_sha,"
        f"set_field:{address}->arp_spa,in_port"
    )


def _routing(desired: Desired, port: Port, segment: Segment) -> list[str]:
    """Tables 20 to 22: to the router's MAC is routed here, into the segment of the destination."""
    out = [
        f"table=20,priority=20,ip,dl_dst={segment.gateway_mac},actions=goto_table:21",
        "table=20,priority=10,actions=goto_table:25",
        f"table=21,priority=200,icmp,icmp_type=8,nw_dst={segment.gateway},actions={_echo(segment)}",
    ]
    for other in _segments_of(desired, segment.vrf):
        length = int(other.subnet.split("/")[1])
        out.append(
            f"table=21,priority={100 + length},ip,nw_dst={other.subnet},actions=dec_ttl,"
            f"set_field:{other.vni}->reg0,set_field:{other.gateway_mac}->eth_src,goto_table:22"
        )
        out += [
            f"table=22,priority=10,ip,reg0={other.vni},nw_dst={address},"
            f"actions=set_field:{p.mac}->eth_dst,goto_table:25"
            for p in _ports_of(desired, other)
            for address in p.addresses
        ]
    return out


def _echo(segment: Segment) -> str:
    """The router answers ping of its own address, at the source."""
    return (
        f"move:eth_src->eth_dst,set_field:{segment.gateway_mac}->eth_src,move:ip_src->ip_dst,"
        f"set_field:{segment.gateway}->ip_src,set_field:0->icmp_type,set_field:255->nw_ttl,in_port"
    )


def _north(desired: Desired, site: Site, port: Port, segment: Segment) -> list[str]:
    """Table 21's default: over the VRF's transit to the gateway."""
    transit = transit_of(desired, segment.vrf)
    return [
        f"table=21,priority=1,ip,actions=dec_ttl,set_field:{segment.gateway_mac}->eth_src,"
        f"set_field:{transit.gateway_mac}->eth_dst,set_field:{transit.vni}->tun_id,"
        f"set_field:{site.number}->{OPTION},output:{tunnel_port(desired.gateway.tep)}"
    ]


def _tunnels(desired: Desired, site: Site, port: Port) -> list[str]:
    """Table 25: (segment, MAC) -> TEP, as the controller's table says."""
    vrf = next(s.vrf for s in desired.segments if s.id == port.segment)
    return [
        f"table=25,priority=10,reg0={s.vni},dl_dst={p.mac},actions=move:reg0[]->tun_id[0..31],"
        f"set_field:{site.number}->{OPTION},output:{tunnel_port(p.tep)}"
        for s in _segments_of(desired, vrf)
        for p in _ports_of(desired, s)
        if p.tep != site.tep
    ]


def _segments_of(desired: Desired, vrf: str) -> list[Segment]:
    return [s for s in desired.segments if s.vrf == vrf]


def _ports_of(desired: Desired, segment: Segment) -> list[Port]:
    return [p for p in desired.ports if p.segment == segment.id]
