"""What one gateway of a pair leased, as bindings for the other: pure.

So a client that renews at the other one, after a takeover, keeps its address (docs/dhcp.md), for as
long as it renews there: by then its first gateway has forgotten the lease, and the other has it. A
binding that does not fit the other's state is left out, it alone: a binding is a help, never a
reason to refuse a state.
"""

from collections.abc import Iterable

import msgspec

from pcg.model.addresses import address_number, prefix_number
from pcg.model.desired import Desired, Port, Segment
from pcg.model.dhcp import StaticBinding
from pcg.model.errors import Problem
from pcg.model.validate import validate
from pcg.reconcile.compile_dhcp import owner, side_of
from pcg.wire.messages import Lease


def with_leases(
    desired: Desired, leases: Iterable[Lease], own: Iterable[Lease] = ()
) -> tuple[Desired, list[Problem]]:
    """`desired` with a binding for each lease of a dynamic port of its, the same object when none
    is new; and why those that were left out do not fit.

    leases  of its peer
    own     of this gateway: bound are those of the peer's share, which it gave by a binding
    """
    segments = {s.id: s for s in desired.segments if s.dhcp is not None}
    ports = {p.id: p for p in desired.ports if p.segment in segments and not p.addresses}
    bound = {s.id: {(b.mac, b.address) for b in s.bindings} for s in desired.dhcp}
    added: dict[str, list[StaticBinding]] = {}
    bindable = [*leases, *(one for one in own if of_peer(one, desired, segments))]
    for lease in sorted(bindable, key=lambda one: (one.segment, one.mac, one.address)):
        scope = scope_of(lease, segments, ports)
        if scope and (lease.mac, lease.address) not in bound[scope]:
            bound[scope].add((lease.mac, lease.address))
            added.setdefault(scope, []).append(StaticBinding(mac=lease.mac, address=lease.address))
    made = bind(desired, added)
    problems = validate(made) if added else []
    if problems:
        made = bind(desired, fitting(desired, added, problems))
    return made, problems


def bind(desired: Desired, added: dict[str, list[StaticBinding]]) -> Desired:
    """After those of each scope that it has; the same object when there are none."""
    if not any(added.values()):
        return desired
    scopes = tuple(
        msgspec.structs.replace(s, bindings=(*s.bindings, *added.get(s.id, ())))
        for s in desired.dhcp
    )
    return msgspec.structs.replace(desired, dhcp=scopes)


def fitting(
    desired: Desired, added: dict[str, list[StaticBinding]], problems: Iterable[Problem]
) -> dict[str, list[StaticBinding]]:
    """Those of `added` that have no problem. To leave out the others brings no new ones."""
    wrong = {p.path.rpartition(".")[0] for p in problems}
    return {
        s.id: [
            binding
            for index, binding in enumerate(added.get(s.id, ()), len(s.bindings))
            if f"dhcp[{s.id}].bindings[{index}]" not in wrong
        ]
        for s in desired.dhcp
    }


def of_peer(lease: Lease, desired: Desired, segments: dict[str, Segment]) -> bool:
    """Whether its address is of the peer's share."""
    segment, number = segments.get(lease.segment), address_number(lease.address)
    if segment is None or number is None:
        return False
    return owner(number, prefix_number(segment.subnet)) != side_of(desired)


def scope_of(lease: Lease, segments: dict[str, Segment], ports: dict[str, Port]) -> str:
    """Id of the scope that it is of; "": the other knows no such port."""
    port = ports.get(lease.port)
    if port is None or (port.segment, port.mac) != (lease.segment, lease.mac):
        return ""
    segment = segments[port.segment]
    return segment.dhcp if segment.vrf == lease.vrf else ""
