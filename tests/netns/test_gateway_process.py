"""The gateway's process with a real datapath on real interfaces, its controller away.

That is a boot by the saved state: what it is to be lies in its state folder. The way from the
controller has tests of its own (tests/unit/controller), the whole is tests/e2e.
"""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import yaml

from pcg.datapath.client import Client
from pcg.gateway.control import ask
from pcg.gateway.state import NAME, Numbered, Store
from pcg.model.errors import BackendError
from pcg.reconcile.addresses import address, mac
from tests.unit.reconcile.examples import DESIRED
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("built")
ROUTER, FAR = "10.0.2.1", "10.0.3.22"


class Place:
    """Settings, keys and state in a folder; processes in the gateway's namespace."""

    def __init__(self, wires, folder: Path) -> None:
        self.wires, self.folder = wires, folder
        self.running: dict[str, subprocess.Popen] = {}
        self.control = f"ipc://{folder}/gateway.sock"
        for name in ("gw-a", "controller"):
            self._command("keys", name, "--dir", str(folder))
        self._write("datapath", self._datapath())
        self._write("gateway", self._gateway())

    def _command(self, *words: str) -> None:
        subprocess.run([sys.executable, "-m", "pcg", *words], check=True, capture_output=True)

    def _write(self, name: str, settings: dict) -> None:
        (self.folder / f"{name}.yaml").write_text(yaml.safe_dump(settings))

    def _datapath(self) -> dict:
        return {
            "ports": [
                {"interface": "up0", "role": "uplink"},
                {"interface": "down0", "role": "downlink"},
            ],
            "control": f"ipc://{self.folder}/datapath.sock",
            "arena": f"{self.folder}/arena",
            "sessions": 4096,
            "workload_addresses": 1024,
        }

    def _gateway(self) -> dict:
        return {
            "id": "gw-a",
            "controller": {
                "sync": "tcp://127.0.0.1:5550",
                "publish": "tcp://127.0.0.1:5551",
                "public_key": "controller.key",
            },
            "keys": {"secret": "gw-a.key_secret"},
            "datapath": f"ipc://{self.folder}/datapath.sock",
            "control": self.control,
            "state": "state",
            "resync_s": 1.0,
        }

    def save(self, desired=DESIRED) -> None:
        Store(str(self.folder / "state"), "gw-a").save(desired, 1, 1, Numbered())

    def start(self, *programs: str) -> None:
        for program in programs:
            file = self.folder / f"{program}.yaml"
            with self.wires.gw.inside(), open(self.folder / f"{program}.log", "ab") as log:
                self.running[program] = subprocess.Popen(
                    [sys.executable, "-m", "pcg", program, "--settings", str(file)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )

    def end(self, program: str, how: signal.Signals) -> int:
        process = self.running.pop(program)
        process.send_signal(how)
        return process.wait(20)

    def close(self) -> None:
        for process in self.running.values():
            process.kill()
            process.wait()

    def log(self, program: str = "gateway") -> str:
        return (self.folder / f"{program}.log").read_text()

    def realised(self) -> dict:
        with contextlib.suppress(BackendError):
            return ask(self.control, "realised", timeout_s=5)
        return {}

    def states(self) -> dict[str, str]:
        return {name: b["state"] for name, b in self.realised().get("backends", {}).items()}

    def wait_applied(self) -> None:
        def applied():
            states = self.states()
            return states and {states[n] for n in ("netlink", "datapath", "nft")} == {"applied"}

        wait_until(applied, f"all applied; last log:\n{self.log()[-2000:]}", 30)

    def wait_failing(self, backend: str) -> None:
        wait_until(lambda: self.states().get(backend) == "failing", f"{backend} being failing", 20)


@pytest.fixture
def place(wires, tmp_path):
    for name in ("up0", "down0"):
        wires.gw.run(f"ip link set {name} up")
    made = Place(wires, tmp_path)
    yield made
    made.close()


@pytest.fixture
def running(place):
    """Forwarding by the saved state."""
    place.save()
    place.start("datapath", "gateway")
    place.wait_applied()
    return place


@pytest.fixture
def client(running):
    with Client(f"ipc://{running.folder}/datapath.sock") as made:
        yield made


def test_boots_and_programs_everything_without_its_controller(running, client, wires):
    assert running.realised()["source"] == "disk"
    assert {(r.vrf, r.address_be) for r in client.read("ports")} == {
        (0, address("192.168.1.8")),
        (0, address("192.168.1.9")),
        (1, address("192.168.1.8")),
    }
    assert [r.name for r in client.read("nat")] == ["web-in", "web-in", "out", "out"]
    assert "10.0.1.10/24" in wires.gw.run("ip -o addr show up0")
    assert "192.168.2.0/24" in wires.gw.run("nft list table netdev pcg")
    assert wires.peer.works("ping -c 1 -W 2 10.0.2.10")


def test_next_hops_follow_the_neighbours(client, wires):
    def tep():
        return next(r for r in client.read("teps") if r.address_be == address(FAR))

    wires.peer.run("ip route add 10.0.3.0/24 dev lo")
    wait_until(lambda: tep().resolved, "the router's MAC in the datapath")
    wires.peer.run("ip link set d1 address 02:00:00:00:00:77")
    wires.peer.run(f"ping -c 1 -W 2 -I {ROUTER} 10.0.2.10")  # its ARP tells our kernel
    wait_until(lambda: tep().mac == mac("02:00:00:00:00:77"), "the new MAC in the datapath", 20)


def test_killed_and_started_it_changes_nothing(running, client):
    wait_until(lambda: client.read("nexthops")[0].resolved, "the uplink's next hop")
    wait_until(lambda: all(t.resolved or t.silent for t in client.read("teps")), "all TEPs")
    before, held = client.totals()["changes"], client.read("nat")
    nft = running.wires.gw.run("nft -a list ruleset")
    running.end("gateway", signal.SIGKILL)
    assert running.realised() == {}
    running.start("gateway")
    running.wait_applied()
    assert client.totals()["changes"] == before
    assert client.read("nat") == held
    assert drop_counters(running.wires.gw.run("nft -a list ruleset")) == drop_counters(nft)


def drop_counters(listing: str) -> list[str]:
    return [line.partition("counter")[0] for line in listing.splitlines()]


def test_sigterm_ends_it_cleanly_and_leaves_forwarding(running, client, wires):
    assert running.end("gateway", signal.SIGTERM) == 0
    assert "Traceback" not in running.log()
    assert len(client.read("ports")) == 3
    assert "table netdev pcg" in wires.gw.run("nft list ruleset")


def test_restarted_datapath_is_filled_again(running):
    running.end("datapath", signal.SIGKILL)
    running.wait_failing("datapath")
    errors = running.realised()["errors"]
    assert errors[0]["backend"] == "datapath"
    assert "start it" in errors[0]["mend"]
    running.start("datapath")
    running.wait_applied()
    with Client(f"ipc://{running.folder}/datapath.sock") as client:
        assert len(client.read("ports")) == 3


def test_meddling_is_repaired(running, wires):
    wires.gw.run("nft flush chain netdev pcg uplink; ip addr del 10.0.1.10/24 dev up0")
    wires.gw.run("ethtool -K down0 gro on; ip rule del priority 5080")

    def mended():
        return (
            "owned" in wires.gw.run("nft list chain netdev pcg uplink")
            and "10.0.1.10/24" in wires.gw.run("ip -o addr show up0")
            and "5080:" in wires.gw.run("ip rule")
            and "generic-receive-offload: off" in wires.gw.run("ethtool -k down0")
        )

    wait_until(mended, "all as desired again", 20)
    wait_until(lambda: "changed by somebody" in running.log(), "and said so")


def test_missing_interface_is_said_and_taken_when_it_comes(place, wires):
    interfaces = DESIRED.gateway.interfaces
    other = msgspec.structs.replace(interfaces.management, name="mgmt7")
    interfaces = msgspec.structs.replace(interfaces, management=other)
    gateway = msgspec.structs.replace(DESIRED.gateway, interfaces=interfaces)
    place.save(msgspec.structs.replace(DESIRED, gateway=gateway))
    place.start("datapath", "gateway")
    place.wait_failing("netlink")
    (error,) = place.realised()["errors"]
    assert (error["thing"], error["why"]) == ("interface mgmt7", "does not exist")
    assert place.states()["datapath"] == "applied"
    wires.gw.run("ip link set mgmt0 name mgmt7")
    place.wait_applied()


def test_interface_that_was_replaced_is_taken_by_the_next_datapath(running, wires):
    """The datapath holds the old one's socket: nothing would come. It ends, to be started again."""
    wires.gw.run("ip link del up0")
    running.wait_failing("netlink")
    peer = f"/proc/{os.getpid()}/fd/{wires.peer.fd}"
    wires.gw.run(f"ip link add up0 mtu 9001 type veth peer name u1 netns {peer}")
    wires.peer.run("ip link set u1 mtu 9001 up; ip addr add 10.0.1.1/24 dev u1")
    assert running.running["datapath"].wait(20) == 3
    running.start("datapath")
    running.wait_applied()
    assert 'hook ingress device "up0"' in wires.gw.run("nft list table netdev pcg")


def uplink_named(name: str):
    interfaces = DESIRED.gateway.interfaces
    other = msgspec.structs.replace(interfaces.uplink, name=name)
    interfaces = msgspec.structs.replace(interfaces, uplink=other)
    gateway = msgspec.structs.replace(DESIRED.gateway, interfaces=interfaces)
    return msgspec.structs.replace(DESIRED, gateway=gateway)


def test_steering_does_not_follow_a_name_that_is_not_there(running, wires):
    before = drop_counters(wires.gw.run("nft -a list ruleset"))
    running.end("gateway", signal.SIGTERM)
    running.save(uplink_named("up9"))
    running.start("gateway")
    running.wait_failing("nft")
    assert drop_counters(wires.gw.run("nft -a list ruleset")) == before


def test_fresh_boot_without_the_uplink_drops_by_default_and_gets_the_rest_later(place, wires):
    place.save()
    wires.gw.run("ip link set up0 down; ip link set up0 name other")
    place.start("gateway")
    place.wait_failing("nft")
    assert "policy drop" in wires.gw.run("nft list table inet pcg")
    assert "ingress" not in wires.gw.run("nft list table netdev pcg")
    wires.gw.run("ip link set other name up0; ip link set up0 up")
    place.start("datapath")
    place.wait_applied()
    assert wires.gw.run("nft list table netdev pcg").count("ingress") == 2


def test_second_gateway_is_refused(running):
    with running.wires.gw.inside():
        done = subprocess.run(
            [sys.executable, "-m", "pcg", "gateway", "--settings",
             str(running.folder / "gateway.yaml")],
            capture_output=True, text=True, timeout=30,
        )  # fmt: skip
    assert done.returncode == 1
    assert "another gateway holds it" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    running.wait_applied()


def test_damaged_state_is_one_line_and_it_waits(place):
    place.save()
    path = place.folder / "state" / NAME
    path.write_bytes(path.read_bytes()[:-20])
    place.start("gateway")
    wait_until(lambda: place.realised().get("source") == "none", "it runs", 20)
    lines = [line for line in place.log().splitlines() if "ignored, waiting" in line]
    assert len(lines) == 1
    assert ask(place.control, "desired") is None


def test_what_is_desired_can_be_read_back(running):
    told = ask(running.control, "desired")
    assert msgspec.convert(told, type(DESIRED)) == DESIRED
