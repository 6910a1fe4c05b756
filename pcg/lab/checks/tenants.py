"""Point 9: two VRFs with the same prefix, the same address even."""

from concurrent.futures import ThreadPoolExecutor

from pcg.lab.checks.check import check, equal
from pcg.lab.clients import curl, who_am_i
from pcg.lab.lab import Lab
from pcg.lab.layout import HTTP, INTERNET
from pcg.lab.services import parse_whoami

WORKLOADS = ("web1", "t2-web1")


@check(9, "192.168.99.9 of both VRFs fetches at once, each by its Elastic IP")
def same_address_twice(lab: Lab) -> str:
    wanted = [lab.layout.public(p)[0] for p in ("eip-t1", "eip-t2")]
    spaces = [lab.layout.workload_ns(w) for w in WORKLOADS]

    def fetch(space: str) -> str:
        return parse_whoami(curl(space, f"http://{INTERNET}:{HTTP}/whoami"))[0]

    with ThreadPoolExecutor(len(spaces)) as pool:
        equal("seen by the internet host", list(pool.map(fetch, spaces)), wanted)
    return f"seen as {wanted[0]} and {wanted[1]}"


@check(9, "the same source port too")
def same_port_twice(lab: Lab) -> str:
    wanted = [lab.layout.public(p)[0] for p in ("eip-t1", "eip-t2")]
    spaces = [lab.layout.workload_ns(w) for w in WORKLOADS]
    with ThreadPoolExecutor(len(spaces)) as pool:
        seen = list(pool.map(lambda space: who_am_i(space, INTERNET, 40404), spaces))
    equal("seen by the internet host", [address for address, _ in seen], wanted)
    return f"192.168.99.9:40404 is {seen[0][0]}:{seen[0][1]} and {seen[1][0]}:{seen[1][1]}"
