"""The bench's DHCP clients, against a server made of scapy: what they say, and what they accept."""

import json
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from bench import dhcp, dhcp_change, dhcp_place, frames
from pcg.lab import ns

TEP, OURS = "10.99.2.10", "02:00:00:00:00:10"
CLIENTS, SEGMENTS = 8, 2
KINDS = {1: "offer", 3: "ack"}


def gateway(i: int) -> str:
    return dhcp_place.segment(i // (CLIENTS // SEGMENTS)).gateway


@dataclass
class Answer:
    vni: int
    options: list
    flipped: int = 0  # bits of the last byte, after the checksum was made


def other_vni(answer: Answer) -> None:
    answer.vni += 1


def other_server(answer: Answer) -> None:
    answer.options[1] = ("server_id", "10.0.0.1")


def no_server(answer: Answer) -> None:
    del answer.options[1]


def option_82(answer: Answer) -> None:
    answer.options.insert(2, ("relay_agent_information", b"\1\1x"))


def checksum(answer: Answer) -> None:
    answer.flipped = 1


class Server:
    """Answers every client; with `spoil`, the first answer to client i is wrong in the i-th way."""

    def __init__(self, device: socket.socket, mac: str) -> None:
        self.socket, self.mac = device, mac
        self.heard: list[tuple[IP, int, Ether]] = []
        self.spoil: list[Callable[[Answer], None]] = []
        self.spoiled: set[int] = set()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        while True:
            try:
                frame = Ether(self.socket.recv(4096))
            except TimeoutError:
                continue
            except OSError:
                return
            if UDP not in frame or frame[UDP].dport != frames.GENEVE_PORT:
                continue
            payload = bytes(frame[UDP].payload)
            vni, inner = int.from_bytes(payload[4:7]), Ether(payload[16:])
            self.heard.append((frame[IP], vni, inner))
            self._answer(frame[IP].src, vni, inner)

    def _answer(self, tep: str, vni: int, asked: Ether) -> None:
        i = asked[BOOTP].xid & 0xFFFFF
        kind = dict(o[:2] for o in asked[DHCP].options if isinstance(o, tuple))["message-type"]
        address = f"{gateway(i).removesuffix('.1')}.{10 + i}"
        made = Answer(vni, [("message-type", KINDS[kind]), ("server_id", gateway(i)), "end"])
        if self.spoil and i not in self.spoiled:
            self.spoil[i % len(self.spoil)](made)
            self.spoiled.add(i)
        answer = (
            Ether(src="02:00:00:00:00:07", dst=asked.src)
            / IP(src=gateway(i), dst=address)
            / UDP(sport=67, dport=68)
            / BOOTP(op=2, xid=asked[BOOTP].xid, yiaddr=address, chaddr=asked[BOOTP].chaddr)
            / DHCP(options=made.options)
        )
        inner = bytes(answer)[:-1] + bytes([bytes(answer)[-1] ^ made.flipped])
        tunnelled = frames.geneve(made.vni) + inner
        outer = frames.udp(*map(packed, (TEP, tep)), 50000, frames.GENEVE_PORT, tunnelled)
        self.socket.send(frames.ethernet(bytes.fromhex(self.mac.replace(":", "")), bytes(6), outer))


def packed(address: str) -> bytes:
    return bytes(map(int, address.split(".")))


@pytest.fixture
def server() -> Iterator[Server]:
    space = f"pcgt{os.getpid()}-dhcp"
    ns.make(space)
    try:
        ns.ip("link add d1 type veth peer name down0 address " + OURS, space)
        ns.ip("link set d1 up\nlink set down0 up", space)
        ns.no_offloads(space, "d1", "down0")
        with ns.inside(space):
            device = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
        device.bind(("down0", 0x0800))
        device.settimeout(0.1)
        mac = json.loads(ns.run("ip", "-j", "link", "show", "d1", ns=space))[0]["address"]
        made = Server(device, mac)
        made.space = space
        yield made
        device.close()
        made.thread.join(5)
    finally:
        ns.run("ip", "netns", "del", space)


def run(server: Server, *phases: str) -> list[dict]:
    dhcp.build()
    argv = ["ip", "netns", "exec", server.space, str(dhcp.PROGRAM), "d1", TEP, OURS]
    argv += [str(CLIENTS), str(SEGMENTS), *phases]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_client_boots_and_renews(server):
    boot, renew = run(server, "boot:0.1", "renew:100:0.2")
    assert (boot["started"], boot["done"], boot["wrong"]) == (CLIENTS, CLIENTS, 0)
    assert boot["ms"]["50"] > 0
    assert renew["done"] == renew["started"] > 0
    assert renew["wrong"] == 0


def test_what_clients_say_is_what_the_gateway_is_told(server):
    run(server, "boot:0.1", "renew:100:0.2")
    place = {p.mac: p for p in dhcp_place.desired(CLIENTS, SEGMENTS).ports}
    first = [(outer, vni, inner) for outer, vni, inner in server.heard if inner.dst != OURS]
    for outer, vni, inner in first:
        port = place[inner.src]
        assert port.tep == outer.src
        assert vni == dhcp_place.segment(int(port.segment[1:])).vni
        assert inner[BOOTP].chaddr[:6].hex(":") == inner.src
        again = IP(bytes(inner[IP]))
        del again.chksum, again[UDP].chksum
        assert bytes(IP(bytes(again))) == bytes(inner[IP])
    renewals = [inner for _, _, inner in server.heard if inner[BOOTP].ciaddr != "0.0.0.0"]
    assert renewals
    for inner in renewals:
        assert inner[IP].src == inner[BOOTP].ciaddr
        assert inner[IP].dst == gateway(inner[BOOTP].xid & 0xFFFFF)
    assert {inner.dst for _, _, inner in first if inner not in renewals} == {"ff:ff:ff:ff:ff:ff"}


def test_a_wrong_answer_is_no_lease(server):
    """What was answered wrongly is asked again, and then right."""
    server.spoil = [other_vni, other_server, no_server, option_82, checksum]
    (boot,) = run(server, "boot:0.1")
    assert len(server.spoiled) == CLIENTS > len(server.spoil)
    assert (boot["wrong"], boot["resent"], boot["done"]) == (CLIENTS, CLIENTS, CLIENTS)
    assert boot["ms"]["50"] >= 3000  # RFC 2131 section 4.1: 4 seconds, one less or more


def test_whole_exchanges_go_on_in_a_window(server):
    (turns,) = run(server, "turns:4:1.5")
    assert turns["done"] == turns["started"] > CLIENTS
    assert turns["wrong"] == 0


def test_the_dns_of_an_answer():
    options = bytes((53, 1, 2, 6, 4, 10, 99, 0, 2, 255))
    frame = bytes(dhcp_change.OUTER + dhcp_change.OPTIONS_AT - 4) + dhcp_change.COOKIE + options
    assert dhcp_change.dns(frame) == packed("10.99.0.2")
    assert dhcp_change.dns(frame[:-5]) == packed("10.99.0.2")[:0]
    assert dhcp_change.dns(b"") == b""
