"""Gateways for one place, the namespace of veth.py, each in `running()` while it forwards.

PCG             any of its drivers
Linux           nftables NAT; Geneve without the option, or VXLAN where it has no Geneve
Open vSwitch    in switch.py
"""

import contextlib
from collections.abc import Iterator

from bench import frames, veth, world
from bench.frames import Tunnel
from bench.rows import OURS
from bench.veth import GW, PLACE
from pcg.lab import ns

LINUX = "Linux, nftables"
GENEVE = Tunnel(world.OURS, frames.geneve(world.TRANSIT))
WORKLOADS = range(PLACE.workloads)
POOL = "10.201.0.0-10.201.0.31"  # PLACE's SNAT addresses


def text(address: bytes) -> str:
    return ".".join(map(str, address))


def colons(mac: bytes) -> str:
    return mac.hex(":")


def inside_range(i: int) -> str:
    """The workloads that DNAT rule i chooses from."""
    part = PLACE.workloads // PLACE.dnat_rules
    return f"{text(world.workload(i * part))}-{text(world.workload((i + 1) * part - 1))}"


class Pcg:
    system = OURS

    def __init__(self, driver: str, sessions: int) -> None:
        self.driver, self.sessions, self.tunnel = driver, sessions, GENEVE
        self.inner = world.GATEWAY_MAC

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        with veth.ruled(veth.DEAF), veth.gateway(self.driver, self.sessions):
            yield


# ---- Linux ----


class Linux:
    system, inner = LINUX, world.GATEWAY_MAC

    def __init__(self) -> None:
        self.driver = "geneve" if has_geneve() else "vxlan"
        if self.driver == "geneve":
            self.tunnel = Tunnel(world.OURS, frames.geneve(world.TRANSIT, option=b""))
        else:
            self.tunnel = Tunnel(world.OURS, frames.vxlan(world.TRANSIT), frames.VXLAN_PORT)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        try:
            ns.ip("\n".join(self._network()), GW)
            self._forwarding_table()
            with ns.inside(GW):
                ns.sysctl("net/ipv4/ip_forward", 1)
            ns.run("nft", "-f", "-", ns=GW, stdin=nat_rules())
            yield
        finally:
            ns.run("nft", "flush", "ruleset", ns=GW)
            ns.run("ip", "link", "del", "tun0", ns=GW, check=False)
            for device in ("up0", "down0"):
                ns.run("ip", "addr", "flush", "dev", device, ns=GW)
                ns.run("ip", "neigh", "flush", "nud", "permanent", "dev", device, ns=GW)

    def _network(self) -> Iterator[str]:
        hop = f"lladdr {colons(world.MAC)} nud permanent"
        yield from ("addr add 10.99.1.2/24 dev up0", f"addr add {text(world.OURS)}/24 dev down0")
        yield f"neigh replace {text(world.HOP)} dev up0 {hop}"
        yield f"route replace default via {text(world.HOP)} dev up0"
        yield "route replace 10.200.0.0/16 dev down0"
        for i in range(world.N_TEPS):
            yield f"neigh replace {text(world.tep(i))} dev down0 {hop}"
        local = f"local {text(world.OURS)}"
        kind = "geneve external" if self.driver == "geneve" else f"vxlan id {world.TRANSIT} {local}"
        port = "" if self.driver == "geneve" else f"dstport {frames.VXLAN_PORT} nolearning"
        yield f"link add tun0 address {colons(self.inner)} type {kind} {port}"
        yield "link set tun0 mtu 8943 up"
        yield "route replace 10.16.0.0/12 dev tun0"
        for w in WORKLOADS:
            at, mac = text(world.workload(w)), colons(PLACE.port(w).mac)
            if self.driver == "geneve":
                via = f"encap ip id {world.TRANSIT} dst {text(world.tep(w))}"
                yield f"route replace {at}/32 {via} dev tun0"
            yield f"neigh replace {at} dev tun0 lladdr {mac} nud permanent"

    def _forwarding_table(self) -> None:
        """Where each workload's frames go, with VXLAN."""
        if self.driver == "vxlan":
            lines = (
                f"fdb add {colons(PLACE.port(w).mac)} dev tun0 dst {text(world.tep(w))}"
                for w in WORKLOADS
            )
            ns.run("bridge", "-batch", "-", ns=GW, stdin="\n".join(lines) + "\n")


def has_geneve() -> bool:
    try:
        ns.ip("link add pcgb-try type geneve id 1 remote 192.0.2.1")
    except ns.CommandError:
        return False
    ns.ip("link del pcgb-try")
    return True


def nat_rules() -> str:
    """nftables: SNAT from a pool, DNAT to ranges, as PCG's rules have it."""
    inwards = "\n".join(
        f'    iifname "up0" ip daddr {text(PLACE.dialled(i))} dnat to {inside_range(i)}'
        for i in range(PLACE.dnat_rules)
    )
    return f"""
table ip pcgb {{
  chain pre {{ type nat hook prerouting priority -100;
{inwards}
  }}
  chain post {{ type nat hook postrouting priority 100;
    oifname "up0" snat to {POOL}
  }}
}}
"""
