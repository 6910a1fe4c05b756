"""The difference of two desired states, and how to apply it. Pure, no clock, no socket.

The lists that `desired.KEYS` names mean the same in any order (NAT rules carry priorities, routes
are matched by longest prefix), so the link gives them one: by key. Everything else (`gateway`,
`firewall` with its ordered sections, `ha`) is one value and travels whole.

    >>> from pcg.wire.changes import apply, diff     # apply(a, diff(a, b)) == ordered(b)
"""

from bisect import bisect_left
from collections.abc import Iterable
from typing import Any, get_args, get_type_hints

import msgspec

from pcg.model.desired import KEYS, SCHEMA, Desired
from pcg.model.errors import ProtocolError
from pcg.wire.codec import encoder
from pcg.wire.messages import Change, Delete, Put

# What a Put of each kind holds, read from the types of Desired itself.
_HINTS = get_type_hints(Desired, include_extras=True)
_TYPES = {k: get_args(t)[0] if k in KEYS else t for k, t in _HINTS.items() if k != "schema"}
WHOLE = tuple(k for k in _TYPES if k not in KEYS)
_DECODERS = {kind: msgspec.msgpack.Decoder(t) for kind, t in _TYPES.items()}


def ordered(desired: Desired) -> Desired:
    """The same state with each keyed list in the order of its keys; itself when it is so."""
    lists = {}
    for kind, key in KEYS.items():
        have = getattr(desired, kind)
        by_key = tuple(sorted(have, key=key))
        if by_key != have:
            lists[kind] = by_key
    return msgspec.structs.replace(desired, **lists) if lists else desired


def diff(old: Desired, new: Desired) -> tuple[Change, ...]:
    """What leads from `old` to `new`, both with unique keys; () when they mean the same."""
    changes: list[Change] = []
    for kind, key in KEYS.items():
        before = {key(o): o for o in getattr(old, kind)}
        after = {key(o): o for o in getattr(new, kind)}
        changes += [Delete(kind, k) for k in before if k not in after]
        changes += [_put(kind, o) for k, o in after.items() if before.get(k) != o]
    for kind in WHOLE:
        if getattr(old, kind) != getattr(new, kind):
            changes.append(_put(kind, getattr(new, kind)))
    return tuple(changes)


def apply(desired: Desired, changes: Iterable[Change]) -> Desired:
    """`desired` (ordered) with `changes`; ordered. All of them, or none and an error.

    A Delete of a key that is not there does nothing: the end is what counts.

    Raises  ProtocolError   a kind that Desired does not have, an object of another type
    """
    lists: dict[str, _Sorted] = {}
    whole: dict[str, Any] = {}
    for change in changes:
        if change.kind in KEYS:
            if change.kind not in lists:
                lists[change.kind] = _Sorted(change.kind, getattr(desired, change.kind))
            lists[change.kind].change(change)
        elif change.kind in WHOLE and isinstance(change, Put):
            whole[change.kind] = _object(change)
        else:
            raise ProtocolError(f"a change of {change.kind!r}, which schema {SCHEMA} does not have")
    return msgspec.structs.replace(
        desired, **whole, **{kind: tuple(held.objects) for kind, held in lists.items()}
    )


class _Sorted:
    """A list in the order of its keys: a change costs two searches, not a pass over 100 k ports."""

    def __init__(self, kind: str, objects: Iterable[Any]) -> None:
        self.key = KEYS[kind]
        self.objects = list(objects)

    def change(self, change: Change) -> None:
        new = _object(change) if isinstance(change, Put) else None
        key = change.key if isinstance(change, Delete) else self.key(new)
        at = bisect_left(self.objects, key, key=self.key)
        there = at < len(self.objects) and self.key(self.objects[at]) == key
        if new is not None:
            self.objects[at : at + there] = [new]
        elif there:
            del self.objects[at]


def _put(kind: str, value: Any) -> Put:
    return Put(kind, msgspec.Raw(encoder.encode(value)))


def _object(change: Put) -> Any:
    try:
        return _DECODERS[change.kind].decode(change.object)
    except msgspec.MsgspecError as e:
        raise ProtocolError(f"a change of {change.kind} that makes no sense: {e}") from e
