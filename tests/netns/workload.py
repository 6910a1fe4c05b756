"""A gateway whose segments have DHCP, all of it real: gateway, datapath and Kea; and workloads that
speak DHCP through Geneve, as scapy writes it.

namespace `peer`                            namespace `gw`
workloads, 10.0.2.21 - d1 -- veth -- down0  datapath <-> gateway (relay) <-> Kea of each VRF
"""

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.l2 import Ether

from pcg.datapath.client import Client
from pcg.gateway.control import ask
from pcg.model.dhcp import AddressRange, DhcpScope
from tests.c import wire
from tests.netns.dhcp import keas
from tests.netns.ports import Wire
from tests.netns.test_gateway_process import Place
from tests.unit.reconcile.examples import DESIRED, port
from tests.waiting import wait_until

NEAR, FAR = "10.0.2.21", "10.0.3.22"
GATEWAY, GATEWAY_MAC = "192.168.1.1", "02:00:00:00:00:0a"
ALL, EVERYBODY = "ff:ff:ff:ff:ff:ff", "255.255.255.255"
GENEVE_AT = 14 + 20 + 8
SEGMENTS = {"web": (101, NEAR), "other": (103, FAR)}  # VNI, TEP of our workloads there
_xids = itertools.count(1000)


def change(value, **more):
    return msgspec.structs.replace(value, **more)


def scope(name: str, vrf: str, first: str, last: str, **more) -> DhcpScope:
    pool = AddressRange(first=f"192.168.1.{first}", last=f"192.168.1.{last}")
    return DhcpScope(id=name, vrf=vrf, pools=(pool,), **more)


def dynamic(name: str, n: int, segment: str = "web"):
    return change(port(name, f"0.0.9.{n}", segment, SEGMENTS[segment][1]), addresses=())


SCOPES = scope("lan", "t1", "100", "103", dns=("10.9.9.9",)), scope("lan2", "t2", "100", "120")
SERVED = change(
    DESIRED,
    dhcp=SCOPES,
    segments=tuple(
        change(s, dhcp={"web": "lan", "other": "lan2"}.get(s.id)) for s in DESIRED.segments
    ),
    ports=(
        *DESIRED.ports,
        *(dynamic(f"vm-{n}", n) for n in range(1, 7)),
        *(dynamic(f"twin-{n}", n, "other") for n in range(1, 3)),
    ),
)


class Site:
    def __init__(self, wires, folder: Path) -> None:
        self.engines = Path(tempfile.mkdtemp(prefix="pcg-dhcp-"))
        self.engines.chmod(0o755)  # Kea goes through it as another user
        for name in ("up0", "down0"):
            wires.gw.run(f"ip link set {name} up")
        wires.peer.run(f"ip addr add {NEAR}/24 dev d1")
        self.place, self.wires = Place(wires, folder), wires
        settings = self.place._gateway() | {"dhcp": {"folder": str(self.engines)}}
        self.place._write("gateway", settings)
        self.wire = Wire(wires.peer, "d1")
        self.heard: list[Ether] = []

    def start(self, desired=SERVED) -> None:
        self.place.save(desired)
        self.place.start("datapath", "gateway")
        self.ready()

    def ready(self) -> None:
        self.place.wait_applied()
        wait_until(
            lambda: self.place.states().get("dhcp") == "applied",
            f"DHCP servers; last log:\n{self.place.log()[-2000:]}",
            60,
        )
        with self.client() as client:
            nics = {nic["role"]: nic["mac"] for nic in client.nics()}
            self.mac = nics["downlink"]

            def resolved():
                return all(rec.resolved for rec in client.read("teps"))

            wait_until(resolved, "the tunnel endpoints' MACs", 30)

    def client(self) -> Client:
        return Client(f"ipc://{self.place.folder}/datapath.sock")

    def leases(self) -> dict[tuple[str, str], dict]:
        rows = ask(self.place.control, "leases")
        return {(row["vrf"], row["address"]): row for row in rows}

    def wait_nobodys(self) -> None:
        """The datapath holds no leased address."""
        wait_until(lambda: not self.programmed(), "leased addresses being taken back")

    def programmed(self) -> set[tuple[int, str]]:
        """VNI and address of what the datapath holds beside the desired ports."""
        own = {a for p in DESIRED.ports for a in p.addresses}
        with self.client() as client:
            found = {(r.vni, ".".join(map(str, r.address_be))) for r in client.read("ports")}
        return {(vni, a) for vni, a in found if a not in own}

    def drops(self) -> dict[str, int]:
        with self.client() as client:
            return client.drops()

    def pcgctl(self, *words: str, code: int = 0) -> str:
        ends = "--datapath", f"ipc://{self.place.folder}/datapath.sock"
        ends += "--gateway", self.place.control
        done = subprocess.run(
            [sys.executable, "-m", "pcg.cli.pcgctl", *ends, *words], capture_output=True, text=True
        )
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    def listen(self) -> list[Ether]:
        """Inner frames that came since the start."""
        self.heard += [
            Ether(frame[GENEVE_AT + 8 + (frame[GENEVE_AT] & 63) * 4 :])
            for frame in self.wire.received()
            if frame[23] == 17 and frame[36:38] == (6081).to_bytes(2, "big")
        ]
        return self.heard

    def close(self) -> None:
        self.place.close()
        for process in keas(self.engines):
            os.kill(process, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(process, 0)
        self.wire.socket.close()
        shutil.rmtree(self.engines, ignore_errors=True)


class Reply:
    """A DHCP reply in its frame."""

    def __init__(self, frame: Ether) -> None:
        self.frame, self.ip, self.bootp = frame, frame[IP], frame[BOOTP]
        self.address = self.bootp.yiaddr
        self.options = {o[0]: o[1] for o in frame[DHCP].options if isinstance(o, tuple)}
        self.kind = {2: "offer", 5: "ack", 6: "nak"}[self.options["message-type"]]
        self.where = frame.dst, self.ip.dst


class Workload:
    def __init__(self, site: Site, name: str, desired=SERVED) -> None:
        (own,) = [p for p in desired.ports if p.id == name]
        self.site, self.mac, self.tep = site, own.mac, own.tep
        self.vni = SEGMENTS[own.segment][0]

    def send(self, packet, to: str = ALL) -> None:
        raw = wire.over(
            packet, self.vni, self.tep, self.mac, to, eth={"dst": self.site.mac},
            outer={"dst": "10.0.2.10"},
        )  # fmt: skip
        self.site.wire.send(raw)

    def say(self, kind, *options, src="0.0.0.0", dst=EVERYBODY, to=ALL, **fields) -> int:
        """A DHCP message; its xid."""
        xid = fields.pop("xid", None) or next(_xids)
        chaddr = bytes.fromhex(self.mac.replace(":", "")) + bytes(10)
        said = BOOTP(op=1, xid=xid, chaddr=chaddr, **fields)
        said /= DHCP(options=[("message-type", kind), *options, "end"])
        self.send(IP(src=src, dst=dst) / UDP(sport=68, dport=67) / said, to)
        return xid

    def answer(self, xid: int, what: str = "a DHCP reply", deadline_s: float = 20) -> Reply:
        def found():
            return [f for f in self.site.listen() if BOOTP in f and f[BOOTP].xid == xid]

        return Reply(wait_until(found, what, deadline_s)[0])

    def ask(self, kind, *options, **more) -> Reply:
        """Asked again now and then, as clients do, until there is an answer."""
        asked: list[int] = []

        def answered():
            asked.append(self.say(kind, *options, **more))
            with contextlib.suppress(AssertionError):
                return self.answer(asked[-1], deadline_s=2)
            return None

        return wait_until(answered, f"an answer to {kind}", 40)

    def lease(self, **more) -> Reply:
        offer = self.ask("discover", **more)
        assert offer.kind == "offer"
        wanted = ("requested_addr", offer.address), ("server_id", offer.options["server_id"])
        ack = self.ask("request", *wanted, **more)
        assert (ack.kind, ack.address) == ("ack", offer.address)
        return ack

    def pings(self, src: str, deadline_s: float = 10) -> bool:
        """Whether the gateway answers a ping from that address."""
        number = next(_xids) & 0xFFFF

        def echoed():
            self.send(IP(src=src, dst=GATEWAY) / ICMP(id=number, seq=1), GATEWAY_MAC)
            return any(ICMP in f and f[ICMP].id == number for f in self.site.listen())

        with contextlib.suppress(AssertionError):
            return wait_until(echoed, "an echo", deadline_s)
        return False
