"""Point 1: out to the internet through SNAT."""

from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether

from pcg.lab import stun
from pcg.lab.capture import Capture
from pcg.lab.checks.check import check, equal, expect
from pcg.lab.clients import curl, ping_once
from pcg.lab.lab import Lab
from pcg.lab.layout import HTTP, INTERNET
from pcg.lab.services import parse_whoami


@check(1, "workload fetches a page from the internet (HTTP, SNAT)")
def page_through_snat(lab: Lab) -> str:
    elastic, private = lab.layout.public("eip-t1")
    with Capture(lab.layout.ns("igw"), "vpc0") as wire:
        page = curl(lab.layout.workload_ns("web1"), f"http://{INTERNET}:{HTTP}/whoami")
    seen, _ = parse_whoami(page)
    equal("the client, seen by the internet host,", seen, elastic)
    frames = (Ether(frame) for _, frame in wire.frames)
    sources = {f[IP].src for f in frames if TCP in f and f[IP].dst == INTERNET}
    equal("the source on our uplink", sources, {private})
    return f"192.168.99.9 -> {private} on the uplink -> {elastic} on the internet"


@check(1, "a host without distributed routing does the same")
def page_from_bare_host(lab: Lab) -> str:
    elastic, _ = lab.layout.public("eip-t1")
    space = lab.layout.workload_ns("legacy1")
    seen, _ = parse_whoami(curl(space, f"http://{INTERNET}:{HTTP}/whoami"))
    equal("the client, seen by the internet host,", seen, elastic)
    return f"seen as {seen}"


@check(1, "workload pings the internet")
def ping_out(lab: Lab) -> str:
    out = ping_once(lab.layout.workload_ns("web1"), INTERNET)
    # The reply's 64 less the hop, the Internet gateway and ourselves.
    expect("ttl=61" in out, f"ttl is not 61: {out}")
    return "3 of 3 answered, TTL 61"


@check(1, "a STUN client learns what kind of NAT this is (RFC 5780)")
def behaviour_by_stun(lab: Lab) -> str:
    with stun.server(lab.layout):
        seen = stun.discover(lab.layout.workload_ns("web1"))
    equal("the mapping (RFC 4787 REQ-1)", seen.mapping, "Endpoint Independent")
    equal("the filtering (RFC 4787 REQ-8)", seen.filtering, "Address Dependent")
    equal("who the server saw", seen.seen_as, lab.layout.public("eip-t1")[0])
    return "endpoint-independent mapping, address-dependent filtering"
