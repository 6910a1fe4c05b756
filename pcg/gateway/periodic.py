"""A thread that does the same again and again, until it is closed."""

import threading

JOIN_S = 30.0  # longer than any client waits; a look that hangs does not keep the program


class Periodic:
    """look() is called at once and then with `every_s` between two, ended() at the end; both in the
    thread. An exception ends it."""

    def __init__(self, name: str, every_s: float) -> None:
        self._every_s, self._end = every_s, threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def look(self) -> None:
        raise NotImplementedError

    def ended(self) -> None:
        """To give back what look() has opened."""

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """After the look that is under way; also without start()."""
        self._end.set()
        if self._thread.is_alive():
            self._thread.join(timeout=JOIN_S)

    def _run(self) -> None:
        try:
            while not self._end.is_set():
                self.look()
                self._end.wait(self._every_s)
        finally:
            self.ended()
