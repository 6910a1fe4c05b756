"""The path and its twin side by side: the same records, the same frames at the same time."""

import time
from collections import Counter
from collections.abc import Iterable, Sequence

from pcg.datapath import pack
from pcg.datapath.lib import Datapath
from pcg.reconcile.records import Touch
from tests.c import worlds as w
from tests.c.explained import Noting, Told
from tests.c.moves import Moves
from tests.c.traffic import Traffic
from tests.c.worlds import Given, Picks
from tests.oracle import ipv4 as ip4
from tests.oracle import tunnel
from tests.oracle.bursts import BURST
from tests.oracle.checksum import ones_sum, pseudo
from tests.oracle.decision import Key, Policy, num
from tests.oracle.gateway import Sent
from tests.oracle.table import Session

TRACED = 1_000_000  # more packets than a case has
SMALL = {"sessions": 1024, "workload_addresses": 1024, "fresh": True}
PASSES_S = [1, 14, 15, 40, 61, 241, 301, 601]


def numberless(frame: bytes, role: str) -> bytes:
    """A TCP segment whose numbers are drawn: without them, and the checksums that follow."""
    at = 34 if role == "uplink" else 84 + 4 * (frame[42] & 0x3F)
    return frame[: at + 4] + bytes(8) + frame[at + 12 : at + 16] + bytes(2) + frame[at + 18 :]


def bare(frame: bytes, role: str) -> bytes:
    """Without what the path is free to choose: the tunnel's source port, the identification of the
    pieces of a packet that it cut; and without the checksums that follow from them."""
    at = 14
    if role == "downlink":
        frame = frame[:34] + b"\0\0" + frame[36:40] + b"\0\0" + frame[42:]
        at = 64 + 4 * (frame[42] & 0x3F)
    if int.from_bytes(frame[at + 6 : at + 8]) & (ip4.MF | ip4.OFFSET):
        assert ip4.right(frame[at : at + 20])
        frame = frame[: at + 4] + bytes(2) + frame[at + 6 : at + 10] + bytes(2) + frame[at + 12 :]
    return frame


def in_flows(frames: Iterable[tuple[str, bytes]]) -> dict[tuple, list[bytes]]:
    """What is of one flow, in order: whole packets of TCP and UDP, but for resets: they may be made
    here."""
    flows: dict[tuple, list[bytes]] = {}
    for role, frame in frames:
        ip = frame[14 if role == "uplink" else 64 + 4 * (frame[42] & 0x3F) :]
        whole = not int.from_bytes(ip[6:8]) & (ip4.MF | ip4.OFFSET)
        if whole and (ip[9] == ip4.UDP or (ip[9] == ip4.TCP and not ip[33] & ip4.RST)):
            flows.setdefault((role, ip[9], ip[12:24]), []).append(bare(frame, role))
    return flows


def sound(ip: ip4.Ip) -> bool:
    """Is its transport checksum right? Pieces of another datagram may have been put into it."""
    has = ip.proto == ip4.TCP or (ip.proto == ip4.UDP and ip.payload[6:8] != b"\0\0")
    if ip.frag & (ip4.MF | ip4.OFFSET) or not (has or ip.proto == ip4.ICMP):
        return True
    if ip.proto == ip4.ICMP:
        return ones_sum(ip.payload) == 0xFFFF
    sides = ip.src.to_bytes(4), ip.dst.to_bytes(4)
    return ones_sum(ip.payload, pseudo(*sides, ip.proto, len(ip.payload))) == 0xFFFF


class Pair(Traffic, Moves):
    def __init__(self, around: bytes, policies: tuple[Given, Given]) -> None:
        self.dp = Datapath(**SMALL)
        self.dp.nic_add("up0", "uplink")
        self.dp.nic_add("down0", "downlink")
        self.neighbours = w.neighbours(around)
        self.policies = [w.policy(one) for one in policies]
        self.which, self.now_s = 0, 0
        self.zero_ns = time.monotonic_ns()
        self.met = Counter()
        for table, rows in zip(("ports", "teps", "nexthops"), self.neighbours, strict=True):
            if table == "teps":
                self.dp.put(table, rows)
        self.dp.put("nexthops", self.neighbours[2])
        self.dp.put("ports", self.neighbours[0])
        self.twin = Noting(self.policy(), (w.UP_MAC, w.DOWN_MAC))
        self.told = Told(self.dp, self.twin, bare)
        self.dp.commit(self.policies[0], 1)
        self.dp.sweep(self.now_ns)

    def __enter__(self) -> "Pair":
        return self

    def __exit__(self, *_exc) -> None:
        self.dp.close()

    def policy(self) -> Policy:
        ports, teps, hops = self.neighbours
        return Policy(self.policies[self.which], ports, teps, hops)

    @property
    def now_ns(self) -> int:
        return self.zero_ns + self.now_s * 1_000_000_000

    # ---- what happens ----

    def time(self, p: Picks) -> None:
        self.now_s += p.of(PASSES_S)
        self.swept()

    def swept(self) -> None:
        self.dp.sweep(self.now_ns)
        self.twin.sweep(self.now_s)
        self.unswept = False
        self.ask()

    def commit(self, p: Picks) -> None:
        self.which ^= 1
        self.publish()

    def publish(self, touches: Sequence[Touch] = ()) -> None:
        """touches: none means anything."""
        self.dp.commit(self.policies[self.which], 1, touches)
        self.dp.sweep(self.now_ns)
        self.twin.commit(self.policy(), self.now_s, touches)
        self.unswept = False
        self.told.look.forget()
        self.ask()

    def ask(self) -> None:
        """The ends of what is over are asked for their numbers."""
        before = self.dp.drops()
        sent, expected = self.dp.inject("uplink", [], self.now_ns), self.twin.tell()
        drops = Counter(self.dp.drops())
        drops.subtract(before)
        assert +drops == Counter(self.twin.why)
        self.hold_frames(sent, expected, numberless)
        self.met["asked"] += len(sent)

    # ---- frames through both, at once ----

    def run(self, role: str, frames: list[bytes], plain: bool = True) -> None:
        """plain: they may pass the stages by."""
        told = self.dp.explain(role, frames[0]) if len(frames) == 1 else None
        before, twin = self.dp.drops(), self.twin
        totals, counts = self.dp.totals(), self.counts()
        sent, passed = self.inject(role, frames, plain)
        drops = Counter(self.dp.drops())
        drops.subtract(before)
        drops = +drops
        expected = twin.frames(role, frames, self.now_s, lambda key: self.drawn(key, drops))
        hexes = [frame.hex() for frame in frames]
        assert drops == Counter(twin.why), (drops, twin.why, role, hexes)
        self.hold_frames(sent, expected)
        moved = {name: n - counts[name] for name, n in self.counts().items()}
        now = self.dp.totals()
        for name in "made", "joined", "punt":
            assert now[name] - totals[name] == moved[name]
        self.hold_held()
        if not twin.piece:
            self.hold_order(sent, expected)
        # What is drawn in vain counts as the workload's; explain draws nothing.
        if told and not (drops["QUOTA_PORTS"] and moved["in_vain"]):
            self.hold_explain(*told, sent, moved["punt"])
        self.note(drops, sent, expected, moved)
        self.met["at once"] += len(frames) > 1
        self.met["told below"] += moved["punt"]
        self.met["in two bursts"] += len(frames) > BURST
        self.met["past the stages"] += passed if len(frames) > 1 else 0
        self.met["made at once"] += moved["sessions"] > 1

    def counts(self) -> dict[str, int]:
        """Of the twin, so far."""
        table = self.twin.table
        return {
            "made": self.twin.made,
            "joined": self.twin.reassembly.joined,
            "punt": self.twin.punted,
            "sessions": len(table.live) + len(table.ended),
            "ended": len(table.ended),
            "in_vain": table.in_vain,
        }

    def inject(self, role: str, frames: list[bytes], plain: bool) -> tuple[list, int]:
        """What was sent, and how many passed the stages by."""
        before = self.dp.performance()[-1]["plain"]
        self.dp.trace_start(0 if plain else TRACED)
        sent = self.dp.inject(role, frames, self.now_ns)
        self.dp.trace_start(0)
        return sent, self.dp.performance()[-1]["plain"] - before

    def note(self, drops: Counter, sent: list, expected: list[Sent], moved: dict) -> None:
        self.met.update(drops)
        self.met["sent"] += len(sent)
        self.met["decided again"] += moved["ended"] > 0
        whole = [one.ip for one in expected if not one.ip.frag & (ip4.MF | ip4.OFFSET)]
        errors = [ip for ip in whole if ip.proto == ip4.ICMP and ip.payload[0] in (3, 11, 12)]
        self.met["error translated"] += bool(errors)
        self.met["reset"] += any(ip.proto == ip4.TCP and ip.payload[13] & ip4.RST for ip in whole)
        self.met["cut"] += len(whole) < len(expected)
        self.met["hairpin"] += any(one.ip.src in self.twin.policy.elastic for one in expected)

    def drawn(self, key: Key, drops: Counter) -> tuple[int, int]:
        """As what the path made a session leave."""
        for one in self.sessions():
            if self.initiator(one) == key:
                return num(one.rev_dst_be), one.rev_dport
        raise AssertionError(f"the path made no session for {key}: {drops}")

    def initiator(self, one) -> Key:
        sides = num(one.fwd_src_be), num(one.fwd_dst_be), one.fwd_sport, one.fwd_dport
        return Key(one.vrf, bool(one.fwd_from_uplink), *sides, one.protocol)

    def sessions(self) -> list:
        return pack.unpack("session", self.dp.sessions_raw(0)[0])

    def framed(self, one: Sent) -> tuple[str, bytes]:
        (way, ip), policy = one, self.twin.policy
        if way[0] == "hop":
            return "uplink", tunnel.on_uplink(policy, way[1], ip, w.UP_MAC)
        return "downlink", tunnel.to_port(policy, policy.ports[way[1]], ip, w.DOWN_MAC, 0)

    def hold_frames(self, sent: list, expected: list[Sent], less=lambda frame, role: frame) -> None:
        framed = map(self.framed, expected)
        wanted = [(role, bare(less(frame, role), role)) for role, frame in framed]
        got = [(one.role, bare(less(one.frame, one.role), one.role)) for one in sent]
        assert sorted(got) == sorted(wanted), "\n".join(
            [f"{what} {role} {one.hex()}" for what, rows in (("got", got), ("wanted", wanted))
             for role, one in sorted(rows)]
        )  # fmt: skip
        for one in sent:
            if one.role == "downlink":
                self.hold_outer(one.frame)

    def hold_order(self, sent: list, expected: list[Sent]) -> None:
        """Of a flow none overtakes another."""
        got, wanted = in_flows(sent), in_flows(map(self.framed, expected))
        assert got == wanted
        self.met["in order"] += any(len(flow) > 1 for flow in wanted.values())

    def hold_held(self) -> None:
        totals, twin = self.dp.totals(), self.twin.reassembly
        assert (totals["held"], totals["joined"]) == (twin.held, twin.joined)

    def hold_outer(self, frame: bytes) -> None:
        assert int.from_bytes(frame[34:36]) in tunnel.HASHED
        if not self.twin.policy.local.udp_checksum:
            assert frame[40:42] == b"\0\0"
            return
        assert frame[40:42] != b"\0\0"
        if not sound(ip4.header(frame[64 + 4 * (frame[42] & 0x3F) :])):
            return  # made from headers alone, it is as wrong as the one inside: nobody takes it
        start = pseudo(frame[26:30], frame[30:34], 17, len(frame) - 34)
        assert ones_sum(frame[34:], start) == 0xFFFF

    def hold_explain(self, told, shown, sent, punted: int) -> None:
        """What was said before is what happened."""
        assert (told[-1]["verdict"] == "held") == self.twin.piece, told[-1]
        if self.twin.piece:  # what becomes of the whole is told when it is whole
            return
        if self.told.hold_until_its_session(told):
            self.met["turned round, by a session just made"] += 1
            return
        reason = self.twin.why[0] if self.twin.why else ""
        assert told[-1]["reason"] == reason, told[-1]
        assert (told[-1]["verdict"] == "punted") == bool(punted), told[-1]
        assert bool(shown) == (not reason and not punted), told[-1]
        self.told.hold(told, shown, sent)

    # ---- at the end ----

    def settle(self) -> None:
        self.at_once()
        self.dp.sweep(self.now_ns)
        self.twin.sweep(self.now_s)
        table = self.twin.table
        assert Counter(map(self.of_path, self.sessions())) == Counter(map(self.of_twin, table.live))
        totals = self.dp.totals()
        assert totals["mappings"] == len(table.mappings)
        assert totals["peers"] == sum(one.further for one in table.mappings)
        assert totals["sessions_ended"] == len(table.ended)
        assert totals["sessions_cut"] == self.twin.cuts
        assert totals["unmade"] == self.twin.unmade  # too short, these, for a rate to end
        assert self.dp.drops() == +self.twin.drops
        self.hold_usage()
        self.met["FRAGMENT_TIMEOUT"] += self.twin.drops["FRAGMENT_TIMEOUT"]
        self.met.update(
            {
                "joined": totals["joined"],
                "shared": table.overflows.total(),
                "in vain": table.in_vain,
            }
            | {"clamped": self.twin.clamped, "by group": self.by_group()}
        )
        self.hold_counters()

    def by_group(self) -> int:
        grouped = [row.id for row in self.twin.policy.firewall if row.src_group or row.dst_group]
        return sum(self.twin.hits[rule] for rule in grouped)

    def of_path(self, one) -> tuple:
        sides = one.fwd_src_be, one.fwd_dst_be, one.rev_src_be, one.rev_dst_be
        ports = one.fwd_sport, one.fwd_dport, one.rev_sport, one.rev_dport
        counts = one.fwd_packets, one.fwd_bytes, one.rev_packets, one.rev_bytes
        what = one.protocol, one.kind, one.nat_id, one.fw_id, one.timeout_s, one.marked
        return one.vrf, one.fwd_from_uplink, *map(num, sides), *ports, *counts, *what

    def of_twin(self, one: Session) -> tuple:
        fwd, rev = one.ways
        a, b = fwd.key, rev.key
        counts = fwd.packets, fwd.bytes, rev.packets, rev.bytes
        kind = 255 if one.kind is None else one.kind
        what = a.proto, kind, one.nat_id, one.fw_id, one.timeout_s(self.twin.policy), one.marked
        ports = a.sport, a.dport, b.sport, b.dport
        return a.vrf, a.uplink, a.src, a.dst, b.src, b.dst, *ports, *counts, *what

    def hold_usage(self) -> None:
        table, twin = self.twin.table, self.twin
        for row in self.dp.read("usage"):
            who = row.vrf, num(row.address_be)
            got = row.sessions, row.ports, row.refused
            assert got == (table.sessions_of(*who), table.ports_of(*who), twin.refused[who]), who

    def hold_counters(self) -> None:
        for table, key in ("nat", "nat_id"), ("firewall", "fw_id"):
            sums = self.twin.table.by_rule(key)
            hits = self.twin.hits if table == "firewall" else Counter()
            expected = {
                rule: (t.in_packets, t.in_bytes, t.out_packets, t.out_bytes, t.sessions)
                for rule, t in sums.items()
            }
            rows = self.dp.counters(table)
            got = {
                row["id"]: tuple(row[name] for name in
                    ("in_packets", "in_bytes", "out_packets", "out_bytes", "sessions"))
                for row in rows if row["sessions"]
            }  # fmt: skip
            assert got == expected, table
            shared = Counter({row["id"]: row["overflow"] for row in rows if row["overflow"]})
            assert shared == (+self.twin.table.overflows if table == "nat" else {}), table
            seen = {row["id"]: row["hits"] for row in rows if row["hits"]}
            assert seen == {rule: n for rule, n in hits.items() if rule and n}, table
        defaults = {row["id"]: row["hits"] for row in self.dp.counters("vrfs")}
        assert defaults == {domain: self.twin.defaults[domain] for domain in range(4)}
        for row in self.dp.counters("segments"):
            assert row["in_packets"] == self.twin.segment_in[row["id"]]
            assert row["out_packets"] == self.twin.segment_out[row["id"]]
