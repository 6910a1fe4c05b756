"""What each gateway said last of itself, for people: a file of each kind, and lines of the log."""

import json
import logging
import os
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from pcg.model.addresses import address_number
from pcg.proto.serve import Short
from pcg.wire import messages as m

log = logging.getLogger(__name__)

LATE_S = 60.0  # from there on a line says how old its news is


def document(gateway: str, said: m.Realised, at: datetime) -> dict:
    return {
        "gateway": gateway,
        "received": at.isoformat(timespec="milliseconds"),
        "epoch": said.epoch,
        "revision": said.revision,
        "refused": said.refused,
        "errors": [{"path": e.path, "text": e.text, "backend": e.backend} for e in said.errors],
        "left_out": said.left_out,
    }


def leases_document(gateway: str, leases: Iterable[m.Lease]) -> dict:
    ordered = sorted(leases, key=lambda one: (one.segment, address_number(one.address) or 0))
    return {"gateway": gateway, "leases": [msgspec.structs.asdict(one) for one in ordered]}


def shortages_document(gateway: str, shortages: Iterable[m.Shortage]) -> dict:
    """The latest first."""
    told = [msgspec.structs.asdict(one) | {"text": one.text} for one in shortages]
    return {"gateway": gateway, "shortages": told[::-1]}


def ago(age_s: float) -> str:
    """A controller that was started anew hears what its gateways have told before.

    >>> ago(9.0), ago(7200.0)
    ('', ', 120 minutes ago')
    """
    return f", {age_s / 60:.0f} minutes ago" if age_s >= LATE_S else ""


class RealisedFolder:
    """<folder>/<gateway>.json, .leases.json and .shortages.json, each replaced whole. A folder that
    cannot be written is logged."""

    def __init__(self, path: str | None) -> None:
        self.path = Path(path) if path else None

    def reported(self, gateway: str, said: m.Realised) -> None:
        self._replace(f"{gateway}.json", document(gateway, said, datetime.now(UTC)))
        if said.refused:
            log.error("gateway %s refused revision %d", gateway, said.refused)
        log.info("gateway %s: revision %d in force", gateway, said.revision)
        for e in said.errors:
            # "datapath at ipc:..." and "nftables" say themselves which backend it is.
            thing = e.path if e.path.startswith(e.backend) else f"{e.backend} {e.path}"
            log.error("gateway %s: %s: %s", gateway, thing, e.text)

    def short(self, gateway: str, latest: Iterable[m.Shortage], event: Short) -> None:
        """`latest`: all of the newest Status; a line for each that began, before they are in the
        file."""
        for one in event.began:
            log.warning("gateway %s: %s%s", gateway, one.text, ago(time.time() - one.at))
        if event.missed:
            log.warning("gateway %s: %d more before, in its own log", gateway, event.missed)
        self._replace(f"{gateway}.shortages.json", shortages_document(gateway, latest))

    def write_leases(self, gateway: str, leases: Iterable[m.Lease]) -> None:
        self._replace(f"{gateway}.leases.json", leases_document(gateway, leases))

    def read_leases(self, gateway: str) -> tuple[m.Lease, ...]:
        """What it had when a controller before us heard of it last; none when that is not there."""
        if not self.path:
            return ()
        try:
            said = json.loads((self.path / f"{gateway}.leases.json").read_bytes())
            return tuple(m.Lease(**one) for one in said["leases"])
        except (OSError, ValueError, TypeError, LookupError):
            return ()

    def _replace(self, name: str, content: dict) -> None:
        if not self.path:
            return
        target, aside = self.path / name, self.path / f".{name}"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            aside.write_text(json.dumps(content, indent=1) + "\n")
            os.replace(aside, target)
        except OSError as e:
            log.error("%s cannot be written (%s)", target, e.strerror)
