"""A plain tree to typed structs, with every structural error and not only the first.

msgspec converts a right tree at once. Only what it refuses is taken apart: field by field, item by
item, until each wrong leaf is named. An object with a wrong leaf is left out of what comes back
and remembered as `missing`, so that the rules that follow do not blame those who refer to it.
"""

import difflib
from dataclasses import dataclass, field
from types import NoneType
from typing import Any, get_args, get_origin

import msgspec
from msgspec import inspect

from pcg.model.document import item_name
from pcg.model.errors import Problem, shown


class _Broken:
    """In place of a value that could not be made."""


BROKEN = _Broken()


@dataclass
class Missing:
    """What the document names and the structs lack, since it was wrong."""

    fields: set[str] = field(default_factory=set)  # of the document: nothing of it is known
    names: dict[str, set[str]] = field(default_factory=dict)  # field of the document -> objects

    def covers(self, field: str, name: str) -> bool:
        return field in self.fields or name in self.names.get(field, ())

    def any(self, field: str) -> bool:
        return field in self.fields or bool(self.names.get(field))


@dataclass
class Conversion:
    value: Any  # None when nothing could be made of the tree
    problems: list[Problem]
    missing: Missing


def convert(tree: Any, cls: type) -> Conversion:
    """The tree as a `cls`. With problems, `value` has what was right; a field that was not has
    its default, or None when it has no default."""
    walk = _Walk()
    try:
        return Conversion(msgspec.convert(tree, cls), walk.problems, walk.missing)
    except msgspec.ValidationError:
        return Conversion(walk.document(tree, cls), walk.problems, walk.missing)


def did_you_mean(word: str, known: Any, otherwise: str) -> str:
    """
    >>> did_you_mean("wbe", ["web", "app"], "define it")
    'did you mean web?'
    """
    close = difflib.get_close_matches(word[:64], known, n=1)
    return f"did you mean {close[0]}?" if close else otherwise


class _Walk:
    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.missing = Missing()

    def add(self, path: str, value: Any, mend: str) -> _Broken:
        self.problems.append(Problem(path, shown(value), mend))
        return BROKEN

    def tell(self, path: str, mend: str) -> None:
        """Of something that is not there."""
        self.problems.append(Problem(path, "", mend))

    def document(self, tree: Any, cls: type) -> Any:
        values = self.fields(tree, cls, "")
        if values is BROKEN:
            return None
        for info in msgspec.structs.fields(cls):
            if values.get(info.name) is BROKEN or (info.required and info.name not in values):
                self.missing.fields.add(info.name)
                values.pop(info.name, None)
                if info.required:
                    values[info.name] = None
        return cls(**values)

    def value(self, raw: Any, hint: Any, path: str, name: str) -> Any:
        """`raw` as a `hint`; `name` is that of the field it stands in."""
        try:
            return msgspec.convert(raw, hint)
        except msgspec.ValidationError:
            pass
        if NoneType in get_args(hint):
            hint = next(arg for arg in get_args(hint) if arg is not NoneType)
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            return self.struct(raw, hint, path)
        if get_origin(hint) is tuple and isinstance(raw, list):
            return self.items(raw, get_args(hint)[0], path, name)
        if get_origin(hint) is dict and isinstance(raw, dict):
            return self.entries(raw, *get_args(hint), path)
        return self.add(path, raw, wrong(raw, hint))

    def struct(self, raw: Any, cls: type, path: str) -> Any:
        values = self.fields(raw, cls, path)
        if values is BROKEN or BROKEN in values.values():
            return BROKEN
        try:
            return cls(**values)
        except TypeError:  # a field that must be there is not; said already
            return BROKEN

    def fields(self, raw: Any, cls: type, path: str) -> Any:
        """The fields that are there, converted or BROKEN; unknown and absent ones are told."""
        infos = {info.name: info for info in msgspec.structs.fields(cls)}
        if not isinstance(raw, dict):
            fields = ", ".join(infos)
            return self.add(path or "document", raw, f"is not a mapping; give it fields: {fields}")
        for name in raw:
            if name not in infos:
                mend = did_you_mean(name, infos, "it has " + ", ".join(infos))
                self.tell(_join(path, shown(name)), f"is not a field here; {mend}")
                if not path:  # what was meant is then in the document, unread
                    self.missing.fields.update(difflib.get_close_matches(name[:64], infos, n=1))
        for name, info in infos.items():
            if info.required and name not in raw:
                self.tell(_join(path, name), f"is missing; {use(info.type)}")
        unknown = {"": BROKEN} if path and raw.keys() - infos.keys() else {}
        return unknown | {
            name: self.value(raw[name], info.type, _join(path, name), name)
            for name, info in infos.items()
            if name in raw
        }

    def items(self, raw: list, hint: Any, path: str, name: str) -> Any:
        """An object with a name of its own that is wrong is left out; any other spoils the list."""
        top_level = "." not in path and "[" not in path
        named = top_level or "id" in getattr(hint, "__struct_fields__", ())
        made = []
        for index, item in enumerate(raw):
            called = item_name(name, item, index)
            value = self.value(item, hint, f"{path}[{called}]", name)
            if value is not BROKEN:
                made.append(value)
            elif not named:
                made.append(BROKEN)
            elif top_level:
                self.missing.names.setdefault(name, set()).add(called)
        return BROKEN if BROKEN in made else tuple(made)

    def entries(self, raw: dict, key_hint: Any, hint: Any, path: str) -> Any:
        made = {}
        for key, value in raw.items():
            where = f"{path}[{shown(key)}]"
            name = self.value(key, key_hint, where, "")
            made[name] = self.value(value, hint, where, "")
        return BROKEN if BROKEN in made or BROKEN in made.values() else made


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def wrong(raw: Any, hint: Any) -> str:
    """What is wrong with a value that is not of its type, and what to write."""
    info = inspect.type_info(hint)
    extra = getattr(info, "extra", None) or {}
    info = getattr(info, "type", info)
    if isinstance(info, inspect.StrType):
        if not isinstance(raw, str):
            return (
                "is not text; put it in quotes"
                if not isinstance(raw, dict | list)
                else ("is not text; write a single value")
            )
        return f"is not {extra.get('kind', 'text of a right length')}; {use(hint)}"
    if isinstance(info, inspect.EnumType | inspect.LiteralType):
        choices = choices_of(info)
        close = [c for c in choices if isinstance(raw, str) and c.lower() == raw.lower()]
        return f"is unknown; {f'write {close[0]}' if close else use(hint)}"
    if isinstance(info, inspect.IntType | inspect.FloatType):
        number = isinstance(raw, int | float) and not isinstance(raw, bool)
        return f"{'is out of range' if number else 'is not a number'}; {use(hint)}"
    if isinstance(info, inspect.BoolType):
        return f"is neither true nor false; {use(hint)}"
    kind = "mapping" if isinstance(info, inspect.DictType) else "list"
    return f"is not a {kind}; {use(hint)}"


def use(hint: Any) -> str:
    """What to write for a value of that type."""
    info = inspect.type_info(hint)
    extra = getattr(info, "extra", None) or {}
    info = getattr(info, "type", info)
    if "use" in extra:
        return f"use {extra['use']}"
    match info:
        case inspect.IntType(ge=low, le=high):
            return f"use a whole number from {low} to {high}"
        case inspect.FloatType(gt=low, le=high):
            return f"use a number above {low}, at most {high}"
        case inspect.EnumType() | inspect.LiteralType():
            return f"use {' or '.join(choices_of(info))}"
        case inspect.BoolType():
            return "use true or false"
        case inspect.StructType():
            return "give it " + ", ".join(f.name for f in info.fields if f.required)
        case inspect.VarTupleType():
            return "write it as a list: [a, b]"
        case inspect.DictType():
            return "write it as a mapping: {name: value}"
    return "write its value"


def choices_of(info: inspect.EnumType | inspect.LiteralType) -> list[str]:
    if isinstance(info, inspect.LiteralType):
        return [str(value) for value in info.values]
    return [member.value for member in info.cls]
