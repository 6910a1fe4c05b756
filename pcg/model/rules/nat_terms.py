"""Terms of NAT rules: timers, quotas, filtering, resets. What would mean nothing is refused."""

from pcg.model.desired import FirewallMatch, Nat, NatAction, Protocol
from pcg.model.rules.context import Context
from pcg.model.terms import TIMERS_LEAST, Filtering

# Carried by address alone: their ports, if any, are kept, so they need a 1:1 rule.
PORTLESS = (Protocol.GRE, Protocol.ESP, Protocol.AH, Protocol.SCTP)
# Which timers a protocol's sessions have, by how their names begin.
TIMED = {Protocol.TCP: "tcp_", Protocol.UDP: "udp_", Protocol.ICMP: "icmp_"}


def check(ctx: Context, path: str, rule: Nat) -> None:
    check_timers(ctx, path, rule)
    if rule.action is NatAction.NO_DNAT:
        check_no_session(ctx, path, rule)
        return
    if rule.action is not NatAction.SNAT:
        refuse(
            ctx,
            path,
            drawing(rule),
            f"is for rules that draw ports; {rule.action.value} draws none",
        )
    elif rule.match.protocol in PORTLESS:
        to = rule.translated_ports
        given = {"translated_ports": to and f"{to.first} to {to.last}"} | drawing(rule)
        refuse(ctx, path, given, f"is about ports; {rule.match.protocol.value} has none")
    if rule.match.protocol not in (Protocol.ANY, Protocol.TCP):
        refuse(ctx, path, resets(rule), f"is for TCP; the rule matches {rule.match.protocol.value}")
    if rule.action is NatAction.NO_SNAT and rule.firewall_match is FirewallMatch.INTERNAL_ADDRESS:
        mend = "names one of two addresses; NO_SNAT translates nothing"
        refuse(ctx, path, {"firewall_match": rule.firewall_match.value}, mend)


def refuse(ctx: Context, path: str, given: dict[str, object], why: str) -> None:
    """What is given, of these fields (None, False: it is not), in this rule has no meaning."""
    for field, value in given.items():
        if value is not None and value is not False:
            ctx.add(f"{path}.{field}", value, f"{why}, remove it")


def drawing(rule: Nat) -> dict[str, object]:
    strict = rule.filtering is Filtering.ADDRESS_DEPENDENT
    filtering = None if strict else rule.filtering.value
    return {"filtering": filtering, "overflow": rule.overflow, "quota.ports": rule.quota.ports}


def resets(rule: Nat) -> dict[str, object]:
    return {"reset": rule.reset, "reset_idle": rule.reset_idle}


def check_no_session(ctx: Context, path: str, rule: Nat) -> None:
    """NO_DNAT ends a packet: nothing begins by it, so nothing of it can last, end or be logged."""
    timers = {
        f"timers.{name}": getattr(rule.timers, name) for name in TIMERS_LEAST | {"other_s": 0}
    }
    default = rule.firewall_match is FirewallMatch.EXTERNAL_ADDRESS
    match = None if default else rule.firewall_match.value
    given = drawing(rule) | resets(rule) | timers | {"firewall_match": match, "log": rule.log}
    given["quota.sessions"] = rule.quota.sessions
    refuse(ctx, path, given, "is for rules that let sessions begin; NO_DNAT lets none")


def check_timers(ctx: Context, path: str, rule: Nat) -> None:
    """Shorter than the RFCs allow, a session may end that both sides believe in.

    RFC 4787 REQ-5a: where all destination ports are well-known ones, UDP's may be shorter.
    """
    dports, protocol = rule.match.destination_ports, rule.match.protocol
    known = protocol is Protocol.UDP and dports and all(r.last < 1024 for r in dports)
    for name, least in TIMERS_LEAST.items():
        value = getattr(rule.timers, name)
        where = f"{path}.timers.{name}"
        if value is None:
            continue
        if value < least and not (name == "udp_s" and known):
            ctx.add(where, value, f"is shorter than RFCs allow; use {least} or more")
        if protocol is not Protocol.ANY and not name.startswith(TIMED.get(protocol, "other_")):
            mend = f"is of another protocol; the rule matches {protocol.value}, remove it"
            ctx.add(where, value, mend)
