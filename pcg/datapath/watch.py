"""Whether the interfaces that were opened are still those of their names.

A packet socket stays with the interface it was opened on. When that one is deleted and another of
its name is made, nothing comes and nothing goes, and only a new process can open it: this one has
given its privileges away. While there is none of the name, the others go on.
"""

import socket
from collections.abc import Callable, Mapping


class Watch:
    def __init__(
        self, opened: Mapping[str, int], index_of: Callable[[str], int] = socket.if_nametoindex
    ) -> None:
        """`opened`: index by name, as they were when they were opened."""
        self._opened, self._index_of = dict(opened), index_of
        self._gone: set[str] = set()

    def replaced(self) -> str:
        """The first that is another one now, or was away and is back; "" when there is none."""
        for name, opened in self._opened.items():
            try:
                index = self._index_of(name)
            except OSError:
                self._gone.add(name)
                continue
            if index != opened or name in self._gone:
                return name
        return ""
