"""Three gateways for one place, the namespace of veth.py, each in `running()` while it forwards.

PCG             any of its drivers
Linux           nftables NAT; Geneve without the option, or VXLAN where it has no Geneve
Open vSwitch    3.1 of Debian, userspace datapath over AF_PACKET, Geneve + ct(nat)
"""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from bench import frames, machine, veth, world
from bench.frames import Tunnel
from bench.rows import OURS
from bench.veth import GW, PLACE
from pcg.lab import ns
from pcg.lab.flows import OPTION, TLV_MAP
from pcg.lab.ovs import PROTOCOLS, Ovs, add_port
from pcg.lab.programs import until

LINUX, SWITCH = "Linux, nftables", "Open vSwitch"
GENEVE = Tunnel(world.OURS, frames.geneve(world.TRANSIT))
WORKLOADS = range(PLACE.workloads)
POOL = "10.201.0.0-10.201.0.31"  # PLACE's SNAT addresses
UP, TUNNEL = 1, 2  # ofports
ROUTER = "10.99.0.254"  # of the underlay, towards the TEPs


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
        ns.run("nft", "-f", "-", ns=GW, stdin=veth.DEAF)
        with veth.gateway(self.driver, self.sessions):
            yield
        ns.run("nft", "delete", "table", "netdev", "pcgb", ns=GW)


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
        ns.ip("\n".join(self._network()), GW)
        with ns.inside(GW):
            ns.sysctl("net/ipv4/ip_forward", 1)
        ns.run("nft", "-f", "-", ns=GW, stdin=nat_rules())
        yield
        ns.run("nft", "flush", "ruleset", ns=GW)
        ns.ip("link del tun0\naddr flush dev up0\naddr flush dev down0", GW)
        for device in ("up0", "down0"):
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

    def prepared(self) -> None:
        """Where each workload's frames go: VXLAN's forwarding table."""
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


# ---- Open vSwitch ----


class Switch(Ovs):
    system, driver, tunnel, inner = SWITCH, "af_packet", GENEVE, world.GATEWAY_MAC

    def __init__(self, folder: Path) -> None:
        super().__init__(GW, folder)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        self.deaf("up0", "down0")
        self.daemons()
        mac = f'other_config:hwaddr="{colons(veth.mac("down0"))}"'
        bridge = ("datapath_type=netdev", "fail_mode=secure", PROTOCOLS)
        tunnel = ("type=geneve", "options:remote_ip=flow", "options:key=flow", "options:csum=true")
        self.vsctl(
            *("add-br", "br-phy", "--", "set", "bridge", "br-phy", *bridge, mac),
            *("--", "add-br", "br-int", "--", "set", "bridge", "br-int", *bridge),
            *("--", "set", "interface", "br-phy", f"mtu_request={veth.MTU}"),
            *add_port("br-phy", "down0", 1),
            *add_port("br-int", "up0", UP),
            *add_port("br-int", "gnv", TUNNEL, *tunnel),
        )
        self.ofctl("add-tlv-map", "br-int", TLV_MAP)
        wires = "in_port=1,actions=LOCAL\nin_port=LOCAL,actions=output:1\n"
        self.ofctl("replace-flows", "br-phy", "-", stdin=wires)
        self.ofctl(
            "replace-flows", "br-int", "-", stdin="\n".join(flows(colons(veth.mac("up0")))) + "\n"
        )
        ns.ip(f"addr add {text(world.OURS)}/24 dev br-phy\nlink set br-phy up", GW)
        ns.ip(f"route replace 10.200.0.0/16 via {ROUTER} dev br-phy", GW)  # it wants a next hop
        self.appctl("tnl/neigh/set", "br-phy", ROUTER, colons(world.MAC))
        pid = self._pid("ovs-vswitchd")
        Path(f"/proc/{pid}/autogroup").write_text("-20")  # as our own process has
        for task in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), {machine.cores()[0]})
        yield
        self._stop()

    def _pid(self, name: str) -> int:
        return int((self.dir / f"{name}.pid").read_text())

    def _stop(self) -> None:
        pids = [self._pid(name) for name in ("ovs-vswitchd", "ovsdb-server")]
        self.appctl("exit", "--cleanup")
        os.kill(pids[1], signal.SIGTERM)
        until("Open vSwitch's end", lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
        ns.run("nft", "delete", "table", "netdev", "pcg_lab", ns=GW)
        for file in self.dir.iterdir():
            file.unlink()


def flows(up: str) -> Iterator[str]:
    """br-int, whose uplink has the MAC `up`: known TEP and source, ct(nat), route; and back."""
    hop = colons(world.MAC)
    north = f"set_field:{up}->eth_src,set_field:{hop}->eth_dst,dec_ttl,output:{UP}"
    new = f"ct(commit,zone=1,nat(src={POOL}),table=11)"
    yield f"table=10,priority=100,ip,ct_state=+trk+est,actions={north}"
    yield f"table=10,priority=90,ip,ct_state=+trk+new,actions={new}"
    yield f"table=11,priority=90,ip,actions={north}"
    replies = f"table=0,priority=80,ip,in_port={UP},nw_dst=10.201.0.0/27"
    yield f"{replies},actions=ct(zone=1,nat,table=30)"
    for i in range(PLACE.dnat_rules):
        at = f"nw_dst={text(PLACE.dialled(i))}"
        yield f"table=0,priority=90,ip,in_port={UP},{at},actions=ct(zone=2,nat,table=20)"
        commit = f"ct(commit,zone=2,nat(dst={inside_range(i)}),table=30)"
        yield f"table=20,priority=90,ip,ct_state=+trk+new,{at},actions={commit}"
    # a flow without a reply stays new; its destination is translated by then
    yield "table=20,priority=80,ip,ct_state=+trk+new,actions=resubmit(,30)"
    yield "table=20,priority=100,ip,ct_state=+trk+est,actions=resubmit(,30)"
    for w in WORKLOADS:
        port, tep = PLACE.port(w), text(world.tep(w))
        source = f"tun_id={world.TRANSIT},tun_src={tep},nw_src={text(port.address_be)}"
        yield f"table=0,priority=90,ip,in_port={TUNNEL},{source},actions=ct(zone=1,nat,table=10)"
        yield (
            f"table=30,priority=90,ip,nw_dst={text(port.address_be)},"
            f"actions=set_field:{colons(world.GATEWAY_MAC)}->eth_src,"
            f"set_field:{colons(port.mac)}->eth_dst,dec_ttl,set_field:{port.vni}->tun_id,"
            f"set_field:7->{OPTION},set_field:{tep}->tun_dst,output:{TUNNEL}"
        )
