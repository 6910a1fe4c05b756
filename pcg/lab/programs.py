"""PCG itself, as the operator runs it: processes with settings files and keys.

The example settings of configs/ are taken as they are; only what must differ between two labs on
one machine (paths and sockets) is replaced.
"""

import contextlib
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import yaml

from pcg.lab import ns
from pcg.lab.layout import CONFIGS, ROOT, Layout

PLACES = {"controller": "svc", "datapath": "pcg", "gateway": "pcg"}  # in the order they are started
READY_S = 20.0


class Programs:
    """The three programs of one lab. Each runs in its namespace, its log in the lab's folder."""

    def __init__(self, layout: Layout, driver: str = "") -> None:
        """`driver`: of the datapath's ports; "" is the example settings'."""
        self.layout, self.driver = layout, driver
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def settings(self, program: str) -> Path:
        return self.layout.run / f"{program}.yaml"

    def socket(self, program: str) -> str:
        """Where pcgctl reaches the datapath or the gateway."""
        return f"ipc://{self.layout.run}/{program}.sock"

    def command(self, program: str) -> list[str]:
        """As a person would type it."""
        space = self.layout.ns(PLACES[program])
        argv = ["-m", "pcg", program, "--settings", str(self.settings(program))]
        return ["ip", "netns", "exec", space, sys.executable, *argv]

    def prepare(self) -> None:
        """Keys, desired state and settings in the lab's folder."""
        run = self.layout.run
        for folder in ("keys/gateways", "desired", "state"):
            (run / folder).mkdir(parents=True, exist_ok=True)
        gateway = self.layout.desired.gateway.id
        source = CONFIGS / "desired" / f"{gateway}.yaml"
        shutil.copy(source, run / "desired" / source.name)
        for name in ("controller", gateway):
            _python("-m", "pcg", "keys", name, "--dir", str(run / "keys"))
        shutil.copy(run / "keys" / f"{gateway}.key", run / "keys" / "gateways")
        for program in PLACES:
            text = yaml.safe_dump(self._settings(program), sort_keys=False)
            self.settings(program).write_text(text)

    def _settings(self, program: str) -> dict:
        found = yaml.safe_load((CONFIGS / f"{program}.yaml").read_text())
        if program == "controller":
            found |= {"realised": "realised"}
        if program == "gateway":
            found |= {"datapath": self.socket("datapath"), "control": self.socket("gateway")}
            found |= {"state": "state"}
            found["dhcp"] |= {"folder": "dhcp"}
            found["first_seen"] |= {"log": "first-seen.jsonl"}
            found["rule_log"] |= {"log": "rules.jsonl"}
            found["nat_log"] |= {"log": "nat.jsonl", "sessions": "all"}
        if program == "datapath":
            found |= {"control": self.socket("datapath"), "arena": str(self.layout.arena)}
            for port in found["ports"]:
                port["driver"] = self.driver or port["driver"]
        return found

    def start(self, program: str) -> None:
        """Start it; `Lab` waits for what it is waited for. Raises when it ends at once."""
        self.running[program] = spawn(
            self.command(program), self.layout.run / f"{program}.log", cwd=ROOT
        )

    def kill(self, program: str) -> None:
        """SIGKILL: no goodbye, as a crash would be."""
        self._end(program, signal.SIGKILL)

    def stop(self) -> None:
        for program in list(self.running):
            self._end(program, signal.SIGTERM)

    def _end(self, program: str, how: signal.Signals) -> None:
        process = self.running.pop(program)
        process.send_signal(how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(READY_S)

    def pid(self, program: str) -> int:
        return self.running[program].pid

    def dead(self) -> list[str]:
        return [name for name, process in self.running.items() if process.poll() is not None]

    def log(self, program: str, lines: int = 15) -> str:
        path = self.layout.run / f"{program}.log"
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])


def spawn(argv: list[str], log: Path, cwd: Path | None = None) -> subprocess.Popen[bytes]:
    """A process of its own session, so that Ctrl-C ends the lab in the lab's own order."""
    with log.open("ab") as out:
        return subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=cwd, start_new_session=True
        )


def _python(*args: str) -> str:
    return ns.run(sys.executable, *args)


def until(what: str, ready, limit_s: float = READY_S, every_s: float = 0.02):
    """Wait until `ready()` gives something true, and give it; TimeoutError names `what`."""
    end = time.monotonic() + limit_s
    while True:
        found = ready()
        if found:
            return found
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {limit_s:.0f} s")
        time.sleep(every_s)
