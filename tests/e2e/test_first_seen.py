"""The log of first-seen destinations, written by a gateway that forwards.

The lab is shared: whoever came before may have dialled the same, and the gateway was started anew.
"""

import json
import socket

from pcg.lab import ns
from pcg.lab.clients import curl, ping_once
from pcg.lab.lab import Lab
from pcg.lab.layout import HTTP, INTERNET, INTERNET_OTHER
from tests.waiting import wait_until

WORKLOAD = "legacy1"


def life(lab: Lab) -> list[dict]:
    """Lines of the gateway that runs."""
    path = lab.layout.run / "first-seen.jsonl"
    seen = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    began = max((i for i, line in enumerate(seen) if line["event"] == "began"), default=0)
    return seen[began:]


def lines(lab: Lab, **wanted) -> list[dict]:
    wanted |= {"workload": WORKLOAD}
    return [line for line in life(lab) if wanted.items() <= line.items()]


def dial_new(lab: Lab) -> None:
    """A port that nobody dialled so far. Once its line is there, so are those of before."""
    port = 1 + max([line["port"] for line in lines(lab, destination=INTERNET_OTHER)], default=9)
    with ns.inside(lab.layout.workload_ns(WORKLOAD)):
        dialling = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with dialling:
        dialling.sendto(b"?", (INTERNET_OTHER, port))
    new = {"destination": INTERNET_OTHER, "protocol": "udp", "port": port}
    assert len(wait_until(lambda: lines(lab, **new), "the new port's line")) == 1


def test_a_workload_that_dials_somebody_new(lab: Lab):
    space, (elastic, _) = lab.layout.workload_ns(WORKLOAD), lab.layout.public("eip-t1")
    for _ in range(2):
        ping_once(space, INTERNET_OTHER)
        curl(space, f"http://{INTERNET}:{HTTP}/")
    dial_new(lab)
    (line,) = lines(lab, destination=INTERNET, port=HTTP)
    assert (line["vrf"], line["protocol"], line["as"]) == ("t1", "tcp", elastic)
    assert line["nat"] == "out-t1"
    (line,) = lines(lab, destination=INTERNET_OTHER, protocol="icmp")
    assert line["port"] == 0
    assert life(lab)[0]["event"] == "began"
