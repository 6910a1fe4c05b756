"""The three kinds of error, by who is at fault. Only a program's main loop catches them.

ProtocolError   the peer is wrong: the conversation with it ends
ConfigError     what we were asked for is wrong: refused whole, nothing is changed
BackendError    the world is wrong: said once, tried again with backoff
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

SHOWN_PROBLEMS = 1000  # lines in the text of one ConfigError; `problems` always holds all
SHOWN = 60  # characters of a wrong value in its message


class PcgError(Exception):
    """Base of the three, for `except` in a main loop only."""


class ProtocolError(PcgError):
    """The peer broke the rules of the conversation; the text says which."""


class Problem(NamedTuple):
    """One thing to mend in a document.

    `path` leads to it (`segments[web].subnet`), `value` is what stands there ("" when nothing
    does), `mend` goes on from the value: what is wrong with it; what to write instead.

    >>> print(Problem("segments[web].subnet", "10.0.0.0/33", "is not a prefix; use /0 to /32"))
    segments[web].subnet: 10.0.0.0/33 is not a prefix; use /0 to /32
    """

    path: str
    value: object
    mend: str

    def __str__(self) -> str:
        line = f"{self.path}: {self.mend if self.value == '' else f'{self.value} {self.mend}'}"
        # What it quotes is as the document has it; a log must not get its line breaks.
        return line if line.isprintable() else line.encode("unicode_escape").decode()


def shown(value: Any) -> str:
    """A value as a message quotes it: short, on one line.

    >>> shown("a b"), shown("a\\nb"), shown([1]), shown({}), shown(True), shown("")
    ('a b', "'a\\\\nb'", 'a list', 'a mapping', 'true', 'empty text')
    """
    if isinstance(value, dict | list | tuple):
        return "a mapping" if isinstance(value, dict) else "a list"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "nothing"}[value]
    if value == "":
        return "empty text"
    text = str(value)
    text = text if text.isprintable() else repr(text)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


class ConfigError(PcgError):
    """A document is wrong. Carries every problem found in it, one line of text each."""

    def __init__(self, problems: Iterable[Problem], source: str = "") -> None:
        self.problems = list(problems)
        self.source = source
        super().__init__(self.problems, source)

    def __str__(self) -> str:
        lines = [str(p) for p in self.problems[:SHOWN_PROBLEMS]]
        if len(self.problems) > SHOWN_PROBLEMS:
            lines.append(f"and {len(self.problems) - SHOWN_PROBLEMS} more")
        return "\n".join([f"{self.source} is refused:", *lines] if self.source else lines)


class BackendError(PcgError):
    """Something outside us does not do what it should. Tried again, so it must be harmless to.

    thing  what it is about, by name: "interface eth1", "table ip pcg"
    why    what happened, as far as the system said
    mend   what the operator can do about it; "" when nothing better than to wait is known
    """

    def __init__(self, thing: str, why: str, mend: str = "") -> None:
        self.thing, self.why, self.mend = thing, why, mend
        super().__init__(thing, why, mend)

    def __str__(self) -> str:
        return f"{self.thing}: {self.why}" + (f"; {self.mend}" if self.mend else "")


class AbsentError(BackendError):
    """A program of this host that is not there yet: cheap to look again, and soon."""
