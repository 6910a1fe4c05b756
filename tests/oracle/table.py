"""Sessions and mappings as a list and two dicts: the slow twin of session.c, mapping.c, natport.c.

Ports that the path draws at random are learnt from what it made, and then held to: in the rule's
range, promised to no DNAT rule, not shared, the same for the same inside endpoint.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from pcg.reconcile import records as r
from tests.oracle.decision import Decision, Key, Policy, num
from tests.oracle.ipv4 import ACK, FIN, ICMP, RST, SYN, TCP, UDP, Ip

CONTACTS = 5  # how many remote addresses a mapping remembers
# RFC 4787 REQ-5, RFC 5382 REQ-5, RFC 5508 REQ-2, RFC 7857 section 2.1; in the order of a rule's
TIMEOUTS_S = (240, 7440, 240, 300, 60, 300)
STATES = ("opening", "established", "closing")
TIMER = {UDP: 3, ICMP: 4}
OTHER = 5


class Inside(NamedTuple):
    """Whose a mapping is: an endpoint, and the rule it was made by."""

    vrf: int
    src: int
    sport: int
    proto: int
    rule: int


@dataclass(eq=False, slots=True)
class Mapping:
    key: Inside
    public: int
    address: int
    port: int
    contacted: list[int]
    sessions: int = 0
    retired: bool = False

    def contact(self, remote: int) -> None:
        if remote not in self.contacted:
            self.contacted = [*self.contacted, remote][-CONTACTS:]


@dataclass(eq=False, slots=True)
class Way:
    """One direction: what arrives as `key` gets this address and port, and leaves by `way`."""

    key: Key
    side: str  # "src" or "dst": which one changes; "": neither
    address: int
    port: int | None
    way: tuple
    source: r.Ports | None  # from the overlay: which port it must come from
    packets: int = 0
    bytes: int = 0
    flags: int = 0
    last_s: int = 0


@dataclass(eq=False, slots=True)
class Session:
    ways: list[Way]  # fwd, rev
    kind: int | None
    nat_id: int
    fw_id: int
    mapping: Mapping | None
    made_s: int
    marked: bool = False

    @property
    def tcp_state(self) -> str:
        fwd, rev = (way.flags for way in self.ways)
        if (fwd | rev) & RST or fwd & rev & FIN:
            return "closing"
        return "established" if fwd & rev & (SYN | ACK) == SYN | ACK else "opening"

    def timeout_s(self, policy: Policy) -> int:
        proto = self.ways[0].key.proto
        timer = STATES.index(self.tcp_state) if proto == TCP else TIMER.get(proto, OTHER)
        own = policy.timeouts.get(self.nat_id)
        return (own and own[timer]) or TIMEOUTS_S[timer]


@dataclass
class Totals:
    in_packets: int = 0
    in_bytes: int = 0
    out_packets: int = 0
    out_bytes: int = 0
    sessions: int = 0

    def add(self, session: Session) -> None:
        out, in_ = session.ways[::-1] if session.ways[0].key.uplink else session.ways
        self.in_packets += in_.packets
        self.in_bytes += in_.bytes
        self.out_packets += out.packets
        self.out_bytes += out.bytes
        self.sessions += 1


def reply(key: Key, d: Decision, port: int) -> Key:
    """What the other side answers to."""
    src, dst, sport, dport = key.dst, key.src, key.dport, key.sport
    if d.kind is not None and key.uplink:
        src, sport = d.address, port
    elif d.kind is not None:
        dst, dport = d.address, port
    if key.proto == ICMP:
        sport = dport = port if d.kind is not None else key.dport
    return Key(key.vrf, not key.uplink, src, dst, sport, dport, key.proto)


@dataclass
class Table:
    index: dict[Key, tuple[Session, int]] = field(default_factory=dict)
    live: list[Session] = field(default_factory=list)
    mappings: list[Mapping] = field(default_factory=list)
    held: list[Mapping] = field(default_factory=list)  # by what ended, until housekeeping
    ended: list[Session] = field(default_factory=list)

    # ---- mappings ----

    def outside(self, address: int, port: int, proto: int) -> Mapping | None:
        for m in self.mappings:
            if (m.address, m.port, m.key.proto) == (address, port, proto):
                return m
        return None

    def free(self, policy: Policy, rule: r.Nat, pub: r.Publics, proto: int) -> bool:
        """Has this public address a port left for the rule?"""
        low, high = policy.range_of(rule)
        used = {m.port for m in self.mappings if (m.public, m.key.proto) == (pub.index, proto)}
        if high - low > len(used) + 20:  # the rules of these tests promise fewer
            return True
        return any(
            port not in used and not policy.promised(pub, port) for port in range(low, high + 1)
        )

    def mapping_for(self, policy: Policy, d: Decision, key: Key, drawn) -> Mapping | None:
        """Found or made (RFC 4787 REQ-1 to 3); None: no port is left. drawn(): the address and
        port that the path gave."""
        inside = Inside(key.vrf, key.src, key.sport, key.proto, d.nat.id)
        for m in self.mappings:
            if m.key == inside and not m.retired:
                if policy.fits(d.nat, m):
                    return m
                m.retired = True
        for pub in d.pool:
            if self.free(policy, d.nat, pub, key.proto):
                return self._drawn(policy, d, inside, pub, *drawn())
        return None

    def _drawn(self, policy: Policy, d: Decision, inside: Inside, pub, address, port) -> Mapping:
        low, high = policy.range_of(d.nat)
        assert address == num(pub.secondary_be), "RFC 4787 REQ-2: paired address"
        assert low <= port <= high, "a port out of the rule's range"
        assert not policy.promised(pub, port), "a port that a DNAT rule promises"
        assert not self.outside(address, port, inside.proto), "RFC 4787 REQ-3: port shared"
        self.mappings.append(Mapping(inside, pub.index, address, port, []))
        return self.mappings[-1]

    # ---- sessions ----

    def install(self, policy: Policy, d: Decision, key: Key, now_s: int, drawn) -> Session | str:
        """The new session, or why there is none."""
        mapping, address, port = d.mapping, d.address, d.port
        if d.pool:
            mapping = self.mapping_for(policy, d, key, drawn)
            if not mapping:
                return "NAT_PORTS_EXHAUSTED"
            address, port = mapping.address, mapping.port
        if mapping:
            mapping.sessions += 1
            mapping.contact(key.src if key.uplink else key.dst)
        d.address = address
        port = key.sport if port is None else port
        back = reply(key, d, port)
        if back in self.index:
            self.held += [mapping] if mapping else []
            return "SESSION_CONFLICT"
        translated = d.kind is not None
        sides = ("dst", "src") if key.uplink else ("src", "dst")
        own = (key.dst, key.dport) if key.uplink else (key.src, key.sport)
        ways = [
            Way(key, sides[0] * translated, address, port, d.way, d.src_port, last_s=now_s),
            Way(back, sides[1] * translated, *own, d.back, d.dst_port, last_s=now_s),
        ]
        session = Session(ways, d.kind, d.nat_id, d.fw_id, mapping, now_s)
        self.live.append(session)
        self.index[key], self.index[back] = (session, 0), (session, 1)
        return session

    def unlink(self, session: Session) -> None:
        self.live.remove(session)
        self.ended.append(session)
        for way in session.ways:
            del self.index[way.key]
        if session.mapping:
            self.held.append(session.mapping)

    def sweep(self, policy: Policy, now_s: int, gone) -> None:
        """Ends what was idle too long, or whose workload is gone; gives ports back."""
        for session in list(self.live):
            idle = now_s - max(way.last_s for way in session.ways)
            if idle > session.timeout_s(policy) or any(gone(way.way) for way in session.ways):
                self.unlink(session)
        for mapping in self.held:
            mapping.sessions -= 1
        self.held = []
        self.mappings = [m for m in self.mappings if m.sessions]

    def mark(self) -> None:
        for session in self.live:
            session.marked = True

    def by_rule(self, what: str) -> dict[int, Totals]:
        """what: "nat_id" or "fw_id"."""
        sums: dict[int, Totals] = {}
        for session in self.live + self.ended:
            if rule := getattr(session, what):
                sums.setdefault(rule, Totals()).add(session)
        return sums


def touch(way: Way, ip: Ip, now_s: int) -> None:
    """A packet passed. A reset keeps nothing alive (RFC 7857 section 2.1)."""
    flags = ip.payload[13] if ip.proto == TCP else 0
    way.packets += 1
    way.bytes += ip.length
    if flags & SYN and way.flags & (FIN | RST):
        way.flags = 0  # a new connection
    way.flags |= flags
    if not flags & RST:
        way.last_s = now_s
