"""Rules of the gateway firewall's sections."""

from pcg.model.desired import FirewallRule
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
    if not rule.stateful:
        mend = "is not supported yet; remove it: every rule keeps state"
        ctx.add(f"{path}.stateful", rule.stateful, mend)
    check_items(ctx, f"{path}.source", rule.source, vrf)
    check_items(ctx, f"{path}.destination", rule.destination, vrf)
    combinations = 0
    for index, service in enumerate(rule.services):
        ports = (service.source_ports, service.destination_ports)
        check_ports(ctx, f"{path}.services[{index}]", service.protocol, *ports)
        combinations += max(len(ports[0]), 1) * max(len(ports[1]), 1)
    check_product(ctx, path, len(rule.source), len(rule.destination), combinations)
