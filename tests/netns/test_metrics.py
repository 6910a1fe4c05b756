"""The gateway shows what it counts: over HTTP on management, and by its control socket."""

import http.client
import signal
import socket
import time
from importlib import metadata

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pcg.gateway.control import ask
from tests.netns.test_gateway_process import Place
from tests.unit.reconcile.examples import DESIRED
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("built")
MANAGEMENT = DESIRED.gateway.interfaces.management.addresses[0].partition("/")[0]
PORT = 9464
UNWANTED = 0x88B5  # IEEE 802: for local experiments; nobody on this host listens to it


@pytest.fixture
def running(wires, tmp_path):
    """Forwarding by the saved state."""
    for name in ("up0", "down0"):
        wires.gw.run(f"ip link set {name} up")
    made = Place(wires, tmp_path)
    made.save()
    made.start("datapath", "gateway")
    made.wait_applied()
    yield made
    made.close()


def get(wires, path: str = "/metrics", address: str = MANAGEMENT) -> tuple[int, str]:
    """Status and body, as a host on the management network gets them."""
    with wires.peer.inside():
        connection = http.client.HTTPConnection(address, PORT, timeout=10)
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def samples(wires) -> dict[tuple, float]:
    """(name, label values in the order of the labels' names...) -> value."""
    status, body = get(wires)
    assert status == 200
    found = {}
    for family in text_string_to_metric_families(body):
        assert family.documentation, family.name
        for sample in family.samples:
            key = (sample.name, *sample.labels.values())
            assert key not in found, key
            found[key] = sample.value
    return found


def counters(place) -> dict[tuple[str, str, str], dict]:
    seen = ask(place.control, "drops")
    assert seen["error"] == ""
    return {(c["source"], c["where"], c["name"]): c for c in seen["counters"]}


def send_raw(wires, device: str, frame: bytes) -> None:
    with wires.peer.inside(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind((device, 0))
        raw.send(frame)


def test_everything_is_there_and_none_of_it_twice(running, wires):
    seen = samples(wires)
    assert seen["pcg_datapath_up",] == seen["pcg_counters_readable",] == 1
    assert seen["pcg_build_info", "gw-a", metadata.version("pcg")] == 1
    assert seen["pcg_control_errors", "nft"] == 0
    assert seen["pcg_control_connected",] == 0
    assert seen["pcg_sessions_limit",] == 4096
    assert seen["pcg_datapath_drops_total", "NO_ROUTE", "uplink"] == 0
    assert seen["pcg_capture_running",] == seen["pcg_tunnel_endpoints_narrow",] == 0
    assert seen["pcg_capture_lost_packets_total", "uplink"] == 0
    assert seen["pcg_port_up", "up0", "uplink"] == 1
    assert seen["pcg_firewall_rule_hits_total", "no-telnet"] == 0
    assert seen["pcg_segment_packets_total", "in", "web", "t1"] == 0
    assert seen["pcg_segment_packets_total", "in", "t1 (transit)", "t1"] == 0
    assert seen["pcg_nat_rule_ports", "out"] > 60_000
    assert seen["pcg_nat_pool_ports_used", "eip-out"] == 0
    assert abs(seen["pcg_control_last_step_timestamp_seconds",] - time.time()) < 60


def test_nothing_else_is_served_and_nowhere_else(running, wires):
    assert get(wires, "/")[0] == 404
    for address in ("10.0.1.10", "10.0.2.10"):
        with pytest.raises(OSError), wires.peer.inside():
            socket.create_connection((address, PORT), timeout=0.5).close()
    listening = wires.gw.run("ss -Hltn")
    assert [line.split()[3] for line in listening.splitlines()] == [f"{MANAGEMENT}:{PORT}"]


def test_frames_that_the_kernel_dropped(running, wires):
    key = ("interface", "mgmt0", "rx_dropped")
    wait_until(lambda: key in counters(running), "the first reading")
    before = counters(running)[key]
    frame = b"\xff" * 6 + bytes(6) + UNWANTED.to_bytes(2, "big") + bytes(50)
    send_raw(wires, "m1", frame)
    wait_until(lambda: counters(running)[key]["packets"] > before["packets"], "it is counted")
    now = counters(running)[key]
    assert now["first"] is not None
    assert now["last"] >= now["first"]
    assert "nobody on this host wanted it" in now["means"]
    seen = samples(wires)
    assert seen["pcg_interface_drops_total", "rx_dropped", "mgmt0", "management"] > 0


def test_what_the_hosts_firewall_dropped(running, wires):
    with pytest.raises(OSError), wires.peer.inside():
        socket.create_connection((MANAGEMENT, 23), timeout=0.5).close()
    key = ("nftables", "input", "input_management")
    wait_until(lambda: counters(running).get(key, {}).get("packets"), "it is counted")
    assert counters(running)[key]["ends"]
    assert not counters(running)["nftables", "downlink", "downlink_tunnel"]["ends"]
    assert samples(wires)["pcg_nftables_drops_total", "input_management"] > 0


def test_the_drivers_own_statistics_are_read(running):
    wait_until(lambda: ("driver", "up0", "rx_queue_drops") in counters(running), "veth's drops")


def test_without_its_datapath_it_says_so(running, wires):
    running.end("datapath", signal.SIGKILL)
    seen = samples(wires)
    assert seen["pcg_datapath_up",] == 0
    assert ("pcg_sessions",) not in seen
    wait_until(lambda: samples(wires)["pcg_control_errors", "datapath"], "the loop noticed", 20)
    assert samples(wires)["pcg_control_lag_seconds",] > 0


def test_a_client_that_says_nothing_keeps_nobody_waiting(running, wires):
    with wires.peer.inside():
        silent = [socket.create_connection((MANAGEMENT, PORT), timeout=5) for _ in range(3)]
    assert samples(wires)["pcg_datapath_up",] == 1
    for one in silent:
        one.close()
