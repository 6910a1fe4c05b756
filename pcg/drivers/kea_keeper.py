"""Keeps one VRF's Kea as it should be: running, reachable, with the configuration asked for.

A thread of its own for each, since a Kea that hangs must hold up nobody else. Every configuration
goes the same way: tested, then set, then written to the file that the next start begins with. One
that is refused changes nothing; Kea keeps serving by the one before. It must be tested first:
a refused config-set leaves Kea with closed sockets.
"""

import logging
import threading
import time
from pathlib import Path
from typing import Any

from pcg.drivers import kea_files, kea_leases
from pcg.drivers.kea_config import Place, digest, document
from pcg.drivers.kea_control import SLOW_S, Control
from pcg.drivers.kea_process import LOOPBACK, Running, find, last_words, start
from pcg.drivers.kea_shortage import Shortage
from pcg.drivers.patience import Patience
from pcg.model.errors import BackendError
from pcg.model.settings import Dhcp
from pcg.reconcile.compile_dhcp import Server

log = logging.getLogger(__name__)

CHECK_S = 1.0  # is it there, does it answer
START_S = 60.0  # for a million leases to be read
CLOSE_S = 10.0
SILENT_MAX = 2  # unanswered in a row; then it is ended and started anew
LOST_MAX = 2  # looks in a row without a lease file; one may be while Kea cleans up
SWEEP_S = 600.0  # look for leases of ports that are gone
OTHERS_S = 5.0  # configured so long after we did: by somebody else
JUMP_S = 5.0  # forward, of the clock on the wall; less is no matter to leases of a minute or more
REFUSED_S = 60.0  # what config-set refused costs a restart each time it is tried
REST = 4  # times as long as a configuration took the next one waits: Kea serves nobody meanwhile
FIRST_S, LONGEST_S = 0.2, 10.0  # between tries of what failed
STEADY_S = 10.0  # ran for so long: what ends it then is news, not the same trouble again
EMPTY = Server([], {}, False, frozenset())  # any Kea takes it


class Keeper:
    def __init__(self, vrf: str, settings: Dhcp, folder: Path, relay_port: int) -> None:
        self.place = Place(folder, vrf)
        self.thing = f"DHCP server of VRF {vrf}"
        self.settings, self.relay_port = settings, relay_port
        self.control = Control(self.place.socket, self.thing)
        self.shortage = Shortage(self.control, vrf)
        self.running: Running | None = None
        self.error: BackendError | None = None
        self.server = EMPTY
        self.asked = Patience(BackendError(self.thing, "has not taken what is asked for yet"))
        self.asked.begin()
        self._document: dict[str, Any] = {}
        self._made: Server | None = None  # what `_document` was made from
        self._held = ""  # digest of what Kea has
        self._since = self._sweep_at = self._quiet_until = 0.0
        self._refused: tuple[str, BackendError] | None = None  # by config-set: digest, what it said
        self._again_at = 0.0
        self._ahead = ahead()
        self._set_at = float("-inf")  # when it was configured last, to our knowledge
        self._failures = self._silent = self._lost = 0
        self._unwritten = False  # what Kea has, to the file that the next start begins with
        self._closing = self._retiring = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"kea-{vrf}", daemon=True)
        self._thread.start()

    # ---- of any thread ----

    def follow(self, server: Server) -> None:
        if server != self.server:
            self.server = server
            self.asked.begin()
            self._wake.set()

    def address(self) -> tuple[str, int] | None:
        """Where it takes requests; None: it does not, at present."""
        running = self.running
        return (LOOPBACK, running.ports.server) if running else None

    def retire(self) -> None:
        """The VRF serves nobody any more: end Kea. Its leases stay, for when it is wanted again."""
        self._retiring = True
        self.close()

    def close(self) -> None:
        """Let go of it; Kea goes on. Who waits for one that hangs is not waited for."""
        self._closing = True
        self._wake.set()
        self._thread.join(CLOSE_S)

    # ---- of its own thread ----

    def _run(self) -> None:
        wait_s = 0.0
        while not self._closing:
            self._wake.wait(wait_s)
            self._wake.clear()
            if not self._closing:
                wait_s = self._step()
        if self._retiring:
            self._end()
        elif self.running:
            self.running.close()

    def _step(self) -> float:
        """Seconds to wait before the next one."""
        server, error, mistake = self.server, None, None
        try:
            self._stand(server)
        except BackendError as e:
            error = e
        except Exception as e:  # of ours; it must end neither this thread nor what waits for it
            error, mistake = BackendError(self.thing, f"a mistake of the gateway's own: {e!r}"), e
        if (left_s := self._quiet_until - time.monotonic()) > 0 and self._differs() and not error:
            return left_s
        if server is self.server:
            if error and str(error) != str(self.error):
                log.warning("%s", error, exc_info=mistake)
            self.error = error
            self.asked.done()
        self._failures = self._failures + 1 if error else 0
        if not error:
            return CHECK_S
        return min(LONGEST_S, FIRST_S * 2 ** min(self._failures - 1, 16))

    def _stand(self, server: Server) -> None:
        if server is not self._made:
            self._document, self._made = document(self.place, server), server
        if not kea_files.has_room(self.place):
            self._end(at_once=True)  # what it could not write it must not write later
            mend = "make room; until then nobody gets or renews an address"
            raise BackendError(f"lease file {self.place.leases}", "its disk is full", mend)
        fell = self._look_after()
        if self.running is None:
            self._take_over()
        if self.running is None:
            self._begin()
        if self._differs() and time.monotonic() >= self._quiet_until:
            self._configure()
        self._mind_the_clock(server)
        self.shortage.look(server.served, time.monotonic())
        if server.holds and time.monotonic() >= self._sweep_at:
            self._sweep(server)
        if self._unwritten and not self._differs():
            kea_files.write(self.place.config, self._document)
            self._unwritten = False
        if fell:
            log.warning("%s: %s; serving again", self.thing, fell)

    def _look_after(self) -> str:
        """What happened to it; "": nothing. It may be gone afterwards."""
        if self.running is None:
            return ""
        if self.running.ended():
            why = self.running.how()
        elif not self._answers():
            self.running.kill()
            why = "did not answer and was ended"
        elif not self.running.serves():
            self.running.end()
            why = "had lost its UDP port and was ended"
        elif self._lost_leases():
            self.running.end()
            why = "had lost its lease file and was ended; what it gave is not known to it any more"
        else:
            return ""
        self.running = None
        if time.monotonic() - self._since < STEADY_S:
            words = last_words(self.place)
            raise BackendError(self.thing, f"{why}{f': {words}' if words else ''}")
        return why

    def _lost_leases(self) -> bool:
        """It goes on writing to a file that was removed, and the next one would know nothing."""
        self._lost = self._lost + 1 if kea_files.lost(self.place) else 0
        return self._lost >= LOST_MAX

    def _answers(self) -> bool:
        try:
            status = self.control.ask("status-get")
        except BackendError as e:
            self._silent += 1
            if self._silent < SILENT_MAX:
                raise
            log.warning("%s", e)
            return False
        self._silent = 0
        set_at = time.monotonic() - status.get("reload", 0)
        if set_at > self._set_at + OTHERS_S:  # not by us, or its clock was set back
            self._set_at = set_at
            self._held = digest(self.control.ask("config-get", timeout_s=SLOW_S))
        return True

    def _take_over(self) -> None:
        """The one that runs already, of a gateway before us."""
        found = find(self.place, self.control)
        if found is None:
            return
        self.running, self._since, self._silent = found, time.monotonic(), 0
        self._unwritten = True  # or it is, and the gateway before us could not tell
        if found.ports.relay != self.relay_port:
            log.info("%s: answers to another port than the relay's; started anew", self.thing)
            self._end()
            return
        if self._answers():
            log.info("%s: process %d taken over", self.thing, found.pid)

    def _begin(self) -> None:
        """Start it with the last configuration that it took, or an empty one."""
        kea_files.prepare(self.place, self.settings.user)
        kea_files.mend(self.place)
        accepted = kea_files.accepted(self.place)
        if not accepted:
            kea_files.write(self.place.config, document(self.place, EMPTY))
        running = start(self.place, self.settings.kea, self.settings.user, self.relay_port)
        until = time.monotonic() + START_S
        while not self._is_up(running):
            if running.ended(0.02):
                words = last_words(self.place)
                if accepted:  # it may be what is wrong; the next try is without it
                    kea_files.forget(self.place)
                raise BackendError(self.thing, f"{running.how()} while it began: {words}")
            if time.monotonic() > until or self._closing:
                running.kill()
                raise BackendError(self.thing, f"does not serve {START_S:g} s after its start")
        self.running, self._since, self._silent = running, time.monotonic(), 0
        self._set_at, self._unwritten, self._lost = self._since, False, 0
        self._held = accepted or digest(document(self.place, EMPTY))
        log.info("%s: process %d serves on port %d", self.thing, running.pid, running.ports.server)

    def _is_up(self, running: Running) -> bool:
        try:
            self.control.ask("status-get", timeout_s=START_S)
        except BackendError:
            return False
        return running.serves()

    def _differs(self) -> bool:
        return self._held != digest(self._document)

    def _configure(self) -> None:
        began = time.monotonic()
        if self._refused and self._refused[0] == digest(self._document) and began < self._again_at:
            raise self._refused[1]
        self.control.ask("config-test", self._document, SLOW_S)
        try:
            self.control.ask("config-set", self._document, SLOW_S)
        except BackendError as e:
            # With closed sockets. It starts anew with the last one it took, and serves by that.
            self._refused, self._again_at = (digest(self._document), e), began + REFUSED_S
            self._end()
            self._begin()
            raise
        self._held = digest(self._document)
        if self.running:
            self.running.serves()  # which gives its new socket room, too
        self._unwritten = True
        self._set_at = time.monotonic()
        self._quiet_until = self._set_at + REST * (self._set_at - began)

    def _mind_the_clock(self, server: Server) -> None:
        """Kea counts by the clock on the wall, clients by their own. When the first one leaps
        forward, leases that still run must not end by it: another client would get the address."""
        now_ahead = ahead()
        leapt_s = now_ahead - self._ahead
        if leapt_s > JUMP_S:
            before = time.monotonic() + self._ahead
            held = list(kea_leases.read(self.control, self.place.vrf, server.served))
            running = [h for h in held if h.lease.state == "leased" and h.ends > before]
            for lease in running:
                kea_leases.move(self.control, lease, leapt_s)
            text = "%s: the clock leapt %.0f s forward; %d leases were moved with it"
            log.warning(text, self.thing, leapt_s, len(running))
        self._ahead = now_ahead

    def _sweep(self, server: Server) -> None:
        """Free what was held for ports that are gone."""
        self._sweep_at = time.monotonic() + SWEEP_S
        held = list(kea_leases.read(self.control, self.place.vrf, server.served))
        for address in kea_leases.gone(held, server.ports, time.time()):
            kea_leases.release(self.control, address)

    def _end(self, at_once: bool = False) -> None:
        running = self.running or find(self.place, self.control)
        self.running = None
        if running is not None:
            running.kill() if at_once else running.end()


def ahead() -> float:
    """Seconds by which the clock on the wall is ahead of one that nobody sets."""
    return time.time() - time.monotonic()
