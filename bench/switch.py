"""Open vSwitch 3.1 of Debian as a gateway: userspace datapath, Geneve, ct(nat), over any ports.

    br-phy: down0 (1), LOCAL with our TEP           br-int: up0 (1), gnv (2)

Its daemons, database and sockets are its own: no other Open vSwitch of the machine notices.
"""

import contextlib
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

from bench import gateways, machine, veth, world
from bench.gateways import GENEVE, colons, text
from bench.veth import GW, PLACE
from pcg.lab import ns
from pcg.lab.flows import OPTION, TLV_MAP
from pcg.lab.ovs import PROTOCOLS, Ovs, add_port
from pcg.lab.programs import until

SWITCH = "Open vSwitch"
UP, TUNNEL, DOWN = 1, 2, 1  # ofports
ROUTER = "10.99.0.254"  # of the underlay, towards the TEPs
DPDK = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk"  # never the machine's alternative
DPDK_MIB = 1536  # 262,144 buffers, which it likes best, and the rest


class Bridges(Ovs):
    """Both bridges and their flows; what is behind up0 and down0 is the subclass's."""

    system, tunnel, inner = SWITCH, GENEVE, world.GATEWAY_MAC

    def __init__(self, folder: Path) -> None:
        super().__init__(GW, folder / "ovs")

    def settings(self) -> tuple[str, ...]:
        return ()

    @contextlib.contextmanager
    def switching(self, down: bytes, up: bytes) -> Iterator[None]:
        """Until the end, with these MACs of its two interfaces."""
        try:
            self.daemons(*self.settings())
            self._bridges(down, up)
            yield
        finally:
            self._stop()

    def _bridges(self, down: bytes, up: bytes) -> None:
        bridge = ("datapath_type=netdev", "fail_mode=secure", PROTOCOLS)
        mac = f'other_config:hwaddr="{colons(down)}"'
        tunnel = ("type=geneve", "options:remote_ip=flow", "options:key=flow", "options:csum=true")
        self.vsctl(
            *("add-br", "br-phy", "--", "set", "bridge", "br-phy", *bridge, mac),
            *("--", "add-br", "br-int", "--", "set", "bridge", "br-int", *bridge),
            *("--", "set", "interface", "br-phy", f"mtu_request={veth.MTU}"),
            *add_port("br-int", "gnv", TUNNEL, *tunnel),
        )
        self.ofctl("add-tlv-map", "br-int", TLV_MAP)
        wires = f"in_port={DOWN},actions=LOCAL\nin_port=LOCAL,actions=output:{DOWN}\n"
        self.ofctl("replace-flows", "br-phy", "-", stdin=wires)
        self.ofctl("replace-flows", "br-int", "-", stdin="\n".join(flows(colons(up))) + "\n")
        ns.ip(f"addr add {text(world.OURS)}/24 dev br-phy\nlink set br-phy up", GW)
        ns.ip(f"route replace 10.200.0.0/16 via {ROUTER} dev br-phy", GW)  # it wants a next hop
        self.appctl("tnl/neigh/set", "br-phy", ROUTER, colons(world.MAC))

    def pid(self, name: str = "ovs-vswitchd") -> int:
        return int((self.dir / f"{name}.pid").read_text())

    def prefer(self) -> None:
        """The weight that our own process has."""
        Path(f"/proc/{self.pid()}/autogroup").write_text("-20")

    def _stop(self) -> None:
        """Both daemons, however far they came."""
        names = [n for n in ("ovs-vswitchd", "ovsdb-server") if (self.dir / f"{n}.pid").exists()]
        pids = [self.pid(name) for name in names]
        for name, pid in zip(names, pids, strict=True):
            if name == "ovs-vswitchd":
                self.appctl("exit", "--cleanup")
            else:
                os.kill(pid, signal.SIGTERM)
        until("Open vSwitch's end", lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
        shutil.rmtree(self.dir, ignore_errors=True)


class Switch(Bridges):
    """Over the veths, by AF_PACKET as Open vSwitch has it."""

    driver = "af_packet"

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        self.deaf("up0", "down0")
        try:
            with self.switching(veth.mac("down0"), veth.mac("up0")):
                self.vsctl(
                    *add_port("br-phy", "down0", DOWN, *self.device(0, "down0"))[1:],
                    *add_port("br-int", "up0", UP, *self.device(1, "up0")),
                )
                self.prefer()
                self.pin()
                yield
        finally:
            ns.run("nft", "delete", "table", "netdev", "pcg_lab", ns=GW)

    def pin(self) -> None:
        for task in Path(f"/proc/{self.pid()}/task").iterdir():
            os.sched_setaffinity(int(task.name), {machine.cores()[0]})

    def device(self, _number: int, _name: str) -> tuple[str, ...]:
        return ()


class Dpdk(Bridges):
    """With DPDK, its polling thread on the gateway's core, in the memory that a process gets."""

    vswitchd = DPDK

    def settings(self) -> tuple[str, ...]:
        """Huge pages are the machine's to give; `--no-huge` needs none, and says so in the row."""
        eal = f"--legacy-mem --no-huge -m {DPDK_MIB} --no-pci --no-shconf --no-telemetry"
        return (
            "other_config:dpdk-init=true",
            f"other_config:dpdk-extra={eal}",
            f"other_config:dpdk-lcore-mask={1 << machine.cores()[-1]:#x}",
            f"other_config:pmd-cpu-mask={1 << machine.cores()[0]:#x}",
            "other_config:max-idle=100000",  # ms: no flow is forgotten between two parts
        )

    def daemons(self, *settings: str) -> None:
        if not Path(DPDK).exists():
            raise RuntimeError("openvswitch-switch-dpdk is not installed: `make setup`")
        self.env["RUNTIME_DIRECTORY"] = str(self.dir)  # where DPDK keeps its files
        try:
            super().daemons(*settings)
        except ns.CommandError as error:
            raise RuntimeError(self.why(str(error))) from None
        if self.vsctl("get", "Open_vSwitch", ".", "dpdk_initialized").strip() != "true":
            raise RuntimeError(self.why())

    def why(self, otherwise: str = "Open vSwitch with DPDK did not start") -> str:
        """What its log says of its failure, if it has one."""
        log = self.dir / "ovs-vswitchd.log"
        lines = log.read_text().splitlines() if log.exists() else []
        bad = [line.rpartition("|")[2] for line in lines if "|ERR|" in line or "|EMER|" in line]
        return "; ".join(bad) or otherwise


class DpdkSwitch(Dpdk, Switch):
    """Over the veths, by DPDK's AF_PACKET driver: a polling thread instead of waking up."""

    driver = "dpdk af_packet"

    def pin(self) -> None:
        """DPDK has: what polls is on the gateway's core, what does not is elsewhere."""

    def device(self, number: int, name: str) -> tuple[str, ...]:
        return "type=dpdk", f"options:dpdk-devargs=net_af_packet{number},iface={name}"


def flows(up: str) -> Iterator[str]:
    """br-int, whose uplink has the MAC `up`: known TEP and source, ct(nat), route; and back."""
    hop = colons(world.MAC)
    north = f"set_field:{up}->eth_src,set_field:{hop}->eth_dst,dec_ttl,output:{UP}"
    new = f"ct(commit,zone=1,nat(src={gateways.POOL}),table=11)"
    yield f"table=10,priority=100,ip,ct_state=+trk+est,actions={north}"
    yield f"table=10,priority=90,ip,ct_state=+trk+new,actions={new}"
    yield f"table=11,priority=90,ip,actions={north}"
    replies = f"table=0,priority=80,ip,in_port={UP},nw_dst=10.201.0.0/27"
    yield f"{replies},actions=ct(zone=1,nat,table=30)"
    for i in range(PLACE.dnat_rules):
        at = f"nw_dst={text(PLACE.dialled(i))}"
        yield f"table=0,priority=90,ip,in_port={UP},{at},actions=ct(zone=2,nat,table=20)"
        commit = f"ct(commit,zone=2,nat(dst={gateways.inside_range(i)}),table=30)"
        yield f"table=20,priority=90,ip,ct_state=+trk+new,{at},actions={commit}"
    # a flow without a reply stays new; its destination is translated by then
    yield "table=20,priority=80,ip,ct_state=+trk+new,actions=resubmit(,30)"
    yield "table=20,priority=100,ip,ct_state=+trk+est,actions=resubmit(,30)"
    for w in gateways.WORKLOADS:
        port, tep = PLACE.port(w), text(world.tep(w))
        source = f"tun_id={world.TRANSIT},tun_src={tep},nw_src={text(port.address_be)}"
        yield f"table=0,priority=90,ip,in_port={TUNNEL},{source},actions=ct(zone=1,nat,table=10)"
        yield (
            f"table=30,priority=90,ip,nw_dst={text(port.address_be)},"
            f"actions=set_field:{colons(world.GATEWAY_MAC)}->eth_src,"
            f"set_field:{colons(port.mac)}->eth_dst,dec_ttl,set_field:{port.vni}->tun_id,"
            f"set_field:7->{OPTION},set_field:{tep}->tun_dst,output:{TUNNEL}"
        )
