"""What must become of packets, by a model of dicts and lists: the slow twin of decide, session and
mapping.

It knows the world of tests/c/places.py through the same records, and nothing of how the path does
it. Ports that the path draws at random are learnt from what it sent, and then held to: in range,
not shared, the same for the same inside endpoint.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import NamedTuple

from tests.oracle.routes import longest

UDP_S, ICMP_S = 300, 60
TIMEOUT_S = {17: UDP_S, 1: ICMP_S}


class Tuple(NamedTuple):
    src: str
    dst: str
    sport: int
    dport: int
    protocol: int

    @property
    def reply(self) -> "Tuple":
        return Tuple(self.dst, self.src, self.dport, self.sport, self.protocol)


class Outcome(NamedTuple):
    """Why it was dropped, or as what it leaves. A port of None: any that the model may learn."""

    reason: str | None
    role: str = ""
    packet: Tuple | None = None


@dataclass
class Session:
    inside: Tuple  # as the overlay sees its initiator's direction
    outside: Tuple  # as the uplink sees it
    from_uplink: bool
    last_s: float
    mapping: tuple | None = None

    def ways(self):
        """(role it arrives by, tuple) -> (role it leaves by, tuple), for both directions."""
        if self.from_uplink:
            yield ("uplink", self.outside), ("downlink", self.inside)
            yield ("downlink", self.inside.reply), ("uplink", self.outside.reply)
        else:
            yield ("downlink", self.inside), ("uplink", self.outside)
            yield ("uplink", self.outside.reply), ("downlink", self.inside.reply)


@dataclass
class Mapping:
    outside: tuple[str, int]
    first: str  # whom it was made for


class Model:
    """ports: address -> VM; rules: of one VRF, in order; routes: prefix -> "uplink" | "segment" |
    "blackhole". `secondaries`: addresses owned on the uplink."""

    def __init__(self, vms, routes, dnat, pool: set[str], secondaries: set[str]) -> None:
        self.vms, self.dnat, self.pool = vms, dnat, pool
        self.routes = [(IPv4Network(prefix), kind) for prefix, kind in routes]
        self.secondaries = secondaries
        self.sessions: list[Session] = []
        self.mappings: dict[tuple, Mapping] = {}

    def sweep(self, now_s: float) -> None:
        """Ends what was idle too long; seconds are whole ones, as in the path."""
        self.sessions = [
            s for s in self.sessions
            if int(now_s) - int(s.last_s) <= TIMEOUT_S[s.inside.protocol]
        ]  # fmt: skip
        used = {s.mapping for s in self.sessions}
        self.mappings = {key: m for key, m in self.mappings.items() if key in used}

    def known(self, role: str, packet: Tuple, now_s: float) -> Outcome | None:
        for session in self.sessions:
            for arrives, leaves in session.ways():
                if arrives == (role, packet):
                    session.last_s = now_s
                    return Outcome(None, *leaves)
        return None

    def packet(self, role: str, packet: Tuple, now_s: float) -> Outcome:
        found = self.known(role, packet, now_s)
        if found:
            return found
        return (self.outwards if role == "downlink" else self.inwards)(packet, now_s)

    def outwards(self, packet: Tuple, now_s: float) -> Outcome:
        if packet.src not in self.vms:
            return Outcome("SOURCE_SPOOFED")
        kind = longest(self.routes, IPv4Address(packet.dst))
        if kind is None or kind == "blackhole":
            return Outcome("BLACKHOLE" if kind else "NO_ROUTE")
        if kind == "segment":
            there = packet.dst in self.vms
            return Outcome(None, "downlink", packet) if there else Outcome("PORT_UNKNOWN")
        key = packet.src, packet.sport, packet.protocol
        mapping = self.mappings.setdefault(key, Mapping(("", 0), packet.dst))
        address, port = mapping.outside
        dport = port if packet.protocol == 1 else packet.dport
        leaves = Tuple(address, packet.dst, port, dport, packet.protocol)
        self.sessions.append(Session(packet, leaves, False, now_s, key))
        return Outcome(None, "uplink", leaves)

    def peers(self, key: tuple) -> set[str]:
        """With whom a session of this mapping lives."""
        mine = [s for s in self.sessions if s.mapping == key]
        return {s.outside.src if s.from_uplink else s.outside.dst for s in mine}

    @property
    def further(self) -> int:
        """Peers of mappings, but for whom each was made for."""
        return sum(len(self.peers(key) - {m.first}) for key, m in self.mappings.items())

    def inwards(self, packet: Tuple, now_s: float) -> Outcome:
        if packet.dst not in self.secondaries:
            return Outcome("NOT_OWNED")
        target, mapping = self.door(packet), None
        if not target:
            key = self.owner(packet)
            if not key:
                return Outcome("NO_DNAT")
            if packet.src not in self.peers(key):
                return Outcome("NAT_FILTERED")
            target, mapping = key[:2], key
        if target[0] not in self.vms:
            return Outcome("PORT_UNKNOWN")
        sport = target[1] if packet.protocol == 1 else packet.sport
        inside = Tuple(packet.src, target[0], sport, target[1], packet.protocol)
        if self.taken(inside.reply):
            return Outcome("SESSION_CONFLICT")
        self.sessions.append(Session(inside, packet, True, now_s, mapping))
        return Outcome(None, "downlink", inside)

    def door(self, packet: Tuple) -> tuple[str, int] | None:
        """dnat: (address, protocol or 0, first, last) -> (target, its first port or None)."""
        port = 0 if packet.protocol == 1 else packet.dport
        for (address, protocol, first, last), (target, base) in self.dnat.items():
            if packet.dst != address or protocol not in (0, packet.protocol):
                continue
            if first <= port <= last:
                return target, packet.dport if base is None else base + port - first
        return None

    def owner(self, packet: Tuple) -> tuple | None:
        """Whose mapping has this outside endpoint."""
        for key, mapping in self.mappings.items():
            if mapping.outside == (packet.dst, packet.dport) and key[2] == packet.protocol:
                return key
        return None

    def taken(self, reply: Tuple) -> bool:
        arrives = "downlink", reply
        return any(arrives == way for s in self.sessions for way, _ in s.ways())

    def learn(self, expected: Outcome, got: Tuple) -> None:
        """The path drew a port for the newest session: hold it to the rules from now on."""
        session = self.sessions[-1]
        mapping = self.mappings[session.mapping]
        assert got.src in self.pool
        assert 1024 <= got.sport <= 65535
        taken = {(m.outside, k[2]) for k, m in self.mappings.items()}
        assert ((got.src, got.sport), got.protocol) not in taken, "port shared"
        mapping.outside = got.src, got.sport
        assert got == expected.packet._replace(src=got.src, sport=got.sport, dport=got.dport)
        session.outside = got
