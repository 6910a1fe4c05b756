"""The log of first-seen destinations, written by a gateway that forwards."""

import json

from pcg.lab.clients import curl, ping_once
from pcg.lab.lab import Lab
from pcg.lab.layout import HTTP, INTERNET, INTERNET_OTHER
from tests.waiting import wait_until


def lines(lab: Lab, **wanted) -> list[dict]:
    path = lab.layout.run / "first-seen.jsonl"
    seen = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [line for line in seen if wanted.items() <= line.items()]


def test_a_workload_that_dials_somebody_new(lab: Lab):
    space, other = lab.layout.workload_ns("legacy1"), {"destination": INTERNET_OTHER}
    assert lines(lab, workload="legacy1", **other) == []
    ping_once(space, INTERNET_OTHER)
    ping_once(space, INTERNET_OTHER)
    curl(space, f"http://{INTERNET}:{HTTP}/")
    web = {"workload": "legacy1", "destination": INTERNET, "port": HTTP}
    (line,) = wait_until(lambda: lines(lab, **web), "the web server's line")
    elastic, _ = lab.layout.public("eip-t1")
    assert (line["vrf"], line["protocol"], line["as"]) == ("t1", "tcp", elastic)
    assert line["nat"] == "out-t1"
    (line,) = lines(lab, workload="legacy1", **other)
    assert (line["protocol"], line["port"]) == ("icmp", 0)
    assert lines(lab)[0]["event"] == "began"
