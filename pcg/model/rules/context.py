"""What every rule works with: the document, indexed once, and the problems found so far."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from pcg.model.addresses import (
    MAC,
    Prefix,
    address_number,
    make_prefix,
    prefix_number,
    prefix_text,
    split_prefix,
)
from pcg.model.convert import Missing, did_you_mean
from pcg.model.desired import Desired, Segment
from pcg.model.errors import Problem, shown

SUGGESTIONS_MAX = 50  # of the slow search for a similar name, per document

# Never a host's on the wire (RFC 1122 section 3.2.1.3, RFC 1112 section 4, RFC 6890).
NEVER_HOSTS = (make_prefix(0, 8), make_prefix(127 << 24, 8), make_prefix(7 << 29, 3))


class Link(NamedTuple):
    """An interface as far as its texts could be read."""

    role: str
    name: str
    mtu: int
    addresses: dict[int, Prefix]  # ours -> the subnet it stands in
    whole: bool  # all its addresses could be read

    def subnet_of(self, address: int) -> Prefix | None:
        return next((p for p in self.addresses.values() if address in p), None)


class Subnet(NamedTuple):
    """A segment whose subnet could be read."""

    segment: Segment
    prefix: Prefix
    gateway: int | None


class Context:
    def __init__(self, desired: Desired, missing: Missing) -> None:
        self.desired, self.missing = desired, missing
        self.problems: list[Problem] = []
        self.suggested = 0
        self.tables: dict[str, dict[str, Any]] = {
            "vrfs": _by_id(desired.vrfs),
            "segments": _by_id(desired.segments),
            "public_addresses": _by_id(desired.public_addresses),
            "dhcp": _by_id(desired.dhcp),
            "groups": _by_id(desired.groups),
            "teps": {t.address: t for t in reversed(desired.teps)},
        }
        self.links = _links(desired)
        self.subnets = _subnets(self.tables["segments"].values())  # segment id -> Subnet
        self.by_vrf = _by_vrf(self.subnets.values())
        self.secondaries = _secondaries(desired)  # ours on the uplink -> id of public address
        self.elastic = {p.address: p.id for p in desired.public_addresses}
        self.unsure = missing.any("segments")  # a segment is wrong: not found says nothing

    def add(self, path: str, value: Any, mend: str) -> None:
        """`value` None: it is about what is not there."""
        self.problems.append(Problem(path, "" if value is None else shown(value), mend))

    def link(self, role: str) -> Link | None:
        return self.links.get(role)

    # ---- references ----

    def refer(self, path: str, table: str, name: str) -> Any:
        """The object of that name, or None: unknown ones are told, those known to be wrong not."""
        found = self.tables[table].get(name)
        if found is None and not self.missing.covers(table, name):
            self.unknown(path, name, table)
        return found

    def unknown(self, path: str, name: str, *tables: str) -> None:
        mend = f"define it under {tables[0]}"
        if self.suggested < SUGGESTIONS_MAX:
            self.suggested += 1
            mend = did_you_mean(name, [n for t in tables for n in self.tables[t]], mend)
        self.add(path, name, f"is not in {' or '.join(tables)}; {mend}")

    def refer_in_vrf(self, path: str, table: str, name: str, vrf: str) -> Any:
        """The same, of an object that must belong to that VRF; None when it does not."""
        found = self.refer(path, table, name)
        if found is not None and found.vrf != vrf:
            if found.vrf not in self.tables["vrfs"] or vrf not in self.tables["vrfs"]:
                return None  # told where the unknown VRF stands
            self.add(path, name, f"belongs to VRF {found.vrf}, not {vrf}; use one of the same VRF")
            return None
        return found

    def refer_either(self, path: str, tables: Iterable[str], name: str, vrf: str) -> None:
        """The same, of an object that may stand in any of these tables."""
        for table in tables:
            if name in self.tables[table] or self.missing.covers(table, name):
                self.refer_in_vrf(path, table, name, vrf)
                return
        self.unknown(path, name, *tables)

    def unique(self, field: str, objects: Iterable[Any]) -> None:
        seen: set[str] = set()
        for obj in objects:
            if obj.id in seen:
                self.add(f"{field}[{obj.id}].id", obj.id, "stands there twice; ids are unique")
            seen.add(obj.id)

    def no_repeats(self, path: str, items: Iterable[str]) -> None:
        seen: set[str] = set()
        for index, item in enumerate(items):
            if item in seen:
                self.add(f"{path}[{index}]", item, "stands there twice; keep one")
            seen.add(item)

    # ---- values ----

    def address(self, path: str, text: str) -> int | None:
        """A host's IPv4 address as a number; None, and told, when it is not one."""
        number = address_number(text)
        if number is None:
            if ":" in text:
                self.add(path, text, "is not an IPv4 address; only IPv4 is carried")
            elif "/" in text:
                self.add(path, text, "is not an address; write it without its length")
            else:
                self.add(
                    path,
                    text,
                    "is not an address; use four numbers from 0 to 255, no leading zeros",
                )
        elif any(number in block for block in NEVER_HOSTS):
            self.add(path, text, "is no host's address (0/8, 127/8, 224/3); use a unicast one")
            return None
        return number

    def prefix(self, path: str, text: str) -> Prefix | None:
        """A prefix without host bits; with host bits it is told, and still given."""
        pair = split_prefix(text)
        if pair is None:
            self.add(path, text, _not_a_prefix(text))
            return None
        prefix = make_prefix(*pair)
        if prefix.first != pair[0]:
            self.add(path, text, f"has host bits; write {prefix_text(prefix)}")
        return prefix

    def mac(self, path: str, text: str) -> bool:
        if not MAC.fullmatch(text):
            self.add(path, text, "is not a MAC; use six pairs of hexadecimal digits")
        elif text == "00:00:00:00:00:00":
            self.add(path, text, "is the zero MAC; use the interface's own")
        elif int(text[1], 16) & 1:
            self.add(path, text, "is a multicast MAC; the first byte must be even")
        else:
            return True
        return False

    # ---- places ----

    def segment_at(self, vrf: str, address: int) -> Subnet | None:
        """The segment of the VRF in whose subnet the address is."""
        return subnet_at(self.by_vrf.get(vrf, []), address)


def subnet_at(ordered: list[Subnet], address: int) -> Subnet | None:
    index = bisect_right(ordered, address, key=lambda s: s.prefix.first) - 1
    return ordered[index] if index >= 0 and address in ordered[index].prefix else None


def overlaps(spans: Iterable[tuple[Prefix, Any]]) -> list[tuple[Any, Any]]:
    """Pairs (later, earlier) of labels; each label that overlaps one before it at least once.

    `spans` are in the document's order, which decides who of two is the later one.
    """
    ordered = sorted(enumerate(spans), key=lambda s: (s[1][0].first, -s[1][0].last))
    pairs, far = [], None
    for index, (span, label) in ordered:
        if far is not None and span.first <= far[1].last:
            pairs.append((label, far[2]) if index > far[0] else (far[2], label))
        if far is None or span.last > far[1].last:
            far = (index, span, label)
    return pairs


def _not_a_prefix(text: str) -> str:
    address, slash, _ = text.partition("/")
    if ":" in text:
        return "is not an IPv4 prefix; only IPv4 is carried"
    if address_number(address) is None:
        return "is not a prefix; use the form 10.0.0.0/24"
    return (
        "is not a prefix; use /0 to /32"
        if slash
        else "has no length; add one, /32 for a single address"
    )


def _by_id(objects: Iterable[Any]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for obj in objects:
        table.setdefault(obj.id, obj)
    return table


def _links(desired: Desired) -> dict[str, Link]:
    if desired.gateway is None:
        return {}
    links = {}
    for role in ("uplink", "downlink", "management"):
        interface = getattr(desired.gateway.interfaces, role)
        pairs = [split_prefix(text) for text in interface.addresses]
        ours = {pair[0]: make_prefix(*pair) for pair in pairs if pair}
        links[role] = Link(role, interface.name, interface.mtu, ours, None not in pairs)
    return links


def _secondaries(desired: Desired) -> dict[str, str]:
    if desired.gateway is None:
        return {}
    ours = desired.gateway.id
    return {p.secondary[ours]: p.id for p in desired.public_addresses if ours in p.secondary}


def _subnets(segments: Iterable[Segment]) -> dict[str, Subnet]:
    found = {}
    for segment in segments:
        prefix = prefix_number(segment.subnet)
        if prefix is not None:
            found[segment.id] = Subnet(segment, prefix, address_number(segment.gateway))
    return found


def _by_vrf(subnets: Iterable[Subnet]) -> Mapping[str, list[Subnet]]:
    by_vrf: dict[str, list[Subnet]] = {}
    for subnet in sorted(subnets, key=lambda s: s.prefix.first):
        by_vrf.setdefault(subnet.segment.vrf, []).append(subnet)
    return by_vrf
