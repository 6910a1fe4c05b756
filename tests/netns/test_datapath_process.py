"""The datapath as its own process, on real interfaces.

namespace `gw`              namespace `net`
[datapath] up0 --veth-- peer-up0    (the uplink's side)
           down0 -veth-- peer-down0  (the downlink's side)
"""

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.layers.inet import ICMP, IP
from scapy.layers.l2 import Ether

from pcg.datapath.client import Client
from pcg.datapath.pack import TraceFilter
from pcg.model.errors import BackendError
from pcg.reconcile import records
from tests.netns.process import Place, ip
from tests.netns.test_nft import unprivileged
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("built")
PORT = records.Ports(1, bytes([10, 1, 0, 10]), 1001, bytes([10, 99, 0, 2]), bytes(6))


def status(pid: int) -> dict[str, str]:
    text = Path(f"/proc/{pid}/status").read_text()
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


DRIVERS = pytest.mark.parametrize("driver", ["af_packet", "af_xdp"])


@DRIVERS
def test_it_serves_as_an_ordinary_user(place, driver):
    settings = place.settings(driver=driver)
    process, client = place.ready(settings)
    with client:
        nics = {nic["name"]: nic for nic in client.nics()}
        assert (nics["up0"]["role"], nics["down0"]["role"]) == ("uplink", "downlink")
        seen = status(process.pid)
        assert set(seen["Uid"].split()) == {"65534"}
        assert int(seen["CapEff"], 16) == int(seen["CapPrm"], 16) == 0
        mode = os.stat(settings["control"].removeprefix("ipc://")).st_mode
        assert stat.S_IMODE(mode) == 0o660
        assert mode & stat.S_IRWXO == 0


def test_others_are_told_that_they_may_not(place):
    """An ordinary user of the machine is not told that nobody is there."""
    settings = place.settings()
    _, client = place.ready(settings)
    client.close()

    def ask():
        with Client(settings["control"], connect_s=0.1) as stranger:
            stranger.totals()

    assert unprivileged(ask).endswith("no permission; run as root, or as one who may open it")


@DRIVERS
def test_sigterm_is_an_orderly_end(place, driver):
    process, client = place.ready(place.settings(driver=driver))
    client.close()
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert "stopping" in process.stdout.read()


def test_an_interface_that_was_replaced_ends_it(place):
    """Only a new process can open the new one, and the supervisor's work is to start it."""
    settings = place.settings()
    process, client = place.ready(settings)
    with client:
        ip("-n", place.space, "link", "del", "up0")
        wait_until(lambda: gone(place), "up0 is gone")
        assert place.answers(client, process)  # down0 is there still
        net = place.space.removesuffix("-gw") + "-net"
        ip(
            "-n",
            place.space,
            "link",
            "add",
            "up0",
            "type",
            "veth",
            "peer",
            "name",
            "pu",
            "netns",
            net,
        )
        ip("-n", place.space, "link", "set", "up0", "up")
        assert process.wait(20) == 3
        assert "interface up0: another one of its name has come" in process.stdout.read()
        again = place.start(settings)
        assert place.answers(client, again)


def gone(place) -> bool:
    with contextlib.suppress(subprocess.CalledProcessError):
        ip("-n", place.space, "link", "show", "up0")
        return False
    return True


def test_an_interface_that_does_not_exist(place):
    settings = place.settings(uplink="nope0")
    assert "interface nope0: does not exist; create it" in place.refused(settings)


def test_an_unknown_role(place):
    settings = place.settings(ports=[{"interface": "up0", "role": "sideways"}])
    assert "sideways" in place.refused(settings, code=2)


def test_a_user_that_does_not_exist(place):
    said = place.refused(place.settings(user="nobody-such"))
    assert "user nobody-such: does not exist" in said


def test_a_second_datapath_on_the_same_interface(place):
    _, client = place.ready(place.settings())
    with client:
        said = place.refused(place.settings("b"))
        assert "interface up0: another datapath in this network namespace uses it" in said
        assert client.totals()  # and the first goes on


MEM = [{"interface": r, "role": r, "driver": "mem"} for r in ("uplink", "downlink")]


@pytest.mark.parametrize("what", ["control", "arena"])
def test_a_second_datapath_on_the_same_socket_or_arena(place, what):
    first = place.settings()
    process, client = place.ready(first)
    with client:
        said = place.refused(place.settings("b", ports=MEM, **{what: first[what]}))
        assert f"another datapath (process {process.pid}) uses it" in said
        assert client.totals()


@DRIVERS
def test_no_permission(place, driver):
    lacking = "setpriv", "--bounding-set=-net_raw,-net_admin"
    said = place.refused(place.settings(driver=driver), *lacking)
    assert "run it as root" in said


def test_something_else_where_the_socket_should_be(place):
    settings = place.settings()
    path = Path(settings["control"].removeprefix("ipc://"))
    path.write_text("precious")
    assert "something else is there" in place.refused(settings)
    assert path.read_text() == "precious"


def test_only_a_unix_socket_programs_packets(place):
    said = place.refused(place.settings(control="tcp://127.0.0.1:5599"))
    assert "is no Unix socket" in said


@DRIVERS
def test_the_client_finds_a_restarted_process(place, driver):
    settings = place.settings(driver=driver)
    process, client = place.ready(settings)
    with client:
        client.put("ports", [PORT])
        assert client.read("ports") == [PORT]
        process.kill()
        process.wait()
        with pytest.raises(BackendError, match="nobody listens|it ended"):
            client.totals()
        again = place.start(settings)  # over the stale socket and locks of the first
        assert place.answers(client, again)
        assert client.totals()["ports"] == len(client.read("ports"))


def test_more_public_addresses_than_a_socket_filter_holds(place):
    """Refused whole, with the mend; what was in force stays."""
    _, client = place.ready(place.settings())

    def policy(n):
        def be(net, i):
            return bytes([net, i >> 8, i & 255, 1])

        return {
            "local": [records.Local(bytes([10, 99, 0, 1]), 1, 1500, 9001, 1024, 65535, 1)],
            "vrfs": [records.Vrfs(0, 0, 0, "v")],
            "publics": [
                records.Publics(i + 1, 0, be(52, i), be(10, i), f"eip-{i}") for i in range(n)
            ],
        }

    with client:
        client.commit(policy(1000))
        with pytest.raises(BackendError, match=r"up0: 5000 .*; use fewer public addresses"):
            client.commit(policy(5000))
        assert len(client.read("publics")) == 1000


def be(number: int) -> bytes:
    return number.to_bytes(4)


def owning(addresses: list[bytes]) -> dict[str, list]:
    """A policy that owns these secondary addresses, and has no rule for any."""
    return {
        "local": [records.Local(bytes([10, 99, 0, 1]), 1, 1500, 9001, 1024, 65535, 1)],
        "vrfs": [records.Vrfs(0, 0, 0, "v")],
        "publics": [
            records.Publics(i + 1, 0, be(0x34000000 + i), address, f"eip-{i}")
            for i, address in enumerate(addresses)
        ],
    }


def send(place: Place, frame: Ether) -> None:
    space = place.space.removesuffix("-gw") + "-net"
    argv = [sys.executable, "-c", SEND, "peer-up0", bytes(frame).hex()]
    subprocess.run(["ip", "netns", "exec", space, *argv], check=True)


def test_af_xdp_is_steered_without_a_privilege(place):
    """Its maps are filled by a process that may do nothing any more; 5000 addresses are few."""
    _, client = place.ready(place.settings(driver="af_xdp"))
    with client:
        mac = next(nic["mac"] for nic in client.nics() if nic["role"] == "uplink")
        owned = [be(0x0A000000 + i) for i in range(5000)]
        client.commit(owning(owned))
        for dst in (owned[0], owned[-1]):
            send(place, Ether(dst=mac) / IP(src="8.8.8.8", dst=socket.inet_ntoa(dst)) / ICMP())
        wait_until(lambda: client.drops().get("NO_DNAT") == 2, "both reach the path")
        client.commit(owning(owned[:1]))
        for dst in (owned[-1], owned[0]):
            send(place, Ether(dst=mac) / IP(src="8.8.8.8", dst=socket.inet_ntoa(dst)) / ICMP())
        wait_until(lambda: client.drops().get("NO_DNAT") == 3, "the one still owned does")
        assert client.totals()["rx"] == 3


def test_af_xdp_that_is_killed_leaves_the_kernel_alive(place):
    """No frame is sent into a dead socket: the kernel takes the program off with the process."""
    settings = place.settings(driver="af_xdp")
    process, client = place.ready(settings)
    theirs = place.space.removesuffix("-gw") + "-net"
    ip("-n", place.space, "addr", "add", "10.7.0.1/24", "dev", "up0")
    ip("-n", theirs, "addr", "add", "10.7.0.2/24", "dev", "peer-up0")
    ping = ["ip", "netns", "exec", theirs, "ping", "-c", "1", "-W", "5", "10.7.0.1"]
    with client:
        client.commit(owning([bytes([10, 7, 0, 9])]))
        subprocess.run(ping, check=True, capture_output=True)
        process.kill()
        process.wait()
        subprocess.run(ping, check=True, capture_output=True)
        again = place.start(settings)
        assert place.answers(client, again)
        subprocess.run(ping, check=True, capture_output=True)
        assert {nic["driver"] for nic in client.nics()} == {"af_xdp"}


def test_auto_says_what_it_took(place):
    """In the log, and in pcgctl's table."""
    settings = place.settings(driver="auto")
    process, client = place.ready(settings)
    with client:
        pcgctl = [sys.executable, "-m", "pcg.cli.pcgctl", "--datapath", settings["control"]]
        shown = subprocess.run([*pcgctl, "show", "nics"], capture_output=True, text=True).stdout
        assert shown.count("auto: driver XDP") == 2, shown
    process.terminate()
    said, _ = process.communicate(timeout=30)
    assert "up0: auto: driver XDP" in said
    assert "down0 (downlink, af_xdp), up0 (uplink, af_xdp)" in said


@DRIVERS
def test_pcgctl_shows_where_the_time_goes(place, driver):
    """Frames that come meanwhile are counted, those of its timed rounds part by part."""
    settings = place.settings(driver=driver)
    _, client = place.ready(settings)
    with client:
        mac = next(nic["mac"] for nic in client.nics() if nic["role"] == "uplink")
        owned = bytes([10, 99, 1, 11])
        client.commit(owning([owned]))
        frame = Ether(dst=mac) / IP(src="8.8.8.8", dst=socket.inet_ntoa(owned)) / ICMP()
        pcgctl = [sys.executable, "-m", "pcg.cli.pcgctl", "--datapath", settings["control"]]
        asked = [*pcgctl, "show", "performance", "--json", "--interval", "0.5"]
        with sending(place, frame):
            wait_until(lambda: client.totals()["rx"], "frames come")
            shown = json.loads(subprocess.check_output(asked))
        (worker,) = shown["workers"]
        assert sum(worker["bursts"].values()) > 0
        assert worker["packets"] >= sum(worker["bursts"].values())
        parts = {part["part"]: part for part in worker["parts"]}
        assert parts["rx"]["packets"] == worker["timed_packets"] > 0
        assert parts["session_lookup"]["packets"] == worker["timed_packets"]
        assert (parts["geneve_decap"]["packets"], parts["geneve_decap"]["cycles"]) == (0, None)
        assert 0 < worker["busy_share"] <= 1
        assert shown["occupancy"]["sessions"] == {"used": 0, "of": settings["sessions"]}
        assert shown["arena"]["file"] == settings["arena"]


@contextlib.contextmanager
def sending(place: Place, frame: Ether) -> Iterator[None]:
    """Until the block ends, as fast as one socket can."""
    space = place.space.removesuffix("-gw") + "-net"
    argv = [sys.executable, "-c", SEND_ON, "peer-up0", bytes(frame).hex()]
    process = subprocess.Popen(["ip", "netns", "exec", space, *argv])
    try:
        yield
    finally:
        process.kill()
        process.wait()


HUGE = 'mount -t tmpfs -o huge=within_size,mode=0755 arena "$0" && exec "$@"'


def test_the_arena_is_on_huge_pages_where_its_tmpfs_gives_them(place):
    """As configs/systemd/run-pcg-arena.mount mounts one; said in the log, and to pcgctl."""
    folder = place.folder / "arena"
    folder.mkdir()
    settings = place.settings(ports=MEM, arena=f"{folder}/pcg.arena")
    process = place.start(settings, "unshare", "--mount", "sh", "-c", HUGE, str(folder))
    with Client(settings["control"]) as client:
        place.answers(client, process)
        seen = client.arena_pages()
    assert seen["huge"] == seen["resident"] > 0
    process.terminate()
    said, _ = process.communicate(timeout=30)
    assert f"arena {folder}/pcg.arena: " in said
    assert "100 % of that on huge pages" in said


def test_bad_sizes_are_refused_by_name(place):
    assert "sessions" in place.refused(place.settings(sessions=5), code=2)


SEND = """
import socket, sys
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
wire.bind((sys.argv[1], 0))
wire.send(bytes.fromhex(sys.argv[2]))
"""


SEND_ON = """
import socket, sys
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
wire.bind((sys.argv[1], 0))
while True:
    wire.send(bytes.fromhex(sys.argv[2]))
"""


def test_pcgctl_tells_of_a_live_packet(place):
    """A stranger's ping to a public address that no rule takes: traced, counted, explained."""
    settings = place.settings()
    _, client = place.ready(settings)
    with client:
        secondary = bytes([10, 99, 1, 11])
        local = records.Local(bytes([10, 99, 0, 1]), 1, 1500, 9001, 1024, 65535, 1)
        public = records.Publics(1, 0, bytes([52, 1, 1, 1]), secondary, "eip-1")
        client.commit({"local": [local], "vrfs": [records.Vrfs(0, 0, 0, "v")], "publics": [public]})
        mac = next(nic["mac"] for nic in client.nics() if nic["role"] == "uplink")

        pcgctl = [sys.executable, "-m", "pcg.cli.pcgctl", "--datapath", settings["control"]]
        client.trace_start(TraceFilter(), 1)
        frame = Ether(dst=mac) / IP(src="8.8.8.8", dst="10.99.1.11") / ICMP()
        space = place.space.removesuffix("-gw") + "-net"
        send = [sys.executable, "-c", SEND, "peer-up0", bytes(frame).hex()]
        subprocess.run(["ip", "netns", "exec", space, *send], check=True)
        wait_until(lambda: client.drops().get("NO_DNAT"), "the ping is dropped")

        events = client.trace_read()
        assert [e["stage"] for e in events] == ["parse_uplink", "parse_inner", "session_lookup"]
        assert (events[-1]["verdict"], events[-1]["reason"]) == ("dropped", "NO_DNAT")
        asked = ["explain", "--src", "8.8.8.8", "--dst", "52.1.1.1", "--protocol", "icmp"]
        told = subprocess.run([*pcgctl, *asked], capture_output=True, text=True)
        assert "=> dropped: NO_DNAT" in told.stdout, told.stderr
        shown = subprocess.run([*pcgctl, "show", "drops"], capture_output=True, text=True)
        assert "NO_DNAT" in shown.stdout, shown.stderr
