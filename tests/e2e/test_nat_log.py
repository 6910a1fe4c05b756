"""The NAT log of a gateway that forwards: its lines, and its IPFIX as Wireshark has it."""

import json
import socket
import subprocess
from collections.abc import Iterator

import msgspec
import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.utils import wrpcap

from pcg.lab import ns
from pcg.lab.clients import curl, ping_once
from pcg.lab.lab import Lab
from pcg.lab.layout import CONTROLLER, HTTP, INTERNET
from pcg.model.desired import Desired
from tests.waiting import wait_until

COLLECTOR = CONTROLLER, 4739  # as the example settings have it
RULE, WORKLOAD = "out-t1", "legacy1"
FIELDS = ("nat_event", "srcaddr", "srcport", "post_natsource_ipv4_address")
FIELDS += ("post_naptsource_transport_port", "dstaddr", "dstport", "protocol", "vrfname")
FIELDS += ("selector_name", "initiator_octets", "responder_octets", "flow_end_reason", "octets")


def lines(lab: Lab, **wanted) -> list[dict]:
    path = lab.layout.run / "nat.jsonl"
    seen = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [line for line in seen if wanted.items() <= line.items()]


@pytest.fixture
def collector(lab: Lab) -> Iterator[socket.socket]:
    with ns.inside(lab.layout.ns("svc")):
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    with made:
        made.bind(COLLECTOR)
        yield made


@pytest.fixture
def removable(lab: Lab) -> Iterator[None]:
    """The workload is there again afterwards."""
    before = lab.desired
    yield
    lab.publish(lambda _: before)
    wait_until(lambda: WORKLOAD in [p["id"] for p in lab.ask.show("workloads")], "its return")
    lab.wait_settled()


def without(desired: Desired) -> Desired:
    ports = tuple(p for p in desired.ports if p.id != WORKLOAD)
    return msgspec.structs.replace(desired, ports=ports)


def take(collector: socket.socket, into: list[bytes]) -> list[bytes]:
    """All that came so far."""
    while True:
        try:
            into.append(collector.recv(65_536))
        except BlockingIOError:
            return into


def flows(path, data: list[bytes]) -> list[dict[str, str]]:
    """Data records as Wireshark has them."""
    head = Ether() / IP(src="10.99.0.10", dst=CONTROLLER)
    wrpcap(str(path), [head / UDP(sport=40_000, dport=COLLECTOR[1]) / one for one in data])
    argv = ["tshark", "-n", "-r", str(path), "-d", f"udp.port=={COLLECTOR[1]},cflow", "-T", "json"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    layers = [packet["_source"]["layers"]["cflow"] for packet in json.loads(done.stdout)]
    sets = [s for layer in layers for name, s in layer.items() if name.startswith("Set ")]
    found = [r for s in sets for name, r in s.items() if name.startswith("Flow ")]
    return [{name: r.get(f"cflow.{name}") for name in FIELDS} for r in found]


def test_a_session_from_its_start_to_its_end(lab: Lab, collector, removable, tmp_path):
    space, heard = lab.layout.workload_ns(WORKLOAD), []
    ping_once(space, INTERNET)
    wait_until(lambda: any(d[16:18] == b"\0\2" for d in take(collector, heard)), "templates")
    web = {"workload": WORKLOAD, "destination": INTERNET, "destination_port": HTTP}
    known = lines(lab, event="start", **web)
    curl(space, f"http://{INTERNET}:{HTTP}/")
    (new,) = wait_until(lambda: lines(lab, event="start", **web)[len(known) :], "its start")
    same = {"inside_port": new["inside_port"], **web}
    lab.publish(without)
    (end,) = wait_until(lambda: lines(lab, event="end", **same), "its end")
    (start,) = lines(lab, event="start", **same)
    elastic, secondary = lab.layout.public("eip-t1")
    wanted = {"vrf": "t1", "protocol": "tcp", "nat": RULE, "opened_by": "workload"}
    wanted |= {"outside": elastic, "secondary": secondary}
    wanted |= {"inside": lab.layout.port(WORKLOAD).addresses[0]}
    assert start == start | wanted
    assert end == end | wanted | {"outside_port": start["outside_port"], "reason": "port gone"}
    assert start["time"] <= end["time"]
    assert min(end["out_packets"], end["in_packets"]) >= 4
    assert min(end["out_bytes"], end["in_bytes"]) > 200

    def both() -> list[dict]:
        seen = flows(tmp_path / "x.pcap", take(collector, heard))
        ours = [f for f in seen if f["srcport"] == str(start["inside_port"])]
        ours = [f for f in ours if f["dstport"] == str(HTTP)]
        return ours if len(ours) == 2 else []

    told = {
        "srcaddr": start["inside"],
        "srcport": str(start["inside_port"]),
        "post_natsource_ipv4_address": elastic,
        "post_naptsource_transport_port": str(start["outside_port"]),
        "dstaddr": INTERNET,
        "dstport": str(HTTP),
        "protocol": "6",
        "vrfname": "t1",
        "selector_name": RULE,
    }
    began, ended = wait_until(both, "two records")
    of_an_end = "initiator_octets", "responder_octets", "octets", "flow_end_reason"
    nothing = dict.fromkeys(of_an_end)
    assert began == told | nothing | {"nat_event": "4"}
    octets = {"initiator_octets": end["out_bytes"], "responder_octets": end["in_bytes"]}
    octets["octets"] = end["out_bytes"]
    octets = {name: str(n) for name, n in octets.items()}
    assert ended == told | octets | {"nat_event": "5", "flow_end_reason": "4"}
