"""One desired state for all tests of this folder: two VRFs of one prefix, each kind of rule."""

from pcg.model import desired as d

A, B = "02:00:00:00:00:0a", "02:00:00:00:00:0b"


def interface(name: str, address: str, gateway: str = "") -> d.Interface:
    return d.Interface(name=name, addresses=(f"{address}/24",), mtu=9001, gateway=gateway)


GATEWAY = d.Gateway(
    id="gw-a",
    tep="10.0.2.10",
    interfaces=d.Interfaces(
        uplink=interface("up0", "10.0.1.10", "10.0.1.1"),
        downlink=interface("down0", "10.0.2.10", "10.0.2.1"),
        management=interface("mgmt0", "10.0.0.10"),
    ),
)


def segment(name: str, vrf: str, vni: int, subnet: str, **more) -> d.Segment:
    gateway = subnet.replace(".0/24", ".1")
    return d.Segment(
        id=name, vrf=vrf, vni=vni, subnet=subnet, gateway=gateway, gateway_mac=A, **more
    )


def port(name: str, address: str, segment: str = "web", tep: str = "10.0.2.21") -> d.Port:
    mac = "06:00:00:00:" + ":".join(f"{int(b):02x}" for b in address.split(".")[2:])
    return d.Port(id=name, segment=segment, mac=mac, addresses=(address,), tep=tep)


def public(name: str, vrf: str, last: int) -> d.PublicAddress:
    return d.PublicAddress(
        id=name, vrf=vrf, address=f"203.0.113.{last}", secondary={"gw-a": f"10.0.1.{last}"}
    )


def ports(*numbers: int) -> tuple[d.PortRange, ...]:
    return tuple(d.PortRange(first=n, last=n) for n in numbers)


DNAT = d.Nat(
    id="web-in",
    vrf="t1",
    action=d.NatAction.DNAT,
    match=d.Match(
        destination=("eip-web",), protocol=d.Protocol.TCP, destination_ports=ports(80, 443)
    ),
    translated=("192.168.1.8", "192.168.1.9"),
)
SNAT = d.Nat(
    id="out",
    vrf="t1",
    action=d.NatAction.SNAT,
    priority=200,
    match=d.Match(source=("192.168.1.0/24", "192.168.2.0/24")),
    translated=("eip-out",),
)
RULE = d.FirewallRule(
    id="no-telnet",
    action=d.FirewallAction.DROP,
    direction=d.Direction.IN,
    services=(d.Service(protocol=d.Protocol.TCP, destination_ports=ports(23)),),
)
DESIRED = d.Desired(
    gateway=GATEWAY,
    vrfs=(d.Vrf(id="t1", transit=d.Transit(vni=900, gateway_mac=B)), d.Vrf(id="t2")),
    teps=(d.Tep(address="10.0.2.21"), d.Tep(address="10.0.3.22", options=())),
    segments=(
        segment("web", "t1", 101, "192.168.1.0/24"),
        segment("app", "t1", 102, "192.168.2.0/24", routed=True),
        segment("other", "t2", 103, "192.168.1.0/24"),
    ),
    ports=(
        port("web1", "192.168.1.8"),
        port("web2", "192.168.1.9"),
        port("twin", "192.168.1.8", "other", "10.0.3.22"),
    ),
    routes=(
        d.Route(vrf="t1", prefix="0.0.0.0/0", next_hop="10.0.1.1"),
        d.Route(vrf="t1", prefix="100.64.0.0/10", blackhole=True),
        d.Route(vrf="t1", prefix="10.50.0.0/16", segment="app"),
    ),
    public_addresses=(
        public("eip-out", "t1", 11),
        public("eip-web", "t1", 12),
        public("eip-t2", "t2", 13),
    ),
    nat=(SNAT, DNAT),
    firewall=d.Firewall(
        sections=(d.FirewallSection(id="s", vrf="t1", rules=(RULE,)),),
        default_in=d.FirewallAction.DROP,
    ),
)
