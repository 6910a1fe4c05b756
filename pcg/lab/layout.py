"""Names and addresses of one lab. Written once; fabric, hosts and checks all look here.

What the gateway is told (segments, ports, TEPs) is not repeated: it is read from the same desired
state that the controller serves. Here is only what lies around it.
"""

from dataclasses import dataclass
from pathlib import Path

from pcg.model.desired import Desired, Port, Segment, Transit

ROOT = Path(__file__).resolve().parents[2]  # the checkout
CONFIGS = ROOT / "configs"
RUNS = Path("/run/pcg-lab")  # one folder per lab: keys, sockets, logs, pidfiles
PREFIX = "pcg-"  # of the lab that `make demo` and `make lab-up` raise

UNDERLAY_MTU = 9001
INTERNET_MTU = 1500
OVERLAY_MTU = 8943
ETHERNET_MTU = 1500  # an interface's that has not been told another

INTERNET = "198.51.100.9"  # the internet host, and a second address of it
INTERNET_OTHER = "198.51.100.10"
ELASTIC = "203.0.113.0/24"
HTTP = 8080  # on the internet host and on workloads
SSH = 22

CONTROLLER = "10.99.0.2"
VPC_ROUTER = {"a": ("10.99.2.1", "06:17:1e:00:fa:01"), "b": ("10.99.3.1", "06:17:1e:00:fb:01")}
UPLINK_ROUTER = ("10.99.1.1", "06:17:1e:00:f1:01")
PCG_MACS = {"up0": "06:17:1e:00:01:01", "down0": "06:17:1e:00:01:02", "mgmt0": "06:17:1e:00:01:03"}
STRANGER = ("10.99.2.66", "06:17:1e:00:66:66")  # in the VPC, but no tunnel endpoint

DISTRIBUTED = ("h1", "h2", "h3", "h5", "h6", "h7")  # route at the source
BARE = ("h4", "h8")  # send everything off their subnets to the gateway
PROBE = "probe"


@dataclass(frozen=True)
class Site:
    """An Open vSwitch host: its place in the underlay."""

    name: str
    number: int
    tep: str
    bare: bool = False

    @property
    def zone(self) -> str:
        return "a" if self.tep.startswith("10.99.2.") else "b"

    @property
    def mac(self) -> str:
        return f"06:17:1e:00:10:{self.number:02x}"


@dataclass(frozen=True)
class Layout:
    """One lab: the prefix of its namespaces, its folder, and the desired state it starts from."""

    prefix: str
    desired: Desired

    @property
    def run(self) -> Path:
        return RUNS / self.prefix.strip("-")

    @property
    def arena(self) -> Path:
        return Path("/dev/shm") / f"{self.prefix}lab.arena"

    def ns(self, part: str) -> str:
        return self.prefix + part

    def workload_ns(self, port_id: str) -> str:
        """nsx-root of the host the port starts on. It stays the workload's when that moves."""
        return self.ns(f"{self.site_of(self.port(port_id)).name}-nsx-root")

    def sites(self) -> list[Site]:
        hosts = DISTRIBUTED + BARE
        found = [t for t in self.desired.teps if t.owner in hosts]
        return [Site(t.owner, int(t.owner[1:]), t.address, t.owner in BARE) for t in found]

    def site_of(self, port: Port) -> Site:
        return next(s for s in self.sites() if s.tep == port.tep)

    def probe_tep(self) -> str:
        return next(t.address for t in self.desired.teps if t.owner == PROBE)

    def port(self, port_id: str) -> Port:
        return next(p for p in self.desired.ports if p.id == port_id)

    def leasing(self) -> list[Port]:
        """Ports on hosts that get their address by DHCP."""
        teps = {s.tep for s in self.sites()}
        return [p for p in self.desired.ports if not p.addresses and p.tep in teps]

    def segment(self, segment_id: str) -> Segment:
        return next(s for s in self.desired.segments if s.id == segment_id)

    def public(self, public_id: str) -> tuple[str, str]:
        """The Elastic IP and our secondary address."""
        found = next(p for p in self.desired.public_addresses if p.id == public_id)
        return found.address, found.secondary[self.desired.gateway.id]


def transit_of(desired: Desired, vrf: str) -> Transit:
    return next(v.transit for v in desired.vrfs if v.id == vrf)


def underlay_mac(layout: Layout, address: str) -> str:
    """Who answers ARP for a TEP that is on the same underlay link."""
    if address == layout.desired.gateway.tep:
        return PCG_MACS["down0"]
    return next(s.mac for s in layout.sites() if s.tep == address)
