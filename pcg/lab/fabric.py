"""The cloud around the gateway: internet, Internet gateway, VPC, management network.

    inet e0 9001 -- hop -- 1500 -- igw -- vpc0 9001 -- up0 [pcg] down0 -- vpc br-a, br-b
                                                      mgmt0 -- mgmt0 svc

igw maps each Elastic IP 1:1 to a secondary uplink address. Its nftables maps are stateful: the
stateless form leaves the packet inside ICMP errors as it is, and path MTU discovery dies of it.
vpc holds the underlay bridges of both zones and routes between them, as a VPC's router does.
"""

from pcg.lab import ns
from pcg.lab.layout import (
    CONTROLLER,
    ELASTIC,
    INTERNET,
    INTERNET_MTU,
    INTERNET_OTHER,
    PCG_MACS,
    STRANGER,
    UNDERLAY_MTU,
    UPLINK_ROUTER,
    VPC_ROUTER,
    Layout,
)

IGW = """
table ip igw {{
  map to_private {{ type ipv4_addr : ipv4_addr; elements = {{ {to_private} }} }}
  map to_elastic {{ type ipv4_addr : ipv4_addr; elements = {{ {to_elastic} }} }}
  set associated {{ type ipv4_addr; elements = {{ {associated} }} }}
  chain prerouting {{
    type nat hook prerouting priority dstnat;
    iifname "inet0" dnat to ip daddr map @to_private
  }}
  chain forward {{
    type filter hook forward priority filter;
    oifname "inet0" ct state new ip saddr != @associated drop
    iifname "inet0" ct state new ct status ! dnat drop
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat;
    oifname "inet0" snat to ip saddr map @to_elastic
  }}
}}
"""

# Answers to crafted frames end here: a closed port's ICMP would disturb what is being counted.
PROBE_DEAF = """
table inet pcg_lab {
  chain in { type filter hook input priority 0; udp dport 6081 drop; }
}
"""


def build(layout: Layout) -> None:
    """Everything but the Open vSwitch hosts."""
    for part in ("inet", "svc", "pcg", "probe"):
        ns.make(layout.ns(part))
    for part in ("hop", "igw", "vpc"):
        ns.make(layout.ns(part), forward=True)
    _internet(layout)
    _uplink(layout)
    _management(layout)
    _underlay(layout)
    _probe(layout)


def _pair(
    layout: Layout, one: str, other: str, mtu: int, mac: str = "", other_mac: str = ""
) -> None:
    """A veth between two parts; each end is "part:device"."""
    (ns_a, dev_a), (ns_b, dev_b) = one.split(":"), other.split(":")
    ns_a, ns_b = layout.ns(ns_a), layout.ns(ns_b)
    a = f"netns {ns_a} mtu {mtu}" + (f" address {mac}" if mac else "")
    b = f"netns {ns_b} mtu {mtu}" + (f" address {other_mac}" if other_mac else "")
    ns.ip(f"link add {dev_a} {a} type veth peer name {dev_b} {b}")
    for space, device in ((ns_a, dev_a), (ns_b, dev_b)):
        ns.ip(f"link set {device} up", space)
        if space != layout.ns("pcg"):  # its own are the gateway's to set
            ns.no_offloads(space, device)


def _internet(layout: Layout) -> None:
    _pair(layout, "inet:e0", "hop:e0", UNDERLAY_MTU)
    _pair(layout, "hop:igw0", "igw:inet0", INTERNET_MTU)
    ns.ip(
        f"""addr add {INTERNET}/24 dev e0
            addr add {INTERNET_OTHER}/24 dev e0
            route add default via 198.51.100.1""",
        layout.ns("inet"),
    )
    ns.ip(
        f"""addr add 198.51.100.1/24 dev e0
            addr add 192.0.2.1/30 dev igw0
            route add {ELASTIC} via 192.0.2.2""",
        layout.ns("hop"),
    )


def _uplink(layout: Layout) -> None:
    """The Internet gateway and the VPC's router on the uplink's subnet are one here."""
    router, mac = UPLINK_ROUTER
    uplink = layout.desired.gateway.interfaces.uplink.addresses[0].split("/")[0]
    _pair(layout, "igw:vpc0", "pcg:up0", UNDERLAY_MTU, mac, PCG_MACS["up0"])
    routed = [s.subnet for s in layout.desired.segments if s.routed]
    ns.ip(
        f"""addr add 192.0.2.2/30 dev inet0
            addr add {router}/24 dev vpc0
            route add default via 192.0.2.1"""
        + "".join(f"\nroute add {subnet} via {uplink}" for subnet in routed),
        layout.ns("igw"),
    )
    pairs = [layout.public(p.id) for p in layout.desired.public_addresses]
    rules = IGW.format(
        to_private=", ".join(f"{elastic} : {private}" for elastic, private in pairs),
        to_elastic=", ".join(f"{private} : {elastic}" for elastic, private in pairs),
        associated=", ".join(private for _, private in pairs),
    )
    ns.run("nft", "-f", "-", ns=layout.ns("igw"), stdin=rules)


def _management(layout: Layout) -> None:
    """mgmt0 has its address from the start, as a cloud's first interface does."""
    management = layout.desired.gateway.interfaces.management
    _pair(layout, "svc:mgmt0", "pcg:mgmt0", management.mtu, other_mac=PCG_MACS["mgmt0"])
    ns.ip(f"addr add {CONTROLLER}/24 dev mgmt0", layout.ns("svc"))
    ns.ip(f"addr add {management.addresses[0]} dev mgmt0", layout.ns("pcg"))


def _underlay(layout: Layout) -> None:
    vpc = layout.ns("vpc")
    for zone, (address, mac) in VPC_ROUTER.items():
        ns.ip(
            f"""link add br-{zone} mtu {UNDERLAY_MTU} address {mac} type bridge
                addr add {address}/24 dev br-{zone}
                link set br-{zone} up""",
            vpc,
        )
        ns.no_offloads(vpc, f"br-{zone}")
    _pair(layout, "vpc:pcg", "pcg:down0", UNDERLAY_MTU, other_mac=PCG_MACS["down0"])
    ns.plug(vpc, "br-a", "pcg", PCG_MACS["down0"])


def _probe(layout: Layout) -> None:
    """Where crafted frames come from: a known TEP's address, and a stranger's."""
    address, mac = STRANGER
    _pair(layout, "vpc:probe", "probe:eth0", UNDERLAY_MTU, other_mac=mac)
    ns.plug(layout.ns("vpc"), "br-a", "probe", mac)
    ns.ip(
        f"""addr add {layout.probe_tep()}/24 dev eth0
            addr add {address}/24 dev eth0
            route add default via {VPC_ROUTER["a"][0]}""",
        layout.ns("probe"),
    )
    ns.run("nft", "-f", "-", ns=layout.ns("probe"), stdin=PROBE_DEAF)
