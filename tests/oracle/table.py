"""Sessions as a list and a dict: the slow twin of session.c, install.c and keeper.c."""

from dataclasses import dataclass, field

from tests.oracle.decision import Decision, Key, Policy
from tests.oracle.ipv4 import ACK, FIN, ICMP, RST, SYN, TCP, UDP, Ip
from tests.oracle.mappings import Drawn, Mapping, Mappings, Outside, allowed, lands, reply
from tests.oracle.policy import place_of

# RFC 4787 REQ-5, RFC 5382 REQ-5, RFC 5508 REQ-2, RFC 7857 section 2.1; in the order of a rule's
TIMEOUTS_S = (240, 7440, 240, 300, 60, 300)
STATES = ("opening", "established", "closing")
TIMER = {UDP: 3, ICMP: 4}
OTHER = 5
CHANGE, IDLE = 1, 2  # enum pcgdp_reset


@dataclass(eq=False, slots=True)
class Way:
    """One direction: what arrives as `key` gets this address and port, and leaves by `way`."""

    key: Key
    side: str  # "src" or "dst": which one changes; "": neither
    address: int
    port: int | None
    way: tuple
    source: tuple[int, int] | None  # from the overlay: the place_of() the port it must come from
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
    over_s: int | None = None  # since when its ends are being told; None: they are not

    def to_be_told(self, policy: Policy, why: int) -> bool:
        says = policy.resets.get(self.nat_id, 0) & why
        return bool(says) and self.ways[0].key.proto == TCP and self.tcp_state == "established"

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


@dataclass
class Table(Mappings):
    live: list[Session] = field(default_factory=list)
    dying: list[Session] = field(default_factory=list)  # until housekeeping they count
    ended: list[Session] = field(default_factory=list)

    def sessions_of(self, vrf: int, address: int) -> int:
        """How many a workload's address holds."""
        owners = (next(way.source for way in s.ways if way.source) for s in self.live + self.dying)
        return sum(place == (vrf, address) for place in owners)

    def full(self, policy: Policy, d: Decision, from_uplink: bool) -> bool:
        """A quarter is for what the workload opens itself."""
        vrf, address = place_of(d.src_port or d.dst_port)
        most = allowed(d.nat.sessions_each if d.nat else 0, policy.local.sessions_each)
        if from_uplink and most != float("inf"):
            most -= most // 4
        return self.sessions_of(vrf, address) >= most

    def outside_of(self, policy, d: Decision, key: Key, drawn: Drawn, old) -> Outside | str:
        if old:  # it keeps what it has
            return Outside(old.mapping, old.ways[0].address, old.ways[0].port)
        if d.pool:
            return self.outside_for(policy, d, key, drawn)
        return Outside(d.mapping, d.address, key.sport if d.port is None else d.port)

    def install(
        self, policy: Policy, d: Decision, key: Key, now_s: int, drawn: Drawn, old=None
    ) -> Session | str:
        """The new session, or why there is none. It may take the place of an old one."""
        if not old and self.full(policy, d, key.uplink):
            return "QUOTA_SESSIONS"
        found = self.outside_of(policy, d, key, drawn, old)
        if isinstance(found, str):
            return found
        mapping, address, port = found
        if mapping:
            mapping.sessions += 1
        if lands(key, d, address):
            self.held += [mapping] if mapping else []
            return "LAND"
        self.overflows[d.nat_id] += bool(d.pool and not mapping and not old)
        back = reply(key, d, address, port)
        if back in self.index:
            self.held += [mapping] if mapping else []
            return "SESSION_CONFLICT"
        translated = d.kind is not None
        sides = ("dst", "src") if key.uplink else ("src", "dst")
        own = (key.dst, key.dport) if key.uplink else (key.src, key.sport)
        source, target = (port and place_of(port) for port in (d.src_port, d.dst_port))
        ways = [
            Way(key, sides[0] * translated, address, port, d.way, source, last_s=now_s),
            Way(back, sides[1] * translated, *own, d.back, target, last_s=now_s),
        ]
        fw_id = d.rulings.get(address, d.fw_id)
        session = Session(ways, d.kind, d.nat_id, fw_id, mapping, now_s)
        self.live.append(session)
        if mapping:
            mapping.open[key.src if key.uplink else key.dst] += 1
        self.index[key], self.index[back] = (session, 0), (session, 1)
        return session

    def unlink(self, session: Session) -> None:
        self.live.remove(session)
        self.dying.append(session)
        self.ended.append(session)
        for way in session.ways:
            del self.index[way.key]
        if session.mapping:
            key = session.ways[0].key
            session.mapping.open[key.src if key.uplink else key.dst] -= 1
            self.held.append(session.mapping)

    def sweep(self, policy: Policy, now_s: int, gone) -> list[Session]:
        """Ends what was idle too long, or whose workload is gone, or whose ends have been told;
        gives ports back. Returns those whose ends are to be told first."""
        over = []
        for session in list(self.live):
            idle = now_s - max(way.last_s for way in session.ways)
            told = session.over_s is not None and session.over_s < now_s
            if told or any(gone(way.way) for way in session.ways):
                self.unlink(session)
            elif idle > session.timeout_s(policy) and session.over_s is None:
                if session.to_be_told(policy, IDLE):
                    over.append(session)
                else:
                    self.unlink(session)
        for mapping in self.held:
            mapping.sessions -= 1
        self.held, self.dying = [], []
        self.mappings = [m for m in self.mappings if m.sessions]
        return over

    def by_rule(self, what: str) -> dict[int, Totals]:
        """what: "nat_id" or "fw_id"."""
        sums: dict[int, Totals] = {}
        for session in self.live + self.ended:
            if rule := getattr(session, what):
                sums.setdefault(rule, Totals()).add(session)
        return sums


def touch(way: Way, ip: Ip, now_s: int) -> None:
    """A packet passed. A reset keeps nothing alive (RFC 7857 section 2.2), and is taken back by
    what its sender sends next (RFC 6146 section 3.5.2.2)."""
    flags = ip.payload[13] if ip.proto == TCP else 0
    way.packets += 1
    way.bytes += ip.length
    if flags & SYN and way.flags & (FIN | RST):
        way.flags = 0  # a new connection
    way.flags = way.flags & ~RST | flags
    if not flags & RST:
        way.last_s = now_s
