"""Two gateways for one place: PCG, and its peer, Open vSwitch in userspace (af_packet).

Both do the same work: Geneve with our option, source check, routing, SNAT to the secondary address,
replies back into the tunnel. DNAT is left out of the peer; no figure needs it. The peer's pipeline:

    0 gnv: known TEP and source -> ct(nat) -> 10 est: route, out of up0
                                              10 new: ct(commit, nat) -> 11 route, out of up0
    0 up0: our address -> ct(nat) -> 30 est, rel: route, into the tunnel
    0 up0: ARP for our address is answered
"""

import os
import shutil
import signal
import socket
from pathlib import Path
from typing import Protocol

from pcg.lab import ns
from pcg.lab.clients import ping_once
from pcg.lab.flows import OPTION, TLV_MAP, arp_answer
from pcg.lab.lab import Lab
from pcg.lab.layout import (
    INTERNET,
    PCG_MACS,
    STRANGER,
    UNDERLAY_MTU,
    UPLINK_ROUTER,
    Layout,
    transit_of,
)
from pcg.lab.ovs import PROTOCOLS, Ovs, add_port
from pcg.lab.programs import until
from pcg.model.desired import Desired, Port

UP, TUNNEL = 1, 2  # ofports of br-int
MADE_BY = 7  # what the gateway writes into the option's label
SNAT_RULE = "out-t1"  # the rule of the example that the peer does too
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33  # asm-generic/socket.h; Python has no names for them
BUFFER = 8 << 20  # bytes; the kernel doubles it
DAEMONS = ("ovs-vswitchd", "ovsdb-server")


class Gateway(Protocol):
    """Who forwards for its turn. `pid` is the process that does it, for its CPU time."""

    name: str

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def pid(self) -> int: ...


class Pcg:
    name = "PCG"

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    def start(self) -> None:
        self.lab.start_programs()

    def stop(self) -> None:
        self.lab.programs.stop()

    def pid(self) -> int:
        return self.lab.programs.pid("datapath")


class OvsGateway(Ovs):
    """Takes up0 and down0 of PCG's namespace. What PCG left in the kernel there (addresses, its
    nft tables) is taken away or made to no effect, and PCG puts it back at its next start."""

    name = "OVS"

    def __init__(self, layout: Layout) -> None:
        super().__init__(layout.ns("pcg"), layout.run / "ovs-gateway")
        self.layout = layout

    def start(self) -> None:
        for device in ("up0", "down0"):
            ns.run("ip", "address", "flush", "dev", device, ns=self.ns)
            ns.no_offloads(self.ns, device)
        self.deaf("up0", "down0")
        shutil.rmtree(self.dir, ignore_errors=True)
        self.daemons()
        self._bridges()
        desired = self.layout.desired
        self.ofctl("add-tlv-map", "br-int", TLV_MAP)
        wires = "in_port=1,actions=LOCAL\nin_port=LOCAL,actions=output:1\n"
        self.ofctl("replace-flows", "br-phy", "-", stdin=wires)
        self.ofctl("replace-flows", "br-int", "-", stdin="\n".join(flows(desired)) + "\n")
        ns.ip(f"addr add {desired.gateway.tep}/24 dev br-phy\nlink set br-phy up", self.ns)
        known = {s.tep: s.mac for s in self.layout.sites() if s.zone == "a"}
        for tep, mac in {**known, self.layout.probe_tep(): STRANGER[1]}.items():
            self.appctl("tnl/neigh/set", "br-phy", tep, mac)
        ping_once(self.layout.workload_ns("web1"), INTERNET)  # opens its socket for sending
        self._buffers()

    def _buffers(self) -> None:
        """As large as PCG's. With the 208 KiB that the kernel gives, it loses what comes or goes
        while another process has the core, and TCP slows down: the peer would look worse."""
        sockets = ns.run("cat", "/proc/net/packet", ns=self.ns).splitlines()[1:]
        inodes = {f"socket:[{line.split()[-1]}]" for line in sockets}
        for fd in Path(f"/proc/{self.pid()}/fd").iterdir():
            if os.readlink(fd) in inodes:
                with ns.borrowed(self.pid(), int(fd.name)) as packets:
                    for option in (SO_SNDBUFFORCE, SO_RCVBUFFORCE):
                        packets.setsockopt(socket.SOL_SOCKET, option, BUFFER)

    def _bridges(self) -> None:
        mac = f'other_config:hwaddr="{PCG_MACS["down0"]}"'
        bridge = ("datapath_type=netdev", "fail_mode=secure", PROTOCOLS)
        tunnel = ("type=geneve", "options:remote_ip=flow", "options:key=flow", "options:csum=true")
        self.vsctl(
            *("add-br", "br-phy", "--", "set", "bridge", "br-phy", *bridge, mac),
            *("--", "add-br", "br-int", "--", "set", "bridge", "br-int", *bridge),
            *("--", "set", "interface", "br-phy", f"mtu_request={UNDERLAY_MTU}"),
            *add_port("br-phy", "down0", 1),
            *add_port("br-int", "up0", UP),
            *add_port("br-int", "gnv", TUNNEL, *tunnel),
        )

    def stop(self) -> None:
        pids = [self._pid(name) for name in DAEMONS]
        self.appctl("exit", "--cleanup")  # its bridges' devices go too: PCG wants the address
        os.kill(pids[-1], signal.SIGTERM)
        until("Open vSwitch's end", lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
        ns.run("nft", "delete", "table", "netdev", "pcg_lab", ns=self.ns)

    def _pid(self, name: str) -> int:
        return int((self.dir / f"{name}.pid").read_text())

    def pid(self) -> int:
        return self._pid("ovs-vswitchd")


def flows(desired: Desired) -> list[str]:
    """br-int of the peer, for the VRF of the rule `SNAT_RULE`; pure, text out."""
    rule = next(r for r in desired.nat if r.id == SNAT_RULE)
    public = next(p for p in desired.public_addresses if p.id == rule.translated[0])
    address = public.secondary[desired.gateway.id]
    segments = {s.id: s for s in desired.segments if s.vrf == rule.vrf}
    ports = [p for p in desired.ports if p.segment in segments and p.addresses]
    out = [
        f"table=0,priority=100,arp,in_port={UP},arp_op=1,arp_tpa={address},"
        f"actions={arp_answer(PCG_MACS['up0'], address)}",
        f"table=0,priority=90,ip,in_port={UP},nw_dst={address},actions=ct(zone=1,nat,table=30)",
        f"table=10,priority=100,ip,ct_state=+trk+est,actions={_north()}",
        f"table=10,priority=90,ip,ct_state=+trk+new,"
        f"actions=ct(commit,zone=1,nat(src={address}),table=11)",
        f"table=11,priority=90,ip,actions={_north()}",
    ]
    for port in ports:
        vnis = (transit_of(desired, rule.vrf).vni, segments[port.segment].vni)
        out += [_entry(port, vni) for vni in vnis]
        out += [_south(desired, port, state) for state in ("+est", "+rel")]
    return out


def _entry(port: Port, vni: int) -> str:
    """From a known TEP, with a source that lives behind it."""
    return (
        f"table=0,priority=90,ip,in_port={TUNNEL},tun_id={vni},tun_src={port.tep},"
        f"nw_src={port.addresses[0]},actions=ct(zone=1,nat,table=10)"
    )


def _north() -> str:
    mac, router = PCG_MACS["up0"], UPLINK_ROUTER[1]
    return f"set_field:{mac}->eth_src,set_field:{router}->eth_dst,dec_ttl,output:{UP}"


def _south(desired: Desired, port: Port, state: str) -> str:
    segment = next(s for s in desired.segments if s.id == port.segment)
    return (
        f"table=30,priority=90,ip,ct_state=+trk{state},nw_dst={port.addresses[0]},"
        f"actions=set_field:{segment.gateway_mac}->eth_src,set_field:{port.mac}->eth_dst,dec_ttl,"
        f"set_field:{segment.vni}->tun_id,set_field:{MADE_BY}->{OPTION},"
        f"set_field:{port.tep}->tun_dst,output:{TUNNEL}"
    )
