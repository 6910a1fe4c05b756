"""pcgctl capture on a gateway that forwards: real packets, read by Wireshark's own reader."""

import contextlib
import json
import socket
import subprocess
from collections.abc import Iterator

import pytest

from pcg.lab import ns
from pcg.lab.clients import curl
from pcg.lab.lab import Lab
from pcg.lab.layout import HTTP, INTERNET
from tests.e2e.scrape import scraped
from tests.waiting import wait_until

FIELDS = ("frame.interface_name", "frame.packet_flags_direction", "frame.packet_id")
FIELDS += ("ip.src", "ip.dst", "tcp.dstport", "frame.comment")
IN, OUT = "0x00000001", "0x00000002"


def packets(path, *options: str) -> list[dict[str, str]]:
    """As tshark dissects them; of a tunnel's packet the inner addresses stand behind the outer."""
    argv = ["tshark", "-n", "-r", str(path), "-T", "fields", "-E", "separator=|", *options]
    argv += [word for field in FIELDS for word in ("-e", field)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return [dict(zip(FIELDS, line.split("|"), strict=True)) for line in done.stdout.splitlines()]


@contextlib.contextmanager
def capturing(lab: Lab, path, *args: str) -> Iterator[subprocess.Popen]:
    """Under way when the block begins, ended in order when it ends."""
    argv = lab.ask.argv("capture", "-w", str(path), *args)
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_until(lambda: path.exists() and path.stat().st_size, "the file's head")
            yield process
        finally:
            process.terminate()
            process.said = process.stderr.read()


def address(lab: Lab, workload: str) -> str:
    return lab.layout.port(workload).addresses[0]


def fetch(lab: Lab, workload: str = "web1") -> None:
    curl(lab.layout.workload_ns(workload), f"http://{INTERNET}:{HTTP}/")


def test_a_request_there_and_back_on_both_sides(lab: Lab, tmp_path):
    path, web1 = tmp_path / "x.pcapng", address(lab, "web1")
    asked = ("--inner", "--both", "host", web1, "and", "tcp", "port", str(HTTP))
    taken = "pcg_capture_packets_total", "uplink"
    before = scraped(lab)[taken]
    with capturing(lab, path, *asked) as process:
        assert scraped(lab)["pcg_capture_running",] == 1
        fetch(lab)
    after = scraped(lab)
    assert (after[taken] > before, after["pcg_capture_running",]) == (True, 0)
    assert "0 frames of" not in process.said
    assert "lost" not in process.said
    seen = packets(path)
    syn, left = seen[:2]
    assert (syn["frame.interface_name"], syn["frame.packet_flags_direction"]) == ("down0", IN)
    assert (left["frame.interface_name"], left["frame.packet_flags_direction"]) == ("up0", OUT)
    assert syn["frame.packet_id"] == left["frame.packet_id"]
    assert syn["ip.src"].split(",")[1] == web1
    assert left["ip.dst"] == INTERNET
    assert left["ip.src"] != web1
    (session,) = {p["frame.comment"].split("session ")[1].split(",")[0] for p in seen}
    held = {s["index"] for s in json.loads(lab.ask.text("show", "sessions", "--json"))}
    assert int(session) in held
    assert all("NAT rule" in p["frame.comment"] for p in seen)
    ways = {(p["frame.interface_name"], p["frame.packet_flags_direction"]) for p in seen}
    assert ways == {("down0", IN), ("down0", OUT), ("up0", IN), ("up0", OUT)}
    # what libpcap says of the file is what the path said of the frames
    again = packets(path, "-Y", f"ip.addr == {web1} && tcp.port == {HTTP}")
    assert len(again) == len([p for p in seen if p["frame.interface_name"] == "down0"]) > 0


def knock(lab: Lab) -> str:
    """A datagram from the Internet to a port that no rule takes; the address it arrives at."""
    elastic, secondary = lab.layout.public("eip-web")
    with ns.inside(lab.layout.ns("inet")), socket.socket(type=socket.SOCK_DGRAM) as udp:
        udp.sendto(b"anybody?", (elastic, 9))
    return secondary


def test_only_what_is_dropped_and_why(lab: Lab, tmp_path):
    path = tmp_path / "x.pcapng"
    with capturing(lab, path, "--drops", "udp", "port", "9"):
        fetch(lab)
        secondary = knock(lab)
        wait_until(lambda: b"dropped: " in path.read_bytes(), "the drop in the file")
    (packet,) = packets(path)
    assert (packet["ip.src"], packet["ip.dst"]) == (INTERNET, secondary)
    assert packet["frame.comment"].startswith("dropped: NO_DNAT (no session, and no NAT rule")


def test_live_into_a_pipe_that_somebody_closes(lab: Lab):
    """As `pcgctl capture -w - | wireshark -k -i -` does; and the next one may begin at once."""
    argv = lab.ask.argv("capture", "-w", "-", "--interface", "up0", "tcp")
    tshark = ["tshark", "-n", "-l", "-i", "-", "-c", "1", "-T", "fields", "-e", "frame.comment"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as capture:
        with subprocess.Popen(
            tshark, stdin=capture.stdout, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as reader:
            capture.stdout.close()
            while reader.poll() is None:
                fetch(lab)
            assert b"sent, " in reader.stdout.read()
        while capture.poll() is None:
            fetch(lab)
    assert "1 frames of" in said_by(lab, "capture", "--seconds", "30", "--count", "1")


def said_by(lab: Lab, *args: str) -> str:
    """What it prints on stderr, while packets pass."""
    argv = lab.ask.argv(*args)
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        while process.poll() is None:
            fetch(lab)
        return process.stderr.read().decode()


def test_a_bad_filter_says_where(lab: Lab):
    with pytest.raises(ns.CommandError, match=r"exit 2(.|\n)*column 9"):
        lab.ask.text("capture", "tcp and and udp")
