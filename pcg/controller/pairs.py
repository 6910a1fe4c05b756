"""What one gateway of a pair leased, as bindings for the other: pure.

So a client that renews at the other one, after a takeover, keeps its address (docs/dhcp.md). What
would not fit the other's state is left out: a binding is a help, never a reason to refuse a state.
"""

from collections.abc import Iterable

import msgspec

from pcg.model.desired import Desired, Port, Segment
from pcg.model.dhcp import StaticBinding
from pcg.model.validate import validate
from pcg.wire.messages import Lease


def with_leases(desired: Desired, leases: Iterable[Lease]) -> Desired:
    """`desired` with a binding for each lease of a dynamic port of its; the same object when none
    is new, or when the result would not be valid."""
    segments = {s.id: s for s in desired.segments if s.dhcp is not None}
    ports = {p.id: p for p in desired.ports if p.segment in segments and not p.addresses}
    bound = {s.id: {b.mac for b in s.bindings if b.mac} for s in desired.dhcp}
    taken = {s.id: {b.address for b in s.bindings} for s in desired.dhcp}
    added: dict[str, list[StaticBinding]] = {}
    for lease in sorted(leases, key=lambda one: (one.segment, one.mac, one.address)):
        scope = scope_of(lease, segments, ports)
        if not scope or lease.mac in bound[scope] or lease.address in taken[scope]:
            continue
        bound[scope].add(lease.mac)
        taken[scope].add(lease.address)
        added.setdefault(scope, []).append(StaticBinding(mac=lease.mac, address=lease.address))
    if not added:
        return desired
    scopes = tuple(
        msgspec.structs.replace(s, bindings=(*s.bindings, *added[s.id])) if s.id in added else s
        for s in desired.dhcp
    )
    made = msgspec.structs.replace(desired, dhcp=scopes)
    return desired if validate(made) else made


def scope_of(lease: Lease, segments: dict[str, Segment], ports: dict[str, Port]) -> str:
    """Id of the scope that it is of; "": the other knows no such port."""
    port = ports.get(lease.port)
    if port is None or (port.segment, port.mac) != (lease.segment, lease.mac):
        return ""
    segment = segments[port.segment]
    return segment.dhcp if segment.vrf == lease.vrf else ""
