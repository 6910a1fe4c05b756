"""Metrics of the datapath: what it counts, by the names that the operator gave."""

from collections.abc import Iterator
from typing import Any, Protocol

from prometheus_client.core import Metric

from pcg.datapath.captured import Flow
from pcg.gateway.facts import Facts
from pcg.gateway.families import bounded, carried, counter, gauge, totals
from pcg.reconcile.compile import TRANSIT
from pcg.reconcile.records import Segments

COUNTED = {
    "rx": ("pcg_datapath_received_packets", "Frames that the datapath took from its interfaces."),
    "tx": ("pcg_datapath_sent_packets", "Frames that the datapath sent."),
    "made": (
        "pcg_datapath_made_packets",
        "Packets it made itself: errors, resets, fragments.",
    ),
    "joined": ("pcg_datapath_joined_fragments", "Fragments that became part of another frame."),
    "unmade": (
        "pcg_datapath_unmade_packets",
        "Errors and resets not made: over their rates, or no way to the sender.",
    ),
    "unmade_source": (
        "pcg_datapath_unmade_source_packets",
        "Of them those over the rate of one source.",
    ),
    "unmade_all": ("pcg_datapath_unmade_all_packets", "Of them those over the rate of all."),
    "unmade_no_way": (
        "pcg_datapath_unmade_no_way_packets",
        "Of them those whose sender no way leads to.",
    ),
    "punt": ("pcg_datapath_punted_packets", "Packets handed to the slow path."),
    "sessions_made": ("pcg_sessions_opened", "Sessions opened."),
    "sessions_ended": ("pcg_sessions_ended", "Sessions that ended."),
    "sessions_cut": ("pcg_sessions_cut", "Sessions that a change of rules or routes ended."),
    "resets_late": (
        "pcg_sessions_reset_late",
        "Sessions to be reset that waited, since more ended than can be told at a time.",
    ),
    "resets_unheard": (
        "pcg_sessions_reset_unheard",
        "Sessions that ended without a reset: asked for its numbers, neither end answered.",
    ),
    "decisions": ("pcg_datapath_decisions", "Times that rules and routes were asked."),
    "commits": ("pcg_datapath_commits", "Policies published to the datapath."),
}
GAUGES = {
    "held": ("pcg_datapath_held_packets", "Packets held for reassembly or a neighbour."),
    "sessions": ("pcg_sessions", "Sessions in the table."),
    "resets_waiting": (
        "pcg_sessions_reset_waiting",
        "Sessions that are over, and whose ends are still to be asked for a reset's numbers.",
    ),
    "sessions_max": ("pcg_sessions_limit", "Sessions that the table holds when full."),
    "mappings": ("pcg_nat_mappings", "NAT mappings: inside endpoints with an outside port."),
    "peers": ("pcg_nat_mapping_peers", "Peers of NAT mappings, but for the first of each."),
    "mappings_max": (
        "pcg_nat_mappings_limit",
        "Mappings and further peers that the table holds when full.",
    ),
    "ports": ("pcg_workload_addresses", "Workload addresses in the datapath."),
    "ports_max": ("pcg_workload_addresses_limit", "Workload addresses that it holds when full."),
    "teps": ("pcg_tunnel_endpoints", "Tunnel endpoints in the datapath."),
    "revision": ("pcg_datapath_revision", "Revision of the policy in force in the datapath."),
}
ROLES = ("downlink", "uplink")  # in the order of enum pcgdp_role
NIC = ("interface", "role")


class Client(Protocol):
    """What we need of pcg.datapath.client.Client."""

    def totals(self) -> dict[str, int]: ...
    def drops_by_side(self) -> dict[tuple[str, str], int]: ...
    def reasons(self) -> dict[str, str]: ...
    def stages(self) -> dict[str, int]: ...
    def nics(self) -> list[dict[str, Any]]: ...
    def counters(self, table: str) -> list[dict[str, Any]]: ...
    def read(self, table: str) -> list: ...
    def captures(self) -> tuple[bool, Flow]: ...


def collect(client: Client, facts: Facts) -> Iterator[Metric]:
    """Raises BackendError when the datapath does not answer."""
    told = client.totals()
    yield from totals(counter, told, COUNTED)
    yield from totals(gauge, told, GAUGES)
    yield from _path(client)
    yield from _captures(client)
    yield from _nics(client)
    yield from _objects(client, facts)
    yield from _pools(client, facts)


def _path(client: Client) -> Iterator[Metric]:
    none = {(reason, role): 0 for reason in client.reasons() for role in ROLES}
    text = "Packets that ended in the datapath, by reason and the side they came by."
    drops = none | client.drops_by_side()
    yield counter("pcg_datapath_drops", text, ("reason", "role"), drops.items())
    stages = [((stage,), n) for stage, n in client.stages().items()]
    yield counter("pcg_datapath_stage_packets", "Packets that entered a stage.", ("stage",), stages)
    text = "Tunnel endpoints of whose way the underlay told that it is narrower than configured."
    learned = len(client.read("path_mtu"))
    yield gauge("pcg_tunnel_endpoints_narrow", text, (), [((), learned)])


def _captures(client: Client) -> Iterator[Metric]:
    runs, flow = client.captures()

    def column(frames: tuple[int, int]) -> list:
        return [((role,), n) for role, n in zip(ROLES, frames, strict=True)]

    text = "1: a capture runs, which makes all packets slower."
    yield gauge("pcg_capture_running", text, (), [((), runs)])
    text = "Frames that captures took."
    yield counter("pcg_capture_packets", text, ("role",), column(flow.taken))
    text = "Frames that captures were to take and had no room for: their reader was too slow."
    yield counter("pcg_capture_lost_packets", text, ("role",), column(flow.lost))


def _nics(client: Client) -> Iterator[Metric]:
    nics = client.nics()

    def column(field: str) -> list:
        return [((nic["name"], nic["role"]), nic[field]) for nic in nics]

    for way, word in (("rx", "receive"), ("tx", "transmit")):
        text = f"on a port of the datapath, {word}d" if way == "rx" else "on a port, transmitted"
        yield counter(f"pcg_port_{word}_packets", f"Frames {text}.", NIC, column(f"{way}_packets"))
        yield counter(f"pcg_port_{word}_bytes", f"Bytes {text}.", NIC, column(f"{way}_bytes"))
    text = "Frames lost in the ring before the datapath saw them."
    yield counter("pcg_port_missed_packets", text, NIC, column("rx_missed"))
    yield gauge("pcg_port_up", "1: the port's interface is up.", NIC, column("up"))


def _segment(record: Segments) -> str:
    """A transit has the name of its VRF, which may be a segment's too."""
    return f"{record.name} (transit)" if record.kind == TRANSIT else record.name


def _objects(client: Client, facts: Facts) -> Iterator[Metric]:
    vrfs = {vrf.index: vrf.name for vrf in facts.policy.get("vrfs", ())}
    named = {s.vni: (_segment(s), vrfs.get(s.vrf, "")) for s in facts.policy.get("segments", ())}
    rows = bounded(named, client.counters("segments"))
    yield from carried(
        "segment", "a segment or transit, through the gateway", ("segment", "vrf"), rows
    )
    rules = {number: (name,) for name, number in facts.numbers.nat.items()}
    rows = bounded(rules, client.counters("nat"))
    yield from carried("nat_rule", "sessions that a NAT rule translates", ("rule",), rows)
    yield _column(
        "pcg_nat_rule_sessions", "Sessions of a NAT rule, ended ones too.", rows, "sessions"
    )
    text = "Sessions of a NAT rule that had to share a port, ended ones too."
    yield _column("pcg_nat_rule_overflow_sessions", text, rows, "overflow")
    yield from _ports(rows)
    rules = {number: (name,) for name, number in facts.numbers.firewall.items()}
    rows = bounded(rules, client.counters("firewall"))
    yield from carried("firewall_rule", "sessions that a firewall rule allowed", ("rule",), rows)
    text = "Decisions that a firewall rule made: sessions let in, packets denied."
    yield _column("pcg_firewall_rule_hits", text, rows, "hits")
    yield _defaults(client, vrfs)


def _defaults(client: Client, vrfs: dict[int, str]) -> Metric:
    named = {2 * index: (name, "out") for index, name in vrfs.items()}
    named |= {2 * index + 1: (name, "in") for index, name in vrfs.items()}
    found = bounded(dict(sorted(named.items())), client.counters("vrfs"))
    rows = [(labels, counts.get("hits", 0)) for labels, counts in found.items()]
    text = "Decisions of a VRF's default action, where no firewall rule fits."
    return counter("pcg_firewall_default_hits", text, ("vrf", "direction"), rows)


def _column(name: str, text: str, rows: dict[tuple[str, ...], dict[str, int]], key: str) -> Metric:
    return counter(name, text, ("rule",), [(k, found.get(key, 0)) for k, found in rows.items()])


def _ports(rows: dict[tuple[str, ...], dict[str, int]]) -> Iterator[Metric]:
    """Of rules that draw any: what runs out is a rule's ports, not an address's."""
    drawing = {names: found for names, found in rows.items() if found.get("ports")}
    texts = {
        "ports": "Ports that an SNAT rule may draw for a protocol, of all its public addresses.",
        "ports_used": "Of these those in use, by any rule, of the protocol that has most of them.",
    }
    for key, text in texts.items():
        there = [(names, found[key]) for names, found in drawing.items()]
        yield gauge(f"pcg_nat_rule_{key}", text, ("rule",), there)


def _pools(client: Client, facts: Facts) -> Iterator[Metric]:
    named = {public.index: (public.name,) for public in facts.policy.get("publics", ())}
    rows = bounded(named, client.counters("publics"))
    labels = ("public_address",)
    used = [(names, found.get("ports_used", 0)) for names, found in rows.items()]
    text = "Ports drawn of a public address, of the protocol that has most of them."
    yield gauge("pcg_nat_pool_ports_used", text, labels, used)
