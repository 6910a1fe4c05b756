"""What each gateway said last of what it made of its desired state, one file each, for people."""

import json
import logging
import os
from datetime import UTC, datetime
from pathlib import Path

from pcg.wire import messages as m

log = logging.getLogger(__name__)


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


class RealisedFolder:
    """<folder>/<gateway>.json, each replaced whole. A folder that cannot be written is logged."""

    def __init__(self, path: str | None) -> None:
        self.path = Path(path) if path else None

    def write(self, gateway: str, said: m.Realised) -> None:
        if not self.path:
            return
        target = self.path / f"{gateway}.json"
        aside = self.path / f".{gateway}.json"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            aside.write_text(
                json.dumps(document(gateway, said, datetime.now(UTC)), indent=1) + "\n"
            )
            os.replace(aside, target)
        except OSError as e:
            log.error("%s cannot be written (%s)", target, e.strerror)
