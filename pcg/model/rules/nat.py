"""Rules of NAT: what each action needs, and what two rules cannot share."""

from collections.abc import Iterable
from itertools import pairwise

from pcg.model.addresses import Prefix, span_number
from pcg.model.desired import Nat, NatAction, PortRange, Protocol
from pcg.model.rules import nat_terms
from pcg.model.rules.context import Context, overlaps
from pcg.model.rules.match import check_items, check_ports, check_product, check_range
from pcg.model.sizes import NAT_RULES_MAX, POOL_MAX

ALL_PORTS = PortRange(0, 65535)
ON_UPLINK = (NatAction.DNAT, NatAction.NO_DNAT)  # they match what came in, before translation
SOURCE_IDS = "is a public address; the source here is an overlay address or prefix"
PEER_IDS = "is a public address; only the destination of DNAT and NO_DNAT can be one"


def check(ctx: Context) -> None:
    rules = ctx.desired.nat
    ctx.unique("nat", rules)
    if len(rules) > NAT_RULES_MAX:
        ctx.add("nat", len(rules), f"are too many; a gateway holds {NAT_RULES_MAX}")
    for rule in rules:
        path = f"nat[{rule.id}]"
        ctx.refer(f"{path}.vrf", "vrfs", rule.vrf)
        check_match(ctx, path, rule)
        CHECKS[rule.action](ctx, path, rule)
        nat_terms.check(ctx, path, rule)
    check_shared(ctx)
    check_promised(ctx)
    check_present(ctx)


def check_match(ctx: Context, path: str, rule: Nat) -> None:
    match = rule.match
    uplink = rule.action in ON_UPLINK
    source_ids = PEER_IDS if uplink else SOURCE_IDS
    check_items(ctx, f"{path}.match.source", match.source, rule.vrf, source_ids)
    if uplink:
        check_destinations(ctx, path, rule)
    else:
        check_items(ctx, f"{path}.match.destination", match.destination, rule.vrf, PEER_IDS)
    ports = (match.source_ports, match.destination_ports)
    check_ports(ctx, f"{path}.match", match.protocol, *ports)
    check_product(ctx, f"{path}.match", len(match.source), len(match.destination), *map(len, ports))


def check_destinations(ctx: Context, path: str, rule: Nat) -> None:
    """Ids only: the address on our uplink is another one on the HA peer."""
    ctx.no_repeats(f"{path}.match.destination", rule.match.destination)
    for index, item in enumerate(rule.match.destination):
        where = f"{path}.match.destination[{index}]"
        if span_number(item) is not None:
            named = ctx.elastic.get(item)
            mend = f"write {named}" if named else "define it under public_addresses"
            ctx.add(where, item, f"is not the id of a public address; {mend}")
            continue
        ctx.refer_in_vrf(where, "public_addresses", item, rule.vrf)


# ---- one per action ----


def check_dnat(ctx: Context, path: str, rule: Nat) -> None:
    if not rule.match.destination:
        mend = "is missing; DNAT needs the public addresses it takes, by id"
        ctx.add(f"{path}.match.destination", None, mend)
    if not rule.translated:
        ctx.add(
            f"{path}.translated", None, "is missing; DNAT needs the overlay address it leads to"
        )
    check_targets(ctx, path, rule)
    if rule.translated_ports is not None:
        check_new_ports(ctx, path, rule, rule.translated_ports)
    one_to_one = len(rule.match.destination) <= 1 and len(rule.translated) <= 1
    check_portless(ctx, path, rule, one_to_one)


def check_targets(ctx: Context, path: str, rule: Nat) -> None:
    """Neighbours, since the path holds the first and how many; each one a workload's place."""
    ctx.no_repeats(f"{path}.translated", rule.translated)
    numbers = []
    for index, text in enumerate(rule.translated):
        where = f"{path}.translated[{index}]"
        number = ctx.address(where, text)
        if number is not None:
            numbers.append((number, text))
            check_workload(ctx, where, text, Prefix(number, number), rule.vrf)
    numbers.sort()
    for (before, _), (number, text) in pairwise(numbers):
        if number > before + 1:
            mend = "does not follow the address before it; DNAT takes neighbours, one after another"
            ctx.add(f"{path}.translated", text, mend)


def check_workload(ctx: Context, path: str, text: str, span: Prefix, vrf: str) -> None:
    """All of them where workloads can be: one subnet of the VRF, less its own addresses."""
    if ctx.unsure:
        return
    subnet = ctx.segment_at(vrf, span.first)
    if subnet is None or not span.within(subnet.prefix):
        ctx.add(path, text, f"is in no segment of VRF {vrf}; use a workload's address")
    elif span.size == 1 and (span.first == subnet.gateway or subnet.prefix.edge(span.first)):
        what = "gateway" if span.first == subnet.gateway else "network or broadcast address"
        mend = f"is the {what} of segment {subnet.segment.id}; use a workload's address"
        ctx.add(path, text, mend)


def check_new_ports(ctx: Context, path: str, rule: Nat, to: PortRange) -> None:
    where = f"{path}.translated_ports"
    if rule.match.protocol not in (Protocol.TCP, Protocol.UDP):
        ctx.add(where, rule.match.protocol.value, "has no ports to change; match tcp or udp")
    elif check_new_range(ctx, where, to) and to.first != to.last:
        length = to.last - to.first + 1
        matched = [r.last - r.first + 1 for r in rule.match.destination_ports]
        if matched != [length]:
            mend = f"is a range of {length}; match one range of as many destination_ports"
            ctx.add(where, f"{to.first} to {to.last}", mend)


def check_new_range(ctx: Context, path: str, to: PortRange) -> bool:
    if to.first == 0:
        ctx.add(path, f"{to.first} to {to.last}", "begins at port 0, which no one can use; use 1")
        return False
    return check_range(ctx, path, to)


def check_portless(ctx: Context, path: str, rule: Nat, one_to_one: bool) -> None:
    if rule.match.protocol in nat_terms.PORTLESS and not one_to_one:
        mend = "is carried by address alone; translate one address to one, or use REFLEXIVE"
        ctx.add(f"{path}.match.protocol", rule.match.protocol.value, mend)


def check_snat(ctx: Context, path: str, rule: Nat) -> None:
    if not rule.translated:
        ctx.add(f"{path}.translated", None, "is missing; SNAT needs public addresses, by id")
    check_pool(ctx, path, rule)
    if rule.translated_ports is not None:
        check_new_range(ctx, f"{path}.translated_ports", rule.translated_ports)
    spans = [span_number(item) for item in rule.match.source]
    one = len(spans) == 1 and (spans[0] is None or spans[0].size == 1)
    check_portless(ctx, path, rule, one and len(rule.translated) <= 1)


def check_pool(ctx: Context, path: str, rule: Nat) -> None:
    if len(rule.translated) > POOL_MAX:
        mend = f"public addresses are too many for one rule; use {POOL_MAX} or fewer"
        ctx.add(f"{path}.translated", len(rule.translated), mend)
    ctx.no_repeats(f"{path}.translated", rule.translated)
    for index, item in enumerate(rule.translated):
        where = f"{path}.translated[{index}]"
        if span_number(item) is not None:
            mend = "is not the id of a public address; define it under public_addresses"
            ctx.add(where, item, mend)
        else:
            ctx.refer_in_vrf(where, "public_addresses", item, rule.vrf)


def check_reflexive(ctx: Context, path: str, rule: Nat) -> None:
    match = rule.match
    if len(match.source) != 1:
        what = len(match.source) or None
        mend = "sources are too many; REFLEXIVE takes one" if what else "is missing; name the one"
        ctx.add(f"{path}.match.source", what, f"{mend} address or prefix that is translated")
    else:
        check_reflexive_source(ctx, path, rule)
    check_pool(ctx, path, rule)
    if match.destination:
        mend = "narrows a rule that works both ways; use SNAT and DNAT, or remove it"
        ctx.add(f"{path}.match.destination", match.destination[0], mend)
    if match.protocol is not Protocol.ANY or match.source_ports or match.destination_ports:
        mend = "narrows a rule that carries every protocol and port; remove protocol and ports"
        ctx.add(f"{path}.match.protocol", match.protocol.value, mend)
    if rule.translated_ports is not None:
        ctx.add(f"{path}.translated_ports", None, "is given; REFLEXIVE keeps ports, remove it")


def check_reflexive_source(ctx: Context, path: str, rule: Nat) -> None:
    source = rule.match.source[0]
    span = span_number(source)
    if span is None:
        return
    check_workload(ctx, f"{path}.match.source[0]", source, span, rule.vrf)
    if span.size > POOL_MAX:
        mend = f"is {span.size} addresses; REFLEXIVE translates {POOL_MAX} at most, split it"
        ctx.add(f"{path}.match.source[0]", source, mend)
    elif span.size != len(rule.translated):
        need = f"REFLEXIVE needs {span.size}, one for each address of {source}"
        ctx.add(f"{path}.translated", None, f"counts {len(rule.translated)}; {need}")


def check_exemption(ctx: Context, path: str, rule: Nat) -> None:
    if rule.translated:
        mend = f"is given; {rule.action.value} translates nothing, remove it"
        ctx.add(f"{path}.translated", rule.translated[0], mend)
    if rule.translated_ports is not None:
        mend = f"is given; {rule.action.value} translates nothing, remove it"
        ctx.add(f"{path}.translated_ports", None, mend)


CHECKS = {
    NatAction.DNAT: check_dnat,
    NatAction.SNAT: check_snat,
    NatAction.REFLEXIVE: check_reflexive,
    NatAction.NO_SNAT: check_exemption,
    NatAction.NO_DNAT: check_exemption,
}


# ---- between rules; a rule that is not enabled is in nobody's way ----


def used_publics(rule: Nat) -> tuple[str, ...]:
    return rule.match.destination if rule.action is NatAction.DNAT else rule.translated


def check_shared(ctx: Context) -> None:
    """A 1:1 rule takes every port of its public addresses, so nobody else can have one."""
    rules = [rule for rule in ctx.desired.nat if rule.enabled]
    taken: dict[str, str] = {}  # public address -> the REFLEXIVE rule
    sources: dict[str, list[tuple[Prefix, Nat]]] = {}
    for rule in rules:
        if rule.action is not NatAction.REFLEXIVE:
            continue
        for item in dict.fromkeys(rule.translated):
            other = taken.setdefault(item, rule.id)
            if other != rule.id:
                mend = f"is taken whole by nat[{other}], REFLEXIVE; use another"
                ctx.add(f"nat[{rule.id}].translated", item, mend)
        span = span_number(rule.match.source[0]) if len(rule.match.source) == 1 else None
        if span is not None:
            sources.setdefault(rule.vrf, []).append((span, rule))
    check_reflexive_overlap(ctx, sources)
    for rule in rules:
        if rule.action in (NatAction.SNAT, NatAction.DNAT):
            field = "match.destination" if rule.action is NatAction.DNAT else "translated"
            for item in dict.fromkeys(used_publics(rule)):
                if item in taken:
                    mend = f"is taken whole by nat[{taken[item]}], REFLEXIVE; use another"
                    ctx.add(f"nat[{rule.id}].{field}", item, mend)


def check_reflexive_overlap(ctx: Context, sources: dict) -> None:
    for spans in sources.values():
        for later, earlier in overlaps(spans):
            mend = f"is also translated by nat[{earlier.id}], REFLEXIVE; keep them apart"
            ctx.add(f"nat[{later.id}].match.source[0]", later.match.source[0], mend)


def check_promised(ctx: Context) -> None:
    """A port that a DNAT rule takes is never drawn, but of one that takes all of them."""
    doors: dict[str, list[tuple[PortRange, str]]] = {}
    for rule in ctx.desired.nat:
        if rule.enabled and rule.action is NatAction.DNAT:
            for item in rule.match.destination:
                taken = ((r, rule.id) for r in rule.match.destination_ports if r != ALL_PORTS)
                doors.setdefault(item, []).extend(taken)
    for rule in ctx.desired.nat:
        to = rule.translated_ports
        if not rule.enabled or rule.action is not NatAction.SNAT or to is None:
            continue
        for item in rule.translated:
            other = whole(to, doors.get(item, ()))
            if other:
                mend = f"are all taken by nat[{other}], DNAT of {item}; draw from others"
                ctx.add(f"nat[{rule.id}].translated_ports", f"{to.first} to {to.last}", mend)


def whole(ports: PortRange, doors: Iterable[tuple[PortRange, str]]) -> str:
    """A rule by which, with others perhaps, all of them are taken; "": some are left."""
    at, last = ports.first, ""
    for taken, rule in sorted(doors, key=lambda door: door[0].first):
        if taken.first <= at <= taken.last:
            at, last = taken.last + 1, rule
    return last if at > ports.last else ""


def check_present(ctx: Context) -> None:
    """What NAT uses must have an address on this gateway's uplink."""
    if ctx.desired.gateway is None:
        return
    ours = ctx.desired.gateway.id
    told = set()
    for rule in ctx.desired.nat:
        for item in used_publics(rule) if rule.enabled else ():
            public = ctx.tables["public_addresses"].get(item)
            if public is not None and ours not in public.secondary and item not in told:
                told.add(item)
                mend = f"has no address for gateway {ours}, and nat[{rule.id}] uses it; add one"
                ctx.add(f"public_addresses[{item}].secondary", None, mend)
