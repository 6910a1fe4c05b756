"""YAML text to a plain tree of dict, list, str, int, float and bool, with no surprises.

The YAML that we read is the core schema of YAML 1.2, less what configuration does not need:
`yes` and `on` are text, `12:34:56:12:34:56` is text and not a number to base 60, there are no
dates. Anchors and tags are refused by name. A key without a value is as good as absent, so that
a list whose items are all commented out is an empty one.

The tree is built from libyaml's events: PyYAML's own constructor takes 15 s for a document
of 100,000 ports, this takes 3 s. A document that is JSON takes a tenth of that.
"""

import json
import math
import re
from typing import Any

import yaml
from yaml.cyaml import CParser

from pcg.model.errors import ConfigError, Problem, shown

DEPTH_MAX = 32  # of lists and mappings; libyaml takes quadratic time in it
INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,30})")
HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]{1,16}")
# With a point, and a sign in the exponent: "12e4567" is an id to those who write YAML 1.1 as well.
FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)\.[0-9]*)([eE][-+][0-9]{1,3})?")
WORDS = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
WORDS |= {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}

# How an item of a list is named in a path, where "id" does not do.
NAMED_BY = {"teps": ("address",), "routes": ("vrf", "prefix")}


def item_name(field: str, item: Any, index: int) -> str:
    """ "web" for the item {"id": "web"} of a list, "3" for one that does not say its name."""
    if isinstance(item, dict):
        parts = [item.get(key) for key in NAMED_BY.get(field, ("id",))]
        if all(isinstance(part, str) and part.isprintable() for part in parts):
            return "/".join(parts)
    return str(index)


def read_tree(text: str | bytes, source: str = "") -> Any:
    """The document as a tree. Raises ConfigError with every duplicate key, or one syntax error."""
    try:
        text = text.decode("utf-8-sig") if isinstance(text, bytes) else text
        text.encode()
    except UnicodeError as error:
        wrong = Problem("document", "", f"is not UTF-8 text ({error.reason}); save it as UTF-8")
        raise ConfigError([wrong], source) from None
    if text.lstrip().startswith("{"):
        try:
            return read_json(text)
        except (ValueError, RecursionError):
            pass  # YAML's flow style, or wrong: what follows finds out and says where
    builder = Builder()
    try:
        parser = CParser(text)
        while (event := parser.get_event()) is not None:
            builder.take(event)
    except yaml.YAMLError as error:
        builder.problems.append(syntax_problem(error))
    except NestingError:
        pass
    if builder.problems:
        raise ConfigError(builder.problems, source)
    return builder.root


def syntax_problem(error: yaml.YAMLError) -> Problem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "document"
    why = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    return Problem(where, "", f"is not YAML ({why}); mend the syntax there or just before")


def read_json(text: str) -> Any:
    """Raises ValueError for what is not JSON, or says a key twice, or could not be sent on."""
    tree = json.loads(
        text, object_pairs_hook=_object, parse_float=_finite, parse_constant=_no_constant
    )
    if "\\ud" in text or "\\uD" in text:
        json.dumps(tree, ensure_ascii=False).encode()  # half a surrogate pair raises
    return tree


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    whole = dict(pairs)
    if len(whole) != len(pairs):
        raise ValueError("a key stands there twice")
    return {k: v for k, v in whole.items() if v is not None} if None in whole.values() else whole


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("not a finite number")
    return value


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def scalar(text: str) -> str | int | float | bool | None:
    """What a plain word means.

    >>> [scalar(word) for word in ("7", "0x1f", "1.5", "true", "~", "yes", "10.0.0.1", "007")]
    [7, 31, 1.5, True, None, 'yes', '10.0.0.1', '007']
    """
    if text in WORDS:
        return WORDS[text]
    if INTEGER.fullmatch(text):
        return int(text)
    if HEXADECIMAL.fullmatch(text):
        return int(text, 16)
    if FLOAT.fullmatch(text) and math.isfinite(value := float(text)):
        return value
    return text


class NestingError(Exception):
    """Told already, and not worth reading on."""


class Level:
    """A list or a mapping that is still open; `key` is the one whose value comes next."""

    __slots__ = ("items", "key", "pending", "seen")

    def __init__(self, items: dict | list) -> None:
        self.items, self.key, self.pending = items, "", False
        self.seen: set[str] = set()


class Builder:
    """Events in, tree out in `root`. Goes on after a duplicate key, to find them all."""

    def __init__(self) -> None:
        self.root: Any = None
        self.problems: list[Problem] = []
        self.levels: list[Level] = []
        self.documents = 0
        self.words: dict[str, Any] = {}  # what each plain word met so far means

    def take(self, event: yaml.Event) -> None:
        kind = type(event)
        if kind is yaml.ScalarEvent:
            if event.anchor or event.tag:
                self.refuse(event)
            self.take_scalar(event)
        elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
            if event.anchor or event.tag:
                self.refuse(event)
            self.open({} if kind is yaml.MappingStartEvent else [], event)
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            self.levels.pop()
        elif kind is yaml.AliasEvent:
            self.refuse(event)
            self.put("", event)
        elif kind is yaml.DocumentStartEvent:
            self.documents += 1
            if self.documents == 2:
                self.add(event, "begins a second document; keep one per file")

    def take_scalar(self, event: yaml.ScalarEvent) -> None:
        text = event.value
        level = self.levels[-1] if self.levels else None
        if level is not None and type(level.items) is dict and not level.pending:
            level.key, level.pending = text, True
            if text in level.seen:
                path = ".".join(filter(None, [self.path(len(self.levels) - 1), shown(text)]))
                line = event.start_mark.line + 1
                mend = f"stands there twice, the second time on line {line}; keep one"
                self.problems.append(Problem(path, "", mend))
            level.seen.add(text)
        elif not event.implicit[0]:
            self.put(text, event)
        else:
            try:
                self.put(self.words[text], event)
            except KeyError:
                self.put(self.words.setdefault(text, scalar(text)), event)

    def open(self, items: dict | list, event: yaml.Event) -> None:
        self.put(items, event)
        self.levels.append(Level(items))
        if len(self.levels) > DEPTH_MAX:
            self.add(event, f"is nested deeper than {DEPTH_MAX}; no document here is")
            raise NestingError

    def put(self, value: Any, event: yaml.Event) -> None:
        if not self.levels:
            if self.documents <= 1:
                self.root = value
            return
        level = self.levels[-1]
        if type(level.items) is list:
            level.items.append(value)
        elif not level.pending:
            level.key, level.pending = "?", True
            self.add(event, "is a list or mapping in place of a key; give the key a name")
        else:
            level.pending = False
            if value is not None:
                level.items[level.key] = value

    def refuse(self, event: yaml.Event) -> None:
        what = f"anchor {event.anchor!r}" if event.anchor else f"tag {event.tag!r}"
        self.add(event, f"has the {what}, which is not read here; write the value out")

    def add(self, event: yaml.Event, mend: str) -> None:
        self.problems.append(Problem(f"line {event.start_mark.line + 1}", "", mend))

    def path(self, depth: int) -> str:
        """Where the level of that depth stands, with ids as far as they are read."""
        path = field = ""
        for level, inner in zip(self.levels[:depth], self.levels[1 : depth + 1], strict=True):
            if type(level.items) is dict:
                path += f".{shown(level.key)}" if path else shown(level.key)
                field = level.key
            else:
                path += f"[{item_name(field, inner.items, len(level.items) - 1)}]"
        return path
