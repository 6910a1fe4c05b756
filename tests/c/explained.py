"""What `explain` says of a packet, held against what its twin then does with it: each time it is
looked up, which rules, what is put in, where it goes; and what pcgctl makes of that in words.

Explain makes nothing. So it draws no port, and of a packet that is turned round it cannot say what
only the session just made would: quotas, and answers that another session gets.
"""

from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from types import SimpleNamespace

from pcg.cli.look import Look
from pcg.cli.rulings import rulings
from pcg.datapath.lib import Datapath
from tests.oracle import ipv4 as ip4
from tests.oracle.decision import BYPASS, Decision, Key, num
from tests.oracle.entrance import Arrived
from tests.oracle.gateway import Twin
from tests.oracle.policy import BLACKHOLE, SEGMENT, UPLINK
from tests.oracle.table import Session, Way

NOWHERE = "0.0.0.0"
KINDS = {0: "DNAT", 1: "SNAT", 2: "REFLEXIVE", 3: "NO_SNAT", 4: "NO_DNAT"}
ACTIONS = ("ALLOW", "DROP", "REJECT")


def dotted(address: int) -> str:
    return str(IPv4Address(address))


@dataclass(eq=False)
class Pass:
    """One time that the packet itself is looked up."""

    key: Key
    decision: Decision | None = None  # asked for it, the last one
    session: Session | None = None
    way: Way | None = None  # how it goes on; None: it does not
    new: bool = False
    mapped: bool = False  # its endpoint had a mapping that fits

    @property
    def drawn(self) -> bool:
        kept = self.mapped and self.session and self.session.mapping  # else it shares a port
        return self.new and bool(self.decision.pool) and not kept

    @property
    def rules(self) -> tuple[int, int]:
        said = self.session or self.decision
        return (said.nat_id, said.fw_id) if said else (0, 0)


class Noting(Twin):
    """The twin, and how the last frame itself passed, if it came alone: not what was made about
    it."""

    own = alone = False
    passes: list[Pass]

    def frames(self, role: str, frames: list[bytes], now_s: int, drawn) -> list:
        self.passes, self.alone = [], len(frames) == 1
        try:
            return super().frames(role, frames, now_s, drawn)
        finally:
            self.own = False

    def meets(self, p: Arrived) -> None:
        self.about(p)
        if self.own:
            self.passes.append(Pass(p.key))

    def about(self, p: Arrived) -> None:
        self.own = p.own and self.alone

    def look_up(self, p: Arrived) -> None:
        self.about(p)
        super().look_up(p)

    def decide_first(self, p: Arrived) -> Decision | None:
        self.about(p)
        return super().decide_first(p)

    def decide(self, key: Key, session: Session | None = None) -> Decision:
        d = super().decide(key, session)
        if self.own:
            self.passes[-1].decision = d
        return d

    def new_session(self, p: Arrived, d: Decision) -> None:
        if self.own:
            self.passes[-1].new = True
            self.passes[-1].mapped = bool(d.pool and self.table.leaves_as(self.policy, d, p.key))
        super().new_session(p, d)

    def rewrite(self, p: Arrived, way: Way, back: tuple | None, counted: bool = True) -> None:
        self.about(p)
        if self.own:
            now = self.passes[-1]
            now.way, now.session = way, self.table.index[way.key][0] if counted else None
        super().rewrite(p, way, back, counted)


def portless(frame: bytes, role: str) -> bytes:
    """Without a source port that is drawn, or identifier, and the checksum that follows."""
    at = 14 if role == "uplink" else 64 + 4 * (frame[42] & 0x3F)
    proto, l4 = frame[at + 9], at + 20
    if int.from_bytes(frame[at + 6 : at + 8]) & ip4.OFFSET:
        return frame
    for start in {ip4.UDP: (0, 6), ip4.TCP: (0, 16), ip4.ICMP: (4, 2)}.get(proto, ()):
        frame = frame[: l4 + start] + bytes(2) + frame[l4 + start + 2 :]
    return frame


class Told:
    """One datapath and its twin; `bare` takes from a frame what the path may choose."""

    def __init__(self, dp: Datapath, twin: Noting, bare) -> None:
        self.twin, self.bare = twin, bare
        self.look = Look("", "")
        self.look.__dict__["client"] = SimpleNamespace(read=dp.read)

    def hold_until_its_session(self, told: list[dict]) -> bool:
        """Whether it is turned round and then meets the session that itself has just made, or would
        if it were there: that is not told. All before it is held."""
        decided = [e for e in told if e["stage"] == "session_lookup"]
        passes = self.twin.passes
        if len(passes) < 2 or not passes[0].new or not self.meets_its_own(decided[1], *passes):
            return False
        self.hold_one(decided[0], passes[0])
        return True

    def meets_its_own(self, event: dict, made: Pass, one: Pass) -> bool:
        """By its mapping, by its quota, or as it is another's tuple where no port is drawn."""
        key, drop = one.key, "".join(self.twin.why[:1])
        if drop == "QUOTA_SESSIONS" and one.decision.dst_port == made.decision.src_port:
            return True
        if made.drawn and event["reason"] == "SESSION_CONFLICT":
            return True
        if (key.dst, key.dport) == (made.way.address, made.way.port):
            return True
        if made.drawn and key.proto == ip4.ICMP:  # the identifier drawn is to whom it goes, too
            return True
        undrawn = replace(key, sport=event["sport"])
        return undrawn != key and undrawn in self.twin.table.index

    def hold_one(self, event: dict, one: Pass) -> None:
        self.hold_rules(event, one)
        self.hold_way(event, one)
        self.hold_words(event, one)

    def hold(self, told: list[dict], shown: bytes | None, sent: list) -> None:
        decided = [e for e in told if e["stage"] == "session_lookup"]
        passes = self.twin.passes
        assert len(decided) == len(passes), (told, passes)
        for event, one in zip(decided, passes, strict=True):
            self.hold_one(event, one)
        if not shown:
            return
        drawn = any(one.drawn for one in passes)
        less = portless if drawn else lambda frame, _role: frame
        role = told[-1]["nic_out"]
        frames = [less(self.bare(s.frame, s.role), s.role) for s in sent if s.role == role]
        assert less(self.bare(shown, role), role) in frames, (shown.hex(), sent)

    def hold_rules(self, event: dict, one: Pass) -> None:
        got = event["nat_id"], event["fw_id"]
        assert got == self.rules(one, event), (event, one)

    def rules(self, one: Pass, event: dict) -> tuple[int, int]:
        """Of a pool that has run out each address was asked for: in the name of the last one's.
        Of a forged packet along a session that waits for its way, the firewall's is not told."""
        nat_id, fw_id = one.rules
        d = one.decision
        if event["reason"] == "NAT_PORTS_EXHAUSTED":
            fw_id = d.rulings[num(d.pool[-1].secondary_be)]
        if event["reason"] == "SOURCE_SPOOFED" and event["session"] is not None:
            fw_id = 0
        return nat_id, fw_id

    def hold_way(self, event: dict, one: Pass) -> None:
        way = one.way
        if not way:
            assert event["verdict"] == "dropped" or event["note"].startswith("answered"), event
            return
        if not way.side:
            assert event["new"] == NOWHERE
        else:
            assert event["new"] == dotted(way.address), (event, one)
            assert event["new_port"] == (0 if one.drawn else way.port), (event, one)
        if way.way[0] != "hairpin" and not self.twin.lost(way.way):
            assert event["next"] == self.leads_to(way.way), (event, one)
            assert event["mtu"] == self.twin.mtu(way.way), (event, one)

    def leads_to(self, way: tuple) -> str:
        return dotted(way[1] if way[0] == "hop" else num(self.twin.policy.ports[way[1]].tep_be))

    # ---- in words ----

    def hold_words(self, event: dict, one: Pass) -> None:
        said = dict(rulings(self.look, [event]))
        for what, text in said.items():
            wanted = getattr(self, what.lower().replace(" ", "_"))(one, event)
            assert text == wanted, (what, event, one)
        asked = {"route", "NAT", "firewall"} if one.way else set()
        if one.way and one.way.way[0] != "hairpin" and not self.twin.lost(one.way.way):
            asked |= {"next hop", "MTU"}
        if event["reason"] == "FIREWALL_DENIED":
            asked |= {"NAT", "firewall"}
        if event["reason"] in ("NO_DNAT", "NAT_FILTERED", "NO_NAT"):
            asked |= {"NAT"}
        if event["reason"] in ("NO_ROUTE", "BLACKHOLE") and not one.key.uplink:
            asked |= {"route"}
        assert asked <= set(said), (asked, said, event)

    def within(self, one: Pass) -> bool:
        """Does it stay in the overlay?"""
        if one.key.uplink:
            return False
        route = self.twin.policy.route(one.key.vrf, one.key.dst)
        return route is not None and route.kind != UPLINK

    def route(self, one: Pass, event: dict) -> str:
        key, policy = one.key, self.twin.policy
        dst = key.dst
        if key.uplink:
            dst = one.way.address if one.way and one.way.side else dst
            dst = one.decision.address if not one.way else dst
            assert dst not in policy.secondary, "nobody is routed to a secondary address"
        found = policy.route(key.vrf, dst)
        if not found:
            return f"none for {dotted(dst)}"
        if not key.uplink and policy.outwards(key.vrf, dst) == ("hairpin",):
            return f"{dotted(dst)} is a public address of ours: turned round here"
        way = {
            UPLINK: f"by the uplink to {dotted(num(found.next_hop_be))}",
            SEGMENT: f"segment seg-{found.vni}",
            BLACKHOLE: "blackhole",
        }[found.kind]
        return f"{dotted(num(found.prefix_be))}/{found.prefix_len}, {way}"

    def nat(self, one: Pass, event: dict) -> str:
        if self.within(one):
            return "not asked within the overlay"
        nat_id = one.rules[0]
        if not nat_id:
            return "not translated" if one.way else "no rule"
        rule = next((rule for rule in self.twin.policy.nat if rule.id == nat_id), None)
        text = f"rule {rule.name} ({KINDS[rule.action]})" if rule else f"rule {nat_id}"
        if one.way and one.way.side:
            port = f":{event['new_port']}" if event["new_port"] else ""  # held in hold_way()
            text += f", puts {dotted(one.way.address)}{port}"
            if pub := self.twin.policy.secondary.get(one.way.address):
                text += f" (Elastic IP, {dotted(num(pub.address_be))})"
        elif one.key.uplink and rule and self.one_target(rule):
            text += f", leads to {dotted(one.decision.address)}"
        return text

    def one_target(self, rule) -> bool:
        return rule.action == 2 or (rule.action == 0 and rule.n_targets == 1)

    def firewall(self, one: Pass, event: dict) -> str:
        if self.within(one):
            return "not asked within the overlay"
        nat_id, fw_id = self.rules(one, event)
        policy = self.twin.policy
        if fw_id:
            rule = next((rule for rule in policy.firewall if rule.id == fw_id), None)
            if not rule:
                return f"rule {fw_id}"
            return f"rule {rule.name} ({ACTIONS[rule.action]})"
        rule = next((rule for rule in policy.nat if rule.id == nat_id), None)
        if rule and rule.fw_match == BYPASS:
            return f"bypassed by NAT rule {rule.name}"
        if one.session and not one.new:
            return "no rule, when its session was made"
        vrf = policy.vrfs[one.key.vrf]
        default = vrf.default_in if one.key.uplink else vrf.default_out
        return f"no rule, the VRF's default ({ACTIONS[default]})"

    def next_hop(self, one: Pass, event: dict) -> str:
        way = one.way and one.way.way
        if not way or event["next"] == NOWHERE:  # it ended, or its own is gone, and leads there
            hop = num(self.twin.policy.route(one.key.vrf, one.key.dst).next_hop_be)
            way = "hop", hop
        return self.hop(way)

    def hop(self, way: tuple) -> str:
        address, known = self.leads_to(way), self.twin.neighbour(way)
        if not known:
            return f"{address}, not among the next hops"
        mac = known.mac.hex(":") if known.resolved else "not known"
        silent = ", nobody answers" if known.silent and not known.resolved else ""
        return f"{'router' if way[0] == 'hop' else 'TEP'} {address}, MAC {mac}{silent}"

    def mtu(self, one: Pass, event: dict) -> str:
        return f"IP packets up to {self.twin.mtu(one.way.way)} bytes"

    def way_back(self, one: Pass, event: dict) -> str:
        policy, key = self.twin.policy, one.key
        assert key.uplink
        found = policy.route(key.vrf, key.src)
        if not found:
            return f"none for {dotted(key.src)}"
        text = f"{dotted(num(found.prefix_be))}/{found.prefix_len}, "
        if found.kind != UPLINK:
            return text + ("blackhole" if found.kind == BLACKHOLE else f"segment seg-{found.vni}")
        if key.src in policy.elastic:
            return f"{dotted(key.src)} is a public address of ours: turned round here"
        hop = num(found.next_hop_be)
        return text + f"by the uplink to {dotted(hop)}; {self.hop(('hop', hop))}"
