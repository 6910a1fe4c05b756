"""Rules of the gateway firewall's sections."""

from pcg.model.desired import FirewallAction, FirewallRule, NatAction
from pcg.model.rules.context import Context
from pcg.model.rules.match import check_items, check_ports, check_product


def check(ctx: Context) -> None:
    sections = ctx.desired.firewall.sections
    ctx.unique("firewall.sections", sections)
    seen: dict[str, str] = {}  # rule -> section; one id is one rule in counters and traces
    for section in sections:
        path = f"firewall.sections[{section.id}]"
        ctx.refer(f"{path}.vrf", "vrfs", section.vrf)
        for rule in section.rules:
            where = f"{path}.rules[{rule.id}]"
            if rule.id in seen:
                mend = f"is also a rule of section {seen[rule.id]}; ids are unique"
                ctx.add(f"{where}.id", rule.id, mend)
            seen.setdefault(rule.id, section.id)
            check_rule(ctx, where, rule, section.vrf)


def check_rule(ctx: Context, path: str, rule: FirewallRule, vrf: str) -> None:
    if not rule.stateful and rule.action is FirewallAction.ALLOW:
        check_stateless(ctx, path, rule, vrf)
    check_items(ctx, f"{path}.source", rule.source, vrf)
    check_items(ctx, f"{path}.destination", rule.destination, vrf)
    combinations = 0
    for index, service in enumerate(rule.services):
        ports = (service.source_ports, service.destination_ports)
        check_ports(ctx, f"{path}.services[{index}]", service.protocol, *ports)
        combinations += max(len(ports[0]), 1) * max(len(ports[1]), 1)
    check_product(ctx, path, len(rule.source), len(rule.destination), combinations)


def check_stateless(ctx: Context, path: str, rule: FirewallRule, vrf: str) -> None:
    """A translation lives in a session, so without state goes only what is not translated."""
    for name, items in (("source", rule.source), ("destination", rule.destination)):
        for index, item in enumerate(items):
            if item in ctx.tables["public_addresses"] or item in ctx.elastic:
                mend = "is translated, and that takes a session; give it to a stateful rule"
                ctx.add(f"{path}.{name}[{index}]", item, mend)
    if not ctx.unsure and not untranslated(ctx, vrf):
        mend = f"has no effect: all of VRF {vrf} is translated, and that takes a session; remove it"
        ctx.add(f"{path}.stateful", rule.stateful, mend)


def untranslated(ctx: Context, vrf: str) -> bool:
    """May anything cross the uplink of that VRF with the addresses that it has?"""
    kept = (n for n in ctx.desired.nat if n.enabled and n.action is NatAction.NO_SNAT)
    routed = (s for s in ctx.desired.segments if s.routed)
    return any(o.vrf == vrf for o in (*kept, *routed)) or ctx.missing.any("nat")
