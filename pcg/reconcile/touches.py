"""Which sessions a commit may concern: from the policy before and the policy after it.

The datapath decides a session again when a touch matches its forward tuple, before or after
translation. A touch too many costs a few sessions one more decision, one too few leaves a session
on rules that are gone; so where an exact answer would be long, this one is generous.

A session's forward tuple, as its first packet came and as it left:

    from a workload   overlay -> remote                 secondary -> remote (SNAT, REFLEXIVE)
    from the uplink   remote -> secondary               remote -> overlay (DNAT, REFLEXIVE)
    hairpin           overlay -> Elastic IP             secondary -> overlay
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from pcg.model.desired import NatAction
from pcg.reconcile.addresses import ANY, covers
from pcg.reconcile.compile import Policy
from pcg.reconcile.compile_rules import NAT_ACTIONS
from pcg.reconcile.records import Firewall, Members, Nat, Publics, Routes, Segments, Touch, Vrfs

NOTHING = Touch(0xFFFFFFFF, b"\xff" * 4, b"\xff" * 4, 32, 32)  # an empty list means everything
RECORDS_MAX = 64  # each is expanded to what it touches: beyond, whole VRFs
TOUCHES_MAX = 1024  # likewise; the sweep finds those of a session by hash, however many there are
REFLEXIVE = NAT_ACTIONS[NatAction.REFLEXIVE]


def touches(old: Policy, new: Policy) -> list[Touch]:
    """Never empty: the datapath reads an empty list as "everything"."""
    changed = [(policy, _changed(policy, other)) for policy, other in ((old, new), (new, old))]
    records = [(r, policy, expand) for policy, found in changed for expand, r in found]
    if len(records) <= RECORDS_MAX:
        found = {t: None for record, policy, expand in records for t in expand(record, policy)}
        if len(found) <= TOUCHES_MAX:
            return list(found) or [NOTHING]
    vrfs = {vrf for record, policy, _ in records for vrf in _vrfs_of(record, policy)}
    return [whole(vrf) for vrf in sorted(vrfs)]


def _vrfs_of(record: tuple, policy: Policy) -> set[int]:
    """Whose sessions it may concern. An Elastic IP of one VRF is dialled from any: there it is
    turned round inside, and by the uplink nobody but a forger comes from it."""
    if isinstance(record, Publics):
        return {record.vrf, *(vrf.index for vrf in policy.get("vrfs", []))}
    return {record.index if isinstance(record, Vrfs) else record.vrf}


def whole(vrf: int) -> Touch:
    return Touch(vrf, *_order(ANY, ANY))


def _order(src: tuple[bytes, int], dst: tuple[bytes, int]) -> tuple[bytes, bytes, int, int]:
    return src[0], dst[0], src[1], dst[1]


def _changed(policy: Policy, other: Policy) -> list[tuple[Callable, tuple]]:
    """Records of `policy` that are not, or not in that place, in `other`; each with its expander.

    `local` is not among them: MTU and checksum are the adjacencies' business, and the path
    renews those itself.
    """
    found = []
    for table, expand in UNORDERED.items():
        found += [(expand, r) for r in _unordered(policy, other, table)]
    for table, expand in ORDERED.items():
        mine, theirs = policy.get(table, []), other.get(table, [])
        found += [(expand, r) for r in moved(mine, theirs)]
    return found


def _of_vrf(vrf: Vrfs, policy: Policy) -> Iterator[Touch]:
    yield whole(vrf.index)


def _of_segment(segment: Segments, policy: Policy) -> Iterator[Touch]:
    return _either_end(segment.vrf, (segment.subnet_be, segment.prefix_len))


def _of_public(public: Publics, policy: Policy) -> Iterator[Touch]:
    for vrf in sorted(_vrfs_of(public, policy)):
        yield from _either_end(vrf, (public.secondary_be, 32))
        yield from _either_end(vrf, (public.address_be, 32))


def _of_route(route: Routes, policy: Policy) -> Iterator[Touch]:
    # As the source too: the way back of a session that came from there.
    return _either_end(route.vrf, (route.prefix_be, route.prefix_len))


def _of_nat(rule: Nat, policy: Policy) -> Iterator[Touch]:
    yield from _of_match(rule, policy)
    if rule.action == REFLEXIVE:
        yield from _inwards(rule, policy.get("publics", []))


def _of_match(rule: Nat | Firewall, policy: Policy) -> Iterator[Touch]:
    match, publics = rule.match, policy.get("publics", [])
    for src in _faces(rule.vrf, (match.src_be, match.src_len), publics):
        for dst in _faces(rule.vrf, (match.dst_be, match.dst_len), publics):
            yield Touch(rule.vrf, *_order(src, dst))


def _of_member(member: Members, policy: Policy) -> Iterator[Touch]:
    # A rule that names the group may speak of either end.
    prefix = (member.prefix_be, member.prefix_len)
    for face in _faces(member.vrf, prefix, policy.get("publics", [])):
        yield from _either_end(member.vrf, face)


UNORDERED = {
    "vrfs": _of_vrf,
    "segments": _of_segment,
    "publics": _of_public,
    "routes": _of_route,
    "members": _of_member,
}
ORDERED = {"nat": _of_nat, "firewall": _of_match}


def _either_end(vrf: int, prefix: tuple[bytes, int]) -> Iterator[Touch]:
    yield Touch(vrf, *_order(ANY, prefix))
    yield Touch(vrf, *_order(prefix, ANY))


def _inwards(rule: Nat, publics: Sequence) -> Iterator[Touch]:
    """The other direction of a 1:1 rule: from what it matches as destination, to its address."""
    for public in publics:
        if public.index in rule.pool[: rule.n_pool]:
            remote = (rule.match.dst_be, rule.match.dst_len)
            yield Touch(rule.vrf, *_order(remote, (public.secondary_be, 32)))


def _faces(vrf: int, prefix: tuple[bytes, int], publics: Sequence) -> list[tuple[bytes, int]]:
    """A prefix, and the other face of each public address that it covers.

    A rule may name the Elastic IP where the tuple has the secondary address, and the reverse.
    """
    be, length = prefix
    faces = [prefix]
    if length:
        for p in publics:
            if p.vrf == vrf and covers(be, length, p.address_be):
                faces.append((p.secondary_be, 32))
            if p.vrf == vrf and covers(be, length, p.secondary_be):
                faces.append((p.address_be, 32))
    return faces


def _unordered(policy: Policy, other: Policy, table: str) -> Iterator:
    if policy.get(table) == other.get(table):
        return iter(())
    there = set(other.get(table, ()))
    return (record for record in policy.get(table, ()) if record not in there)


def moved(rules: Sequence, other: Sequence) -> list:
    """Rules that are not in `other`, or stand in another order there.

    >>> moved("abc", "ac"), moved("abc", "acb"), moved("ab", "ab")
    (['b'], ['b', 'c'], [])
    """
    if rules == other:
        return []
    spare = Counter(other)
    common, gone = [], []
    for rule in rules:
        if spare[rule] > 0:
            spare[rule] -= 1
            common.append(rule)
        else:
            gone.append(rule)
    theirs = _common(other, common)
    if common != theirs:
        pairs = list(zip(common, theirs, strict=True))
        differ = [i for i, (mine, its) in enumerate(pairs) if mine != its]
        gone.extend(common[differ[0] : differ[-1] + 1])
    return gone


def _common(rules: Iterable, common: Iterable) -> list:
    left, kept = Counter(common), []
    for rule in rules:
        if left[rule] > 0:
            left[rule] -= 1
            kept.append(rule)
    return kept
