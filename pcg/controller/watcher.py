"""Looks at the folder of desired-state files when something in it stirs, and now and then."""

import logging
import threading
import time
from collections.abc import Callable

from watchfiles import watch

from pcg.controller.folder import SETTLE_S, Finding, Folder
from pcg.model.errors import ConfigError

log = logging.getLogger(__name__)
logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it announces every change; we do

DEBOUNCE_MS, STEP_MS = 100, 20  # a burst of events ends after 20 ms without one
LOOK_MS = 500  # without an event: mounts and links change in ways that inotify does not tell
RETRY_S = 1.0


class Watcher(threading.Thread):
    """A thread of its own, since reading a large document takes seconds and heartbeats do not wait.

    `found` is called in this thread.
    """

    def __init__(self, folder: Folder, found: Callable[[list[Finding]], None]) -> None:
        super().__init__(name="watcher", daemon=True)
        self.folder, self.found = folder, found
        self._stopping = threading.Event()
        self._said = ""

    def stop(self) -> None:
        self._stopping.set()
        self.join()

    def run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._watch()
            except (OSError, ConfigError) as e:
                if str(e) != self._said:
                    log.error("%s", e)
                self._said = str(e)
                self._stopping.wait(RETRY_S)

    def _watch(self) -> None:
        stirred = watch(
            self.folder.path,
            watch_filter=None,
            debounce=DEBOUNCE_MS,
            step=STEP_MS,
            rust_timeout=LOOK_MS,
            yield_on_timeout=True,
            recursive=False,
            stop_event=self._stopping,
        )
        self._look()
        for _ in stirred:
            self._look()

    def _look(self) -> None:
        unsettled = True
        while unsettled and not self._stopping.is_set():
            findings, unsettled = self.folder.look(time.time())
            self._said = ""
            if findings:
                self.found(findings)
            if unsettled:
                self._stopping.wait(SETTLE_S)
