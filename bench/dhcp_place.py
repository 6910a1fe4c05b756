"""A gateway with scopes, its programs running, between two veths: see dhcp.py.

client i      MAC 02:05 and i, on segment i / CLIENTS per segment, behind TEP i % N_TEPS
segment s     VNI 20000 + s, 10.128.s.0/24 (s from 256 on: 10.129.0.0 and so on)
TEP           10.98.0.1 on, behind the wire's end, which is their router
others        workloads with addresses of their own, on a segment without a scope
"""

import contextlib
import fcntl
import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec

from bench import world
from pcg.lab import ns
from pcg.lab.ask import Ask, unsettled
from pcg.lab.lab import example, lock
from pcg.lab.layout import CONTROLLER, Layout
from pcg.lab.programs import PLACES, Programs, until
from pcg.lab.sweep import sweep
from pcg.model import desired as d
from pcg.model.dhcp import AddressRange, DhcpScope

CLIENTS, SEGMENTS, N_TEPS, OTHERS = 10_000, 100, 100, 64
FIRST_VNI, OTHERS_VNI = 20_000, 19_999
TEPS, SUBNETS, OTHER_NET = 0x0A62_0001, 0x0A80_0000, 0x0AC0_0000
ROUTER, UPLINK_ROUTER, MTU = "10.99.2.1/24", "10.99.1.1/24", 9001
STARTED_S = 180.0


def text(number: int) -> str:
    return ".".join(map(str, number.to_bytes(4)))


def tep(i: int) -> str:
    return text(TEPS + i % N_TEPS)


def mac(i: int) -> str:
    return (0x0205_0000_0000 + i).to_bytes(6).hex(":")


def segment(s: int) -> d.Segment:
    net = SUBNETS + 256 * s
    return d.Segment(
        id=f"s{s}",
        vrf="t1",
        vni=FIRST_VNI + s,
        subnet=f"{text(net)}/24",
        gateway=text(net + 1),
        gateway_mac=world.GATEWAY_MAC.hex(":"),
        dhcp=f"s{s}",
    )


def scope(s: int) -> DhcpScope:
    net = SUBNETS + 256 * s
    return DhcpScope(
        id=f"s{s}",
        vrf="t1",
        pools=(AddressRange(first=text(net + 10), last=text(net + 250)),),
        lease_s=3600,
        gateway=text(net + 1),
        dns=("10.99.0.2",),
        domain="bench.example.com",
        mtu=8943,
    )


def desired(clients: int, segments: int) -> d.Desired:
    """The example's gateway in another place."""
    found = example()
    per = clients // segments
    ports = [
        d.Port(id=f"p{i}", segment=f"s{i // per}", mac=mac(i), addresses=(), tep=tep(i))
        for i in range(clients)
    ]
    ports += [
        d.Port(
            id=f"o{i}",
            segment="others",
            mac=(0x0206_0000_0000 + i).to_bytes(6).hex(":"),
            addresses=(text(OTHER_NET + 10 + i),),
            tep=tep(i),
        )
        for i in range(OTHERS)
    ]
    other = d.Segment(
        id="others",
        vrf="t1",
        vni=OTHERS_VNI,
        subnet=f"{text(OTHER_NET)}/24",
        gateway=text(OTHER_NET + 1),
        gateway_mac=world.GATEWAY_MAC.hex(":"),
    )
    return d.Desired(
        schema=found.schema,
        gateway=found.gateway,
        vrfs=tuple(v for v in found.vrfs if v.id == "t1"),
        teps=tuple(d.Tep(address=tep(i)) for i in range(N_TEPS)),
        segments=(other, *(segment(s) for s in range(segments))),
        ports=tuple(ports),
        routes=(d.Route(vrf="t1", prefix="0.0.0.0/0", next_hop="10.99.1.1"),),
        public_addresses=tuple(p for p in found.public_addresses if p.id == "eip-t1"),
        nat=(
            d.Nat(
                id="out",
                vrf="t1",
                action=d.NatAction.SNAT,
                match=d.Match(source=("10.128.0.0/9",)),
                translated=("eip-t1",),
            ),
        ),
        dhcp=tuple(scope(s) for s in range(segments)),
    )


def prefer(pids: list[int]) -> None:
    """Their sessions before what else runs on this machine, as machine.py has it for the others."""
    for pid in pids:
        with contextlib.suppress(OSError):  # a kernel without such groups; a process that ended
            Path(f"/proc/{pid}/autogroup").write_text("-20")


class Place:
    """One gateway with its programs; `raised` is the way to have one."""

    others_vni = OTHERS_VNI

    def __init__(self, clients: int, segments: int) -> None:
        self.layout = Layout(f"pcgb-dhcp{os.getpid()}-", desired(clients, segments))
        self.programs = Programs(self.layout)
        self.ask = Ask(self.programs)
        self.tep_text = self.layout.desired.gateway.tep
        self.tep = bytes(map(int, self.tep_text.split(".")))

    @classmethod
    @contextlib.contextmanager
    def raised(cls, clients: int = CLIENTS, segments: int = SEGMENTS) -> Iterator["Place"]:
        place = cls(clients, segments)
        prefix = place.layout.prefix
        place.layout.run.mkdir(parents=True)
        held = lock(prefix)
        try:
            place.wire()
            place.start()
            prefer([*ns.pids(place.layout.ns("pcg")), *ns.pids(place.layout.ns("svc"))])
            yield place
        finally:
            place.programs.stop()
            sweep(prefix)
            if held:
                fcntl.flock(held, fcntl.LOCK_UN)
                held.close()

    def wire(self) -> None:
        for part in ("wire", "pcg", "svc"):
            ns.make(self.layout.ns(part))
        wire, pcg, svc = (self.layout.ns(p) for p in ("wire", "pcg", "svc"))
        for ours, theirs, space in (("up0", "u1", wire), ("down0", "d1", wire)):
            ns.ip(
                f"link add {ours} netns {pcg} mtu {MTU} type veth peer name {theirs} netns {space}"
            )
            ns.ip(f"link set {theirs} mtu {MTU} up", space)
            ns.no_offloads(space, theirs)
        ns.ip(f"link add mgmt0 netns {pcg} type veth peer name mgmt0 netns {svc}")
        management = self.layout.desired.gateway.interfaces.management
        ns.ip(f"addr add {CONTROLLER}/24 dev mgmt0\nlink set mgmt0 up", svc)
        ns.ip(f"addr add {management.addresses[0]} dev mgmt0\nlink set mgmt0 up", pcg)
        ns.ip(f"addr add {ROUTER} dev d1\naddr add {UPLINK_ROUTER} dev u1", wire)

    def start(self) -> None:
        self.programs.prepare()
        self.publish(self.layout.desired)
        for program in PLACES:
            self.programs.start(program)

        def ready() -> bool:
            for name in self.programs.dead():
                raise RuntimeError(f"{name} ended:\n{self.programs.log(name)}")
            return not unsettled(self.ask.realised(), "controller")

        until("the gateway realising its desired state", ready, STARTED_S, 0.2)

    def publish(self, desired: d.Desired) -> float:
        """The moment it was there. JSON is YAML too, and is read six times as fast."""
        path = self.layout.run / "desired" / f"{desired.gateway.id}.yaml"
        aside = path.with_suffix(".new")
        aside.write_text(json.dumps(msgspec.to_builtins(desired)))
        os.replace(aside, path)
        return time.monotonic()

    def lost(self) -> Counter[tuple[str, str]]:
        """Who ended packets and why: `pcgctl drops`, and what did not fit a UDP socket."""
        rows = json.loads(self.ask.text("drops", "--json"))
        found: Counter[tuple[str, str]] = Counter()
        for row in rows:
            found[row["source"], row["reason"]] += row["packets"]
        lines = ns.run("cat", "/proc/net/udp", ns=self.layout.ns("pcg")).splitlines()[1:]
        full = sum(int(line.split()[-1]) for line in lines)
        found["socket", "full"] = full
        return +found

    def mac(self, device: str) -> bytes:
        found = ns.run("ip", "-j", "link", "show", device, ns=self.layout.ns("pcg"))
        return bytes.fromhex(json.loads(found)[0]["address"].replace(":", ""))

    def other(self, i: int) -> bytes:
        return (OTHER_NET + 10 + i).to_bytes(4)

    def other_tep(self, i: int) -> bytes:
        return (TEPS + i % N_TEPS).to_bytes(4)
