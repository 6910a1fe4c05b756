"""Point 11: workloads without an address are given theirs by DHCP, through the tunnel."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

from scapy.layers.inet import IP, UDP

from pcg.lab import ns
from pcg.lab.capture import Capture
from pcg.lab.checks.check import check, equal, expect
from pcg.lab.checks.ledger import at_rest, balanced
from pcg.lab.clients import curl, ping_once
from pcg.lab.dhcp_clients import DhcpClient
from pcg.lab.frames import Overlay, Tunnelled, send
from pcg.lab.lab import Lab
from pcg.lab.layout import ETHERNET_MTU, HTTP, INTERNET, OVERLAY_MTU
from pcg.lab.programs import until
from pcg.lab.services import parse_whoami
from pcg.model.addresses import Prefix, address_number
from pcg.model.desired import Port
from pcg.model.dhcp import DhcpScope

TWINS = ("web2", "t2-web2")  # of two VRFs, one pool
LARGEST = ("-M", "do", "-s", str(OVERLAY_MTU - 28))  # of ping: a packet of the MTU, never cut
SERVER, CLIENT = 67, 68


def leased(lab: Lab) -> dict[str, dict[str, str]]:
    """What each client was told, once all have a lease and the hosts have heard of it."""
    told = {port: client.wait_leased() for port, client in lab.clients.items()}
    known = {(port, lease["ip"]) for port, lease in told.items()}
    until("the leases at the gateway", lambda: known <= _listed(lab), 5.0)
    lab.learn_leases()
    return told


def _listed(lab: Lab) -> set[tuple[str, str]]:
    return {(row["port"], row["address"]) for row in lab.ask.show("leases")}


def _scope(lab: Lab, port_id: str) -> DhcpScope:
    wanted = lab.layout.segment(lab.layout.port(port_id).segment).dhcp
    return next(s for s in lab.desired.dhcp if s.id == wanted)


def _wanted(lab: Lab, port_id: str) -> dict[str, str]:
    """Options as the hook writes them down."""
    scope, segment = _scope(lab, port_id), lab.layout.segment(lab.layout.port(port_id).segment)
    routes = [f"{r.prefix} {r.next_hop}" for r in scope.routes]
    routes.append(f"0.0.0.0/0 {segment.gateway}")  # RFC 3442: clients ignore the router beside them
    return {
        "subnet": "255.255.255.0",
        "router": segment.gateway,
        "dns": " ".join(scope.dns),
        "domain": scope.domain,
        "mtu": str(OVERLAY_MTU),
        "lease": str(scope.lease_s),
        "serverid": segment.gateway,
        "staticroutes": " ".join(sorted(routes)),
    }


def _in_pool(lab: Lab, port_id: str, address: str) -> bool:
    spans = [(address_number(p.first), address_number(p.last)) for p in _scope(lab, port_id).pools]
    return any(address_number(address) in Prefix(*span) for span in spans)


def _by_twos(routes: str) -> str:
    words = routes.split()
    return " ".join(sorted(f"{a} {b}" for a, b in zip(words[::2], words[1::2], strict=True)))


def _interface(client: DhcpClient) -> tuple[int, list[str], list[str]]:
    """MTU, addresses, next hops of the default route, as the workload's kernel has them."""
    link = json.loads(ns.run("ip", "-j", "addr", "show", "nsx-eth0", ns=client.space))[0]
    routes = json.loads(ns.run("ip", "-j", "route", "show", "default", ns=client.space))
    addresses = [a["local"] for a in link["addr_info"]]
    return link["mtu"], addresses, [r["gateway"] for r in routes]


@check(11, "three workloads boot without an address: udhcpc, dhclient, dhcpcd")
def three_clients_lease(lab: Lab) -> str:
    told = leased(lab)
    for port, client in lab.clients.items():
        lease = told[port] | {"staticroutes": _by_twos(told[port]["staticroutes"])}
        wanted = _wanted(lab, port)
        equal(f"what {client.program} was told", {k: lease[k] for k in wanted}, wanted)
        expect(_in_pool(lab, port, lease["ip"]), f"{lease['ip']} is in no pool of its scope")
        has = (OVERLAY_MTU, [lease["ip"]], [wanted["router"]])
        equal(f"the interface of {client.program}", _interface(client), has)
    seen = (f"{client.program} {told[port]['ip']}" for port, client in lab.clients.items())
    return f"{', '.join(seen)}; MTU {ETHERNET_MTU} -> {OVERLAY_MTU}, routes, DNS as the scope says"


@check(11, "pcgctl show leases: segment, instance, expiry")
def leases_are_listed(lab: Lab) -> str:
    told = leased(lab)
    rows = {row["port"]: row for row in lab.ask.show("leases")}
    equal("the ports", set(rows), set(told))
    for port_id, row in rows.items():
        port = lab.layout.port(port_id)
        wanted = (port.segment, port.instance, port.mac, told[port_id]["ip"])
        seen = tuple(row[k] for k in ("segment", "instance", "mac", "address"))
        equal(f"the lease of {port_id}", seen, wanted)
        left = row["expires"] - time.time()
        expect(0 < left <= _scope(lab, port_id).lease_s + 1, f"{port_id}: {left:.0f} s are left")
    return ", ".join(f"{r['segment']} {r['instance']} {r['address']}" for r in rows.values())


@check(11, "leased workloads reach the internet by NAT, and each other at MTU 8943")
def leases_carry_traffic(lab: Lab) -> str:
    told = leased(lab)
    space = lab.layout.workload_ns("web2")
    elastic, _ = lab.layout.public("eip-t1")
    for port in ("web2", "legacy2"):
        page = curl(lab.layout.workload_ns(port), f"http://{INTERNET}:{HTTP}/whoami")
        equal(f"{port}, seen by the internet host,", parse_whoami(page)[0], elastic)
    ping_once(space, INTERNET)
    ping_once(space, lab.layout.port("web1").addresses[0], *LARGEST)  # straight, TEP to TEP
    ping_once(lab.layout.workload_ns("legacy2"), told["web2"]["ip"], *LARGEST)  # by the gateway
    ping_once(lab.layout.workload_ns("legacy2"), lab.layout.segment("legacy").gateway, *LARGEST)
    return f"seen as {elastic}; {OVERLAY_MTU} bytes uncut to a TEP, a neighbour and the gateway"


@check(11, "two VRFs with the same pool: the same address, leased twice")
def same_lease_twice(lab: Lab) -> str:
    told = leased(lab)
    addresses = {told[port]["ip"] for port in TWINS}
    expect(len(addresses) == 1, f"the first addresses of two empty pools are {addresses}")
    wanted = [lab.layout.public(p)[0] for p in ("eip-t1", "eip-t2")]

    def fetch(port: str) -> str:
        page = curl(lab.layout.workload_ns(port), f"http://{INTERNET}:{HTTP}/whoami")
        return parse_whoami(page)[0]

    with ThreadPoolExecutor(len(TWINS)) as pool:
        equal("seen by the internet host", list(pool.map(fetch, TWINS)), wanted)
    return f"{addresses.pop()} is {told['web2']['domain']}'s and {told['t2-web2']['domain']}'s"


def _dhcp(packets: list[Overlay]) -> list[Overlay]:
    return [p for p in packets if UDP in p.inner and p.inner[UDP].dport in (SERVER, CLIENT)]


def _refused_from(lab: Lab, port: Port, address: str) -> None:
    """The gateway drops what comes from there."""
    segment = lab.layout.segment(port.segment)
    packet = Tunnelled(
        tep=port.tep,
        vni=segment.vni,
        source=address,
        source_mac=port.mac,
        destination=INTERNET,
        destination_mac=segment.gateway_mac,
    )
    before = lab.ask.drops().get("SOURCE_SPOOFED", 0)
    send(lab.layout, packet.frame(lab.layout))
    until("a drop", lambda: lab.ask.drops().get("SOURCE_SPOOFED", 0) == before + 1, 5.0)


@check(11, "released and asked for again; renewed: on the segment's VNI, to the gateway alone")
def released_and_renewed(lab: Lab) -> str:
    client, port = lab.clients["web2"], lab.layout.port("web2")
    address, vpc = leased(lab)["web2"]["ip"], lab.layout.ns("vpc")
    neighbour = lab.layout.site_of(lab.layout.port("web1")).name
    with Capture(vpc, "pcg") as gateway, Capture(vpc, neighbour) as other:
        client.release()
        until("its end", lambda: ("web2", address) not in _listed(lab), 5.0)
        _refused_from(lab, port, address)
        for _ in ("selecting", "bound"):  # udhcpc waits for a signal in one state, in the other too
            before = client.events()
            client.renew()
            equal("its address", client.wait_leased(before)["ip"], address)
    leased(lab)
    said = _dhcp(gateway.overlay())
    vni = lab.layout.segment("web").vni
    teps = {port.tep, lab.desired.gateway.tep}
    equal("who spoke", {frozenset((p.outer.src, p.outer.dst)) for p in said}, {frozenset(teps)})
    equal("the VNIs", {p.vni for p in said}, {vni})
    expect(not _dhcp(other.overlay()), f"{neighbour} heard it too")
    asked = [p for p in said if p.inner[UDP].dport == SERVER]
    unicast = [p for p in asked if p.inner[IP].dst == lab.layout.segment("web").gateway]
    expect(0 < len(unicast) < len(asked), f"{len(unicast)} of {len(asked)} went by unicast")
    return f"{len(asked)} asked ({len(unicast)} by unicast), {len(said) - len(asked)} answered"


@check(11, "every frame accounted for, those punted and made too")
def punts_are_accounted(lab: Lab) -> str:
    totals = at_rest(lab)
    expect(balanced(totals), f"rx + made != tx + punt + drops + held + joined: {totals}")
    expect(totals["punt"] and totals["made"], f"nothing was punted or made: {totals}")
    return f"punt {totals['punt']}, made {totals['made']}"
