"""Is a desired state valid? The whole answer, without looking at 100,000 ports for one that moved.

A delta that changes a few ports and nothing else is held against the rules as a small document of
those ports, and against the other ports for what must be unique among all. Only a clear yes counts:
in any other case `validate` decides and words what is wrong.
"""

from collections.abc import Callable, Iterator, Sequence

from pcg.model.desired import Desired, Port, Segment, Tep
from pcg.model.errors import Problem
from pcg.reconcile.ports import difference

FEW = 1000  # changed ports; for more the whole document costs about the same
OTHERS = tuple(f for f in Desired.__struct_fields__ if f != "ports")

Validate = Callable[[Desired], list[Problem]]


class Judge:
    """Call it with a desired state: every problem of it, none when it is valid."""

    def __init__(self, validate: Validate) -> None:
        self._validate = validate
        self._good: Desired | None = None
        self._segments: dict[str, Segment] = {}
        self._teps: dict[str, Tep] = {}
        self._owners: dict[tuple, str] = {}  # what no two ports share -> id of the port

    def __call__(self, desired: Desired) -> list[Problem]:
        if self._few_fit(desired):
            self._good = desired
            return []
        problems = self._validate(desired)
        if not problems:
            if self._good is None or _indexed(self._good) != _indexed(desired):
                self._owners = {}
            self._good = desired
        return problems

    def _few_fit(self, desired: Desired) -> bool:
        good = self._good
        if good is None or any(getattr(good, f) is not getattr(desired, f) for f in OTHERS):
            return False
        gone, come = difference(good.ports, desired.ports)
        if len(gone) + len(come) > FEW:
            return False
        if not self._owners:
            self._index(good)
        if self._validate(self._excerpt(desired, come)):
            return False
        return self._unique(gone, come)

    def _index(self, good: Desired) -> None:
        self._segments = {s.id: s for s in good.segments}
        self._teps = {t.address: t for t in good.teps}
        self._owners = {key: p.id for p in good.ports for key in self._claims(p)}

    def _excerpt(self, desired: Desired, ports: Sequence[Port]) -> Desired:
        """The document as far as a rule of ports looks at it.

        Where a VRF has DHCP, bindings are compared with ports and pools with all its segments.
        """
        segments = {p.segment: self._segments.get(p.segment) for p in ports}
        vrfs = {s.vrf for s in segments.values() if s}
        scopes = tuple(s for s in desired.dhcp if s.vrf in vrfs)
        if scopes:
            segments = {s.id: s for s in desired.segments if s.vrf in vrfs}
        teps = {p.tep for p in ports}
        teps.update(t for s in segments.values() if s for t in s.replication)
        return Desired(
            schema=desired.schema,
            gateway=desired.gateway,
            vrfs=tuple(v for v in desired.vrfs if v.id in vrfs),
            teps=tuple(self._teps[t] for t in teps if t in self._teps),
            segments=tuple(s for s in segments.values() if s),
            ports=tuple(ports),
            dhcp=scopes,
        )

    def _unique(self, gone: Sequence[Port], come: Sequence[Port]) -> bool:
        """Take the change over when it collides with no other port."""
        leaving = {p.id for p in gone}
        for port in come:
            owners = {self._owners.get(key, port.id) for key in self._claims(port)}
            if not owners <= {*leaving, port.id}:
                return False
            if ("id", port.id) in self._owners and port.id not in leaving:
                return False
        for port in gone:
            for key in self._claims(port):
                self._owners.pop(key, None)
        for port in come:
            self._owners.update(dict.fromkeys(self._claims(port), port.id))
        return True

    def _claims(self, port: Port) -> Iterator[tuple]:
        yield "id", port.id
        yield "mac", port.segment, port.mac
        segment = self._segments.get(port.segment)
        vrf = segment.vrf if segment else None
        for address in port.addresses:
            yield "address", vrf, address


def _indexed(desired: Desired) -> tuple[int, ...]:
    """Changes with what the index is made of; both states are alive while they are compared."""
    return id(desired.ports), id(desired.segments), id(desired.teps)
