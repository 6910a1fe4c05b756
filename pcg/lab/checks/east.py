"""Point 3: workload to workload, straight between TEPs, and through the gateway for a bare host."""

from scapy.layers.inet import IP

from pcg.lab.capture import Capture
from pcg.lab.checks.check import check, equal, expect
from pcg.lab.clients import curl, ping_once
from pcg.lab.frames import OPTION_CLASS, OPTION_TYPE, Overlay
from pcg.lab.lab import Lab
from pcg.lab.layout import HTTP
from pcg.lab.services import parse_whoami

DATA = 4  # bytes in our option


def _between(packets: list[Overlay], source: str, to: str) -> list[Overlay]:
    """Those of this pair: a peer of an earlier check may still be sending there."""
    return [
        p for p in packets if IP in p.inner and (p.inner[IP].src, p.inner[IP].dst) == (source, to)
    ]


def _carries_option(packet: Overlay) -> bool:
    return packet.critical and (OPTION_CLASS, OPTION_TYPE, DATA) in packet.options


@check(3, "workload to workload in another segment, straight between TEPs")
def between_teps(lab: Lab) -> str:
    layout = lab.layout
    web, app = layout.port("web1"), layout.port("app1")
    vpc = layout.ns("vpc")
    with Capture(vpc, layout.site_of(app).name) as there, Capture(vpc, "pcg") as gateway:
        ping_once(layout.workload_ns("web1"), app.addresses[0])
    pair = web.addresses[0], app.addresses[0]
    packets = _between(there.overlay(), *pair)
    expect(packets, "no such packet at the destination TEP")
    for packet in packets:
        ends = (packet.outer.src, packet.outer.dst)
        equal("the outer path", ends, (web.tep, app.tep))
        equal("the VNI", packet.vni, layout.segment("app").vni)
        equal("the inner TTL", packet.inner[IP].ttl, 63)
        expect(_carries_option(packet), f"options are {packet.options}, C={packet.critical}")
    expect(not _between(gateway.overlay(), *pair), "it went through the gateway too")
    return f"{web.tep} -> {app.tep}, VNI {packets[0].vni}, TTL 63, option 0x0104/0x80 critical"


@check(3, "bare host to a workload, the gateway routing between segments")
def through_the_gateway(lab: Lab) -> str:
    layout = lab.layout
    web, legacy = layout.port("web1"), layout.port("legacy1")
    with Capture(layout.ns("vpc"), "pcg") as gateway:
        page = curl(layout.workload_ns("legacy1"), f"http://{web.addresses[0]}:{HTTP}/whoami")
    equal("the client, seen by the workload,", parse_whoami(page)[0], legacy.addresses[0])
    packets = _between(gateway.overlay(), legacy.addresses[0], web.addresses[0])
    hops = {(p.vni, p.inner[IP].ttl, p.outer.dst) for p in packets}
    here, there = layout.segment("legacy").vni, layout.segment("web").vni
    equal("the path", hops, {(here, 64, layout.desired.gateway.tep), (there, 63, web.tep)})
    expect(all(map(_carries_option, packets)), "the gateway sent a packet without our option")
    back = _between(gateway.overlay(), web.addresses[0], legacy.addresses[0])
    expect(not back, "the reply came through the gateway")
    return f"VNI {here} in, VNI {there} out, TTL 64 -> 63; replies straight back"


@check(3, "bare host pings its segment's gateway")
def segment_gateway_answers(lab: Lab) -> str:
    address = lab.layout.segment("legacy").gateway
    ping_once(lab.layout.workload_ns("legacy1"), address)
    return f"{address} answers ARP and ping"
