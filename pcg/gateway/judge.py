"""Is a desired state valid? The whole answer, without looking at 100,000 ports for one that moved.

A delta that changes a few ports and nothing else is held against the rules as a small document of
those ports, and against the other ports for what must be unique among all. Only a clear yes counts:
in any other case `validate` decides and words what is wrong.
"""

from collections.abc import Callable, Iterator, Sequence

import msgspec

from pcg.model.desired import Desired, Port
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
        self._vrf_of: dict[str, str] = {}
        self._owners: dict[tuple, str] = {}  # what no two ports share -> id of the port

    def __call__(self, desired: Desired) -> list[Problem]:
        if self._few_fit(desired):
            self._good = desired
            return []
        problems = self._validate(desired)
        if not problems and desired is not self._good:
            self._good, self._owners = desired, {}
        return problems

    def _few_fit(self, desired: Desired) -> bool:
        good = self._good
        if good is None or any(getattr(good, f) is not getattr(desired, f) for f in OTHERS):
            return False
        gone, come = difference(good.ports, desired.ports)
        if len(gone) + len(come) > FEW:
            return False
        if self._validate(msgspec.structs.replace(desired, ports=tuple(come))):
            return False
        return self._unique(good, gone, come)

    def _unique(self, good: Desired, gone: Sequence[Port], come: Sequence[Port]) -> bool:
        """Take the change over when it collides with no other port."""
        if not self._owners:
            self._vrf_of = {s.id: s.vrf for s in good.segments}
            self._owners = {key: p.id for p in good.ports for key in self._claims(p)}
        leaving = {p.id for p in gone}
        for port in come:
            if any(self._owners.get(key, port.id) not in leaving | {port.id}
                   for key in self._claims(port)):  # fmt: skip
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
        vrf = self._vrf_of.get(port.segment)
        for address in port.addresses:
            yield "address", vrf, address
