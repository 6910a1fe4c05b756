"""A workload host: Open vSwitch in a namespace, laid out as NSX Cloud's agent does it.

    nsx-switch    eth0 (1)  nsx-vtep0.0 (2, the TEP address)  nsx-switch- (3, patch)
    nsx-managed   nsx-switch+ (3, patch)  nsx-eth0-peer (4)  geneve<decimal TEP> ports
    nsx-root      namespace with nsx-eth0, the workload's interface, MTU 8943

The kernel of its namespace hears nothing: it would answer for what is Open vSwitch's.
"""

import contextlib

from pcg.lab import flows, ns
from pcg.lab.layout import (
    ETHERNET_MTU,
    OVERLAY_MTU,
    UNDERLAY_MTU,
    VPC_ROUTER,
    Layout,
    Site,
    underlay_mac,
)
from pcg.lab.ovs import PROTOCOLS, Ovs, add_port
from pcg.model.desired import Desired


class Host(Ovs):
    """One host. `start` raises it, `program` writes its flows, `attach` gives it a workload."""

    def __init__(self, layout: Layout, site: Site) -> None:
        self.layout, self.site = layout, site
        self.root_ns = layout.ns(f"{site.name}-nsx-root")
        super().__init__(layout.ns(site.name), layout.run / site.name)

    def start(self) -> None:
        """Device, daemons, bridges, tunnels. Flows come with `program`."""
        self._wire()
        self.daemons()
        self._bridges()
        self._tunnels()
        self._address()

    def _wire(self) -> None:
        """eth0 comes from the fabric's bridge of its zone; the workload's pair is made here."""
        for name in (self.ns, self.root_ns):
            ns.make(name)
        site, vpc = self.site, self.layout.ns("vpc")
        ns.ip(
            f"""link add eth0 netns {self.ns} mtu {UNDERLAY_MTU} address {site.mac} \
                type veth peer name {site.name} netns {vpc} mtu {UNDERLAY_MTU}"""
        )
        ns.plug(vpc, f"br-{site.zone}", site.name, site.mac)
        ns.ip("link set eth0 up", self.ns)
        ns.no_offloads(self.ns, "eth0")
        ns.no_offloads(vpc, site.name)
        self.deaf("eth0")

    def _bridges(self) -> None:
        bridge = ("datapath_type=netdev", "fail_mode=secure", PROTOCOLS)
        vtep = ("type=internal", f'mac="{self.site.mac}"', f"mtu_request={UNDERLAY_MTU}")
        hwaddr = f'other_config:hwaddr="{self.site.mac}"'
        self.vsctl(
            *("add-br", "nsx-switch", "--", "set", "bridge", "nsx-switch", *bridge, hwaddr),
            *("--", "add-br", "nsx-managed", "--", "set", "bridge", "nsx-managed", *bridge),
            *add_port("nsx-switch", "eth0", 1),
            *add_port("nsx-switch", "nsx-vtep0.0", 2, *vtep),
            *add_port("nsx-switch", "nsx-switch-", 3, "type=patch", "options:peer=nsx-switch+"),
            *add_port("nsx-managed", "nsx-switch+", 3, "type=patch", "options:peer=nsx-switch-"),
        )

    def _tunnels(self) -> None:
        """To every TEP that speaks, the gateway's first."""
        desired = self.layout.desired
        peers = [desired.gateway.tep] + [t.address for t in desired.teps]
        words: list[str] = []
        for tep in peers:
            if tep == self.site.tep:
                continue
            options = ("options:key=flow", 'options:csum="true"', "options:tos=inherit")
            remote = f'options:remote_ip="{tep}"'
            name, number = flows.tunnel_name(tep), flows.tunnel_port(tep)
            words += add_port("nsx-managed", name, number, "type=geneve", remote, *options)
        self.vsctl(*words[1:])
        self.ofctl("add-tlv-map", "nsx-managed", flows.TLV_MAP)
        wires = "in_port=1,actions=output:2\nin_port=2,actions=output:1\n"
        self.ofctl("replace-flows", "nsx-switch", "-", stdin=wires)

    def _address(self) -> None:
        """The TEP address, the way to the other zone, and neighbours: no first packet waits."""
        router, router_mac = VPC_ROUTER[self.site.zone]
        ns.ip(
            f"""addr add {self.site.tep}/24 dev nsx-vtep0.0
                link set nsx-vtep0.0 up
                route add default via {router}""",
            self.ns,
        )
        near = self.site.tep.rsplit(".", 1)[0]
        known = {router: router_mac}
        for tep in [self.layout.desired.gateway.tep] + [s.tep for s in self.layout.sites()]:
            if tep.startswith(near) and tep != self.site.tep:
                known[tep] = underlay_mac(self.layout, tep)
        for address, mac in known.items():
            self.appctl("tnl/neigh/set", "nsx-switch", address, mac)

    def workload(self) -> None:
        """nsx-eth0 of the port that lives here: its MAC, its address, its router. Of one that has
        its address by DHCP the MAC alone, with Ethernet's MTU until it is told a larger one."""
        port = next((p for p in self.layout.desired.ports if p.tep == self.site.tep), None)
        if port is None:
            return
        mtu = OVERLAY_MTU if port.addresses else ETHERNET_MTU
        ns.ip(
            f"link add nsx-eth0 netns {self.root_ns} mtu {mtu} address {port.mac} "
            f"type veth peer name nsx-eth0-peer netns {self.ns} mtu {OVERLAY_MTU}"
        )
        ns.ip("link set nsx-eth0 up", self.root_ns)
        segment = self.layout.segment(port.segment)
        length = segment.subnet.split("/")[1]
        for address in port.addresses[:1]:
            ns.ip(
                f"""addr add {address}/{length} dev nsx-eth0
                    route add default via {segment.gateway}""",
                self.root_ns,
            )
        ns.no_offloads(self.root_ns, "nsx-eth0")
        with ns.inside(self.root_ns):  # a move takes the carrier away for a moment: ask again soon
            ns.sysctl("net/ipv4/neigh/nsx-eth0/retrans_time_ms", 50)
            ns.sysctl("net/ipv4/neigh/nsx-eth0/mcast_solicit", 20)
        self.attach()

    def attach(self) -> None:
        """Take nsx-eth0-peer, which is in our namespace, into nsx-managed.

        It comes up last: the workload's first ARP request finds everything in place.
        """
        ns.no_offloads(self.ns, "nsx-eth0-peer")
        self.deaf("eth0", "nsx-eth0-peer")
        self.vsctl(*add_port("nsx-managed", "nsx-eth0-peer", flows.WORKLOAD)[1:])
        ns.ip("link set nsx-eth0-peer up", self.ns)

    def detach(self, to: "Host") -> None:
        """Give nsx-eth0-peer to another host's namespace; the workload keeps nsx-eth0 as it is."""
        self.vsctl("del-port", "nsx-managed", "nsx-eth0-peer")
        ns.ip(f"link set nsx-eth0-peer netns {to.ns}", self.ns)

    def program(self, desired: Desired) -> None:
        """All flows of nsx-managed at once."""
        text = "\n".join(flows.flows(desired, self.site)) + "\n"
        with contextlib.suppress(OSError):
            (self.dir / "flows.txt").write_text(text)
        self.ofctl("--bundle", "replace-flows", "nsx-managed", "-", stdin=text)
