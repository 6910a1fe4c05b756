"""The records of one gateway, as the backends get them, asked one by one: whose an address is, by
which way one is reached, what a rule's ports are.
"""

from ipaddress import IPv4Address, IPv4Network

from pcg.reconcile import records as r
from tests.oracle.routes import longest
from tests.oracle.rules import covers

DNAT, SNAT, REFLEXIVE, NO_SNAT, NO_DNAT = range(5)
UPLINK, SEGMENT, BLACKHOLE = range(3)


def num(address: bytes) -> int:
    return int.from_bytes(address)


def place_of(port: r.Ports) -> tuple[int, int]:
    """What sessions remember of a workload's port, wherever it moves."""
    return port.vrf, num(port.address_be)


class Records:
    def __init__(self, policy: dict[str, list], ports, teps, nexthops, clients=()) -> None:
        self.local: r.Local = policy["local"][0]
        self.vrfs = {vrf.index: vrf for vrf in policy["vrfs"]}
        self.segments = {seg.vni: seg for seg in policy["segments"]}
        self.publics = {pub.index: pub for pub in policy["publics"]}
        self.secondary = {num(pub.secondary_be): pub for pub in policy["publics"]}
        self.elastic = {num(pub.address_be): pub for pub in policy["publics"]}
        self.nat, self.firewall = policy["nat"], policy["firewall"]
        self.members = policy.get("members", [])
        self.timeouts = {rule.id: rule.timeouts for rule in self.nat}
        self.resets = {rule.id: rule.reset for rule in self.nat}
        self.routes = {vrf: [] for vrf in self.vrfs}
        for row in policy["routes"]:
            self.routes[row.vrf].append((IPv4Network((row.prefix_be, row.prefix_len)), row))
        self.routed = [
            (IPv4Network((seg.subnet_be, seg.prefix_len)), seg.vrf)
            for seg in policy["segments"]
            if seg.flags & 1 and not seg.kind
        ]
        self.ports = {(port.vrf, num(port.address_be)): port for port in ports}
        self.clients = {(client.vni, client.mac): num(client.tep_be) for client in clients}
        self.teps = {num(tep.address_be): tep for tep in teps}
        self.nexthops = {num(hop.address_be): hop for hop in nexthops}
        self.doors = [door for rule in self.nat for door in self._doors(rule)]

    def _doors(self, rule: r.Nat) -> list[tuple[r.Match, r.Nat, int]]:
        """Inwards: what a rule matches, and the place in the pool that it stands for."""
        if rule.action in (DNAT, NO_DNAT):
            return [(rule.match, rule, 0)]
        if rule.action != REFLEXIVE:
            return []
        peer = {"src_be": rule.match.dst_be, "src_len": rule.match.dst_len, "dst_len": 32}
        pool = [self.publics[i].secondary_be for i in rule.pool[: rule.n_pool]]
        return [(r.Match(dst_be=at, **peer), rule, i) for i, at in enumerate(pool)]

    def range_of(self, rule: r.Nat) -> tuple[int, int]:
        if rule.port_first:
            return rule.port_first, rule.port_last
        return self.local.port_first, self.local.port_last

    def promised(self, pub: r.Publics, port: int) -> bool:
        """A DNAT rule for some of its ports: none of those is ever drawn. For all ports: none is
        promised, since replies are sessions."""
        return any(
            rule.action == DNAT
            and rule.match.dst_len == 32
            and rule.match.dst_be == pub.secondary_be
            and (rule.match.dport_first, rule.match.dport_last) != r.ANY_PORTS
            and rule.match.dport_first <= port <= rule.match.dport_last
            for rule in self.nat
        )

    def route(self, vrf: int, dst: int) -> r.Routes | None:
        return longest(self.routes[vrf], IPv4Address(dst))

    def everybody(self, vrf: int, dst: int) -> bool:
        """Of a segment's subnet all ones; all zeros is as old (RFC 1812 section 4.2.3.1)."""
        route = self.route(vrf, dst)
        seg = self.segments.get(route.vni) if route and route.kind == SEGMENT else None
        net = IPv4Network((seg.subnet_be, seg.prefix_len)) if seg else None
        ends = (net.network_address, net.broadcast_address) if net and net.prefixlen < 31 else ()
        return IPv4Address(dst) in ends

    def outwards(self, vrf: int, dst: int) -> tuple | None:
        """Only what the VRF would send by the uplink is turned round there."""
        route = self.route(vrf, dst)
        if not route or route.kind != UPLINK:
            return None
        if dst in self.elastic:
            return ("hairpin",)
        hop = num(route.next_hop_be)
        return ("hop", hop) if hop in self.nexthops else None

    def owner(self, dst: int) -> int | None:
        """Whose VRF is an address on the uplink: a public address, or in a routed segment."""
        if dst in self.secondary:
            return self.secondary[dst].vrf
        return longest(self.routed, IPv4Address(dst))

    def forged(self, vrf: int, src: int) -> bool:
        """RFC 2827: by the uplink nobody speaks as us, or as one of the VRF's segments."""
        route = self.route(vrf, src)
        ours = src in self.elastic or src in self.secondary
        return ours or bool(route and route.kind == SEGMENT)

    def source_fits(self, port: r.Ports, tep: int, vni: int) -> bool:
        """DESIGN 6.5: a port of that TEP; on a segment's own VNI also of that segment."""
        return num(port.tep_be) == tep and (self.segments[vni].kind == 1 or port.vni == vni)

    def shares(self, rule: r.Nat, nat_id: int, address: int, port: int) -> bool:
        """Would the rule still let a session without a mapping have this outside endpoint?"""
        pub = self.secondary.get(address)
        low, high = self.range_of(rule)
        mine = rule.overflow and rule.id == nat_id and pub and low <= port <= high
        return bool(mine) and pub.index in rule.pool[: rule.n_pool]

    def fits(self, rule: r.Nat, mapping) -> bool:
        """Would the rule still give it its outside endpoint?"""
        pub = self.publics.get(mapping.public)
        low, high = self.range_of(rule)
        return (
            rule.id == mapping.key.rule
            and rule.action == SNAT
            and pub is not None
            and num(pub.secondary_be) == mapping.address
            and mapping.public in rule.pool[: rule.n_pool]
            and low <= mapping.port <= high
        )

    def still_allows(self, vrf: int, mapping) -> r.Nat | None:
        """The rule that does. Whose rule is gone, or whose VRF lost the address, is closed."""
        src = mapping.key.src.to_bytes(4)
        for rule in self.nat:
            mine = vrf == rule.vrf == mapping.key.vrf and self.fits(rule, mapping)
            if mine and covers(rule.match.src_be, rule.match.src_len, src):
                return rule
        return None
