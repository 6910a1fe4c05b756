"""Rules of the gateway firewall's sections, and of the groups that they name."""

from collections.abc import Sequence

from pcg.model.desired import FirewallAction, FirewallRule, NatAction
from pcg.model.rules.context import Context
from pcg.model.rules.match import check_items, check_ports, check_product
from pcg.model.sizes import GROUP_MEMBERS_MAX

NAMES = ("groups", "public_addresses")


def check(ctx: Context) -> None:
    sections = ctx.desired.firewall.sections
    ctx.unique("firewall.sections", sections)
    check_groups(ctx)
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


def check_groups(ctx: Context) -> None:
    ctx.unique("groups", ctx.desired.groups)
    for group in ctx.desired.groups:
        path = f"groups[{group.id}]"
        ctx.refer(f"{path}.vrf", "vrfs", group.vrf)
        if group.id in ctx.tables["public_addresses"]:
            ctx.add(f"{path}.id", group.id, "is also a public address; rules could mean either")
        check_list(ctx, f"{path}.members", group.members, group.vrf, NAMES[1:])


def check_list(
    ctx: Context, path: str, items: Sequence[str], vrf: str, tables: Sequence[str] = NAMES
) -> None:
    check_items(ctx, path, items, vrf, tables=tables)
    if len(items) > GROUP_MEMBERS_MAX:
        mend = f"are too many for one list; use {GROUP_MEMBERS_MAX} or fewer"
        ctx.add(path, len(items), mend)


def check_rule(ctx: Context, path: str, rule: FirewallRule, vrf: str) -> None:
    if not rule.stateful and rule.action is FirewallAction.ALLOW:
        check_stateless(ctx, path, rule, vrf)
    check_list(ctx, f"{path}.source", rule.source, vrf)
    check_list(ctx, f"{path}.destination", rule.destination, vrf)
    combinations = 0
    for index, service in enumerate(rule.services):
        ports = (service.source_ports, service.destination_ports)
        check_ports(ctx, f"{path}.services[{index}]", service.protocol, *ports)
        combinations += max(len(ports[0]), 1) * max(len(ports[1]), 1)
    check_product(ctx, path, combinations)


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
