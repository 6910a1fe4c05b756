"""The canonical form of a value: every text whose type has a `form` written the one right way.

Which field has which form is said once, by the types (kinds.py); from them a rewriter is made per
struct, once. A value that is canonical already comes back as the same object.
"""

from collections.abc import Callable, Mapping
from functools import cache
from types import NoneType
from typing import Annotated, Any, TypeVar, get_args, get_origin

import msgspec

from pcg.model import addresses
from pcg.model.desired import Desired, Nat, NatAction

T = TypeVar("T")
Rewrite = Callable[[Any], Any]

FORMS: Mapping[str, Rewrite] = {
    "address": addresses.canonical_address,
    "prefix": addresses.canonical_prefix,
    "span": addresses.canonical_span,
    "mac": addresses.canonical_mac,
    "option": addresses.canonical_option,
    "hex": lambda text: text.lower().removeprefix("0x").replace(":", ""),
}


def canonical(desired: Desired) -> Desired:
    """The same desired state in the form that everything else compares and shows.

    Never fails: a text that cannot be read stays as it is, for `validate` to refuse.
    """
    desired = _desired_rewriter()(desired)
    nat = tuple(_in_order(rule) for rule in desired.nat)
    same = all(new is old for new, old in zip(nat, desired.nat, strict=True))
    return desired if same else msgspec.structs.replace(desired, nat=nat)


@cache
def _desired_rewriter() -> Rewrite:
    return rewriter(Desired, FORMS)


def _in_order(rule: Nat) -> Nat:
    """The targets of a DNAT rule are a set of neighbours: lowest first."""
    if rule.action is not NatAction.DNAT or len(rule.translated) < 2:
        return rule
    numbers = [addresses.address_number(text) for text in rule.translated]
    if None in numbers or numbers == sorted(numbers):
        return rule
    ordered = tuple(addresses.address_text(number) for number in sorted(numbers))
    return msgspec.structs.replace(rule, translated=ordered)


def rewriter(hint: Any, forms: Mapping[str, Rewrite]) -> Rewrite | None:
    """What brings a value of that type to its form; None when there is nothing to rewrite."""
    if get_origin(hint) is Annotated:
        for meta in hint.__metadata__:
            if (form := (meta.extra or {}).get("form")) in forms:
                return forms[form]
        return rewriter(get_args(hint)[0], forms)
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return _of_struct(hint, forms)
    if get_origin(hint) is tuple:
        return _of_items(rewriter(get_args(hint)[0], forms))
    if get_origin(hint) is dict:
        return _of_values(rewriter(get_args(hint)[1], forms))
    if NoneType in get_args(hint):
        return rewriter(next(arg for arg in get_args(hint) if arg is not NoneType), forms)
    return None


def _of_struct(cls: type, forms: Mapping[str, Rewrite]) -> Rewrite | None:
    steps = [(f.name, rewriter(f.type, forms)) for f in msgspec.structs.fields(cls)]
    steps = [(name, step) for name, step in steps if step]

    def rewrite(value: Any) -> Any:
        changes = {}
        for name, step in steps:
            old = getattr(value, name)
            if old is not None and (new := step(old)) is not old:
                changes[name] = new
        return msgspec.structs.replace(value, **changes) if changes else value

    return rewrite if steps else None


def _of_items(step: Rewrite | None) -> Rewrite | None:
    def rewrite(items: tuple) -> tuple:
        new = tuple(map(step, items))
        return items if new == items else new

    return rewrite if step else None


def _of_values(step: Rewrite | None) -> Rewrite | None:
    def rewrite(values: dict) -> dict:
        new = {key: step(value) for key, value in values.items()}
        return values if new == values else new

    return rewrite if step else None
