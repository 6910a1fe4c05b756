"""Point 2: from the internet to a published workload."""

from pcg.lab.checks.check import check, equal
from pcg.lab.clients import curl, ping_once
from pcg.lab.lab import Lab
from pcg.lab.layout import HTTP, INTERNET, UPLINK_ROUTER
from pcg.lab.services import parse_whoami


@check(2, "internet host opens the web server by its Elastic IP (DNAT 80 -> 8080)")
def page_through_dnat(lab: Lab) -> str:
    elastic, _ = lab.layout.public("eip-web")
    seen, _ = parse_whoami(curl(lab.layout.ns("inet"), f"http://{elastic}/whoami"))
    equal("the client, seen by the workload,", seen, INTERNET)
    return f"{elastic}:80 answered; the workload saw {seen}"


@check(2, "internet host pings the Elastic IP")
def ping_through_dnat(lab: Lab) -> str:
    elastic, _ = lab.layout.public("eip-web")
    ping_once(lab.layout.ns("inet"), elastic)
    return f"3 of 3 answered by {elastic}"


@check(2, "a workload with an Elastic IP of its own, both ways (REFLEXIVE)")
def reflexive(lab: Lab) -> str:
    elastic, _ = lab.layout.public("eip-app")
    inward, _ = parse_whoami(curl(lab.layout.ns("inet"), f"http://{elastic}:{HTTP}/whoami"))
    equal("the client, seen by the workload,", inward, INTERNET)
    space = lab.layout.workload_ns("app1")
    outward, _ = parse_whoami(curl(space, f"http://{INTERNET}:{HTTP}/whoami"))
    equal("the workload, seen by the internet host,", outward, elastic)
    return f"in as {inward}, out as {outward}"


@check(2, "the VPC reaches a routed segment without NAT")
def routed_segment(lab: Lab) -> str:
    address = lab.layout.port("app1").addresses[0]
    seen, _ = parse_whoami(curl(lab.layout.ns("igw"), f"http://{address}:{HTTP}/whoami"))
    equal("the client, seen by the workload,", seen, UPLINK_ROUTER[0])
    return f"{address} answered {seen} as itself"
