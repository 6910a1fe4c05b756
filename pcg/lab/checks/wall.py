"""Point 10: the gateway firewall, asked by real clients."""

import errno
import json
import socket
import time

from msgspec.structs import replace

from pcg.lab import ns
from pcg.lab.checks.change import PATIENCE_S, in_time, others_undisturbed, put_back
from pcg.lab.checks.check import check, equal, expect
from pcg.lab.clients import Stream, curl
from pcg.lab.lab import Lab
from pcg.lab.layout import HTTP, INTERNET, INTERNET_OTHER, UPLINK_ROUTER
from pcg.lab.programs import until
from pcg.model.desired import (
    Desired,
    Direction,
    FirewallAction,
    FirewallRule,
    FirewallSection,
    Group,
    Nat,
    NatAction,
    PortRange,
    Protocol,
    Service,
)

SILENT_S = 0.7  # no word for so long is silence
ALLOW, DROP, REJECT = FirewallAction.ALLOW, FirewallAction.DROP, FirewallAction.REJECT
IN, OUT = Direction.IN, Direction.OUT
# Linux: RST to who connects; ICMP 3/13 (RFC 1812 section 5.2.7.1) to who sends a datagram
WORDS = {
    0: "open",
    errno.ECONNREFUSED: "reset",
    errno.EHOSTUNREACH: "prohibited",
    errno.EAGAIN: "silence",
}


def dial(space: str, to: str, port: int = HTTP) -> str:
    with ns.inside(space), socket.socket(socket.AF_INET, socket.SOCK_STREAM) as asked:
        asked.settimeout(SILENT_S)
        code = asked.connect_ex((to, port))
    return WORDS.get(code, errno.errorcode.get(code, str(code)))


def send(space: str, to: str, port: int = 9) -> str:
    """A datagram: what is said of it."""
    with ns.inside(space), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        asked.settimeout(SILENT_S)
        asked.connect((to, port))
        asked.send(b"?")
        try:
            asked.recv(1)
        except TimeoutError:
            return WORDS[errno.EAGAIN]
        except OSError as error:
            return WORDS.get(error.errno, str(error))
    return WORDS[0]


def tcp(port: int) -> tuple[Service, ...]:
    at = PortRange(first=port, last=port)
    return (Service(protocol=Protocol.TCP, destination_ports=(at,)),)


def rule(name: str, action: FirewallAction, direction: Direction, **given) -> FirewallRule:
    return FirewallRule(id=name, action=action, direction=direction, **given)


def walled(*rules: FirewallRule, groups: tuple[Group, ...] = (), **defaults: FirewallAction):
    """A change of the desired state: these rules of t1 before all others."""

    def change(desired: Desired) -> Desired:
        section = FirewallSection(id="wall", vrf="t1", rules=rules)
        rest = tuple(s for s in desired.firewall.sections if s.id != section.id)
        wall = replace(desired.firewall, sections=(section, *rest), **defaults)
        more = {g.id for g in groups}
        kept = tuple(g for g in desired.groups if g.id not in more)
        return replace(desired, firewall=wall, groups=(*kept, *groups))

    return change


def becomes(lab: Lab, space: str, to: str, wanted: str, port: int = HTTP) -> None:
    until(f"{wanted} from {to}", lambda: dial(space, to, port) == wanted, PATIENCE_S)


@check(10, "ALLOW, DROP and REJECT, as a client meets them; who is denied is in the log")
def actions(lab: Lab) -> str:
    space = lab.layout.workload_ns("web1")
    many = Group(
        id="many", vrf="t1", members=(f"{INTERNET_OTHER}/32", *(f"192.0.2.{i}" for i in range(256)))
    )
    with put_back(lab):
        rejecting = rule("no-many", REJECT, OUT, destination=("many",), services=tcp(HTTP))
        lab.publish(walled(replace(rejecting, log=True), groups=(many,)))
        becomes(lab, space, INTERNET_OTHER, "reset")
        equal("who is in no group", dial(space, INTERNET), "open")
        line = until("a line in the rules' log", lambda: _denied(lab, "no-many"), PATIENCE_S)
        equal("the workload in the log", line["workload"], "web1")
        (row,) = (r for r in lab.ask.show("firewall") if r["name"] == "no-many")
        expect(row["hits"] > 0, "the rule has no hits")
        lab.publish(walled(replace(rejecting, action=DROP), groups=(many,)))
        becomes(lab, space, INTERNET_OTHER, "silence")
    becomes(lab, space, INTERNET_OTHER, "open")
    return f"RST by REJECT, {row['hits']} hits, silence by DROP, open without"


def _denied(lab: Lab, name: str) -> dict | None:
    path = lab.layout.run / "rules.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    seen = (json.loads(line) for line in lines)
    return next((s for s in seen if s["event"] == "denied" and s["firewall"] == name), None)


@check(10, "a default for each direction: in nobody, out everybody, and answers come back")
def defaults(lab: Lab) -> str:
    elastic, _ = lab.layout.public("eip-web")
    internet, web = lab.layout.ns("inet"), lab.layout.workload_ns("web1")
    equal("the web server before", dial(internet, elastic, 80), "open")
    with put_back(lab):
        with others_undisturbed(lab, "app1"):
            lab.publish(walled(default_in=DROP))
            becomes(lab, internet, elastic, "silence", 80)
            equal("the workload's own connection", dial(web, INTERNET), "open")
        lab.publish(walled(default_in=DROP, default_out=REJECT))
        becomes(lab, web, INTERNET, "reset")
        equal("a datagram", send(web, INTERNET), "prohibited")
        lab.publish(walled(rule("out", ALLOW, OUT), default_in=REJECT))
        becomes(lab, internet, elastic, "reset", 80)
    becomes(lab, internet, elastic, "open", 80)
    return "in DROP: silence; REJECT: RST to TCP, ICMP 3/13 to a datagram; a download went on"


@check(10, "a rule denies what runs: that download ends within a second, others go on")
def running_download(lab: Lab) -> str:
    space = lab.layout.workload_ns("web1")
    denying = rule("no-other", DROP, OUT, destination=(INTERNET_OTHER,))
    with (
        put_back(lab),
        others_undisturbed(lab, "web1"),
        Stream(space, f"http://{INTERNET_OTHER}:{HTTP}/stream") as stream,
    ):
        since = lab.publish(walled(denying))
        stopped = _last_growth(stream)
        took = in_time(lab, "the end of the download", stopped - since)
    return f"the last byte came {max(0.0, took) * 1000:.0f} ms after the controller knew"


@check(10, "a silent connection that a rule denies is reset within a second, though nobody speaks")
def silent_connection(lab: Lab) -> str:
    space = lab.layout.workload_ns("web1")
    denying = walled(rule("no-other", DROP, OUT, destination=(INTERNET_OTHER,)))

    def change(desired: Desired) -> Desired:
        nat = (replace(n, reset=_has_tcp(n)) for n in desired.nat)
        return denying(replace(desired, nat=tuple(nat)))

    with put_back(lab), ns.inside(space), socket.create_connection((INTERNET_OTHER, HTTP)) as held:
        held.settimeout(PATIENCE_S)
        since = lab.publish(change)
        try:
            held.recv(1)
        except ConnectionResetError:
            took = in_time(lab, "the reset", time.monotonic() - since)
        else:
            expect(False, "the connection was closed, not reset")
    becomes(lab, space, INTERNET_OTHER, "open")
    return f"reset {took * 1000:.0f} ms after the controller knew"


def _has_tcp(rule: Nat) -> bool:
    """Whether TCP's sessions begin by it, which alone can be reset."""
    tcp_too = rule.match.protocol in (Protocol.ANY, Protocol.TCP)
    return tcp_too and rule.action is not NatAction.NO_DNAT


def _last_growth(stream: Stream) -> float:
    """The moment (monotonic s) of its last byte, once none has come for a while."""
    seen, at, end = stream.received, time.monotonic(), time.monotonic() + PATIENCE_S
    while time.monotonic() < at + SILENT_S:
        expect(time.monotonic() < end, "the download goes on")
        time.sleep(0.01)
        if stream.received != seen:
            seen, at = stream.received, time.monotonic()
    return at


@check(10, "stateless rules: no session, and the reply needs a rule of its own")
def stateless(lab: Lab) -> str:
    app, vpc = lab.layout.port("app1").addresses[0], UPLINK_ROUTER[0]
    space, url = lab.layout.ns("igw"), f"http://{app}:{HTTP}/whoami"
    request = rule("vpc-in", ALLOW, IN, source=(vpc,), destination=(app,), stateful=False)
    reply = rule("vpc-out", ALLOW, OUT, source=(app,), destination=(vpc,), stateful=False)
    shut = {"default_in": DROP, "default_out": DROP}
    with put_back(lab):
        lab.publish(walled(request, **shut))
        becomes(lab, space, app, "silence")
        lab.publish(walled(request, reply, **shut))
        becomes(lab, space, app, "open")
        curl(space, url)
        between = [s for s in lab.ask.show("sessions") if f"{vpc}:" in s["from"]]
        new = [s for s in between if s["age_s"] < s["idle_s"] + 1 and s["firewall_rule"]]
        equal("sessions by a rule", new, [])
        hits = {r["name"]: r["hits"] for r in lab.ask.show("firewall")}
        expect(min(hits["vpc-in"], hits["vpc-out"]) > 4, f"too few packets asked: {hits}")
    becomes(lab, space, app, "open")
    return f"a page by {hits['vpc-in']} packets in and {hits['vpc-out']} out, each asked about"
