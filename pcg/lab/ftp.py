"""An FTP server on the internet host, pyftpdlib as Debian has it: of all protocols the one that
asks a NAT to read it, since what it says names addresses and ports.
"""

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

from pcg.lab import ns
from pcg.lab.layout import INTERNET, Layout
from pcg.lab.programs import spawn, until

PORT = 21
PYTHON = "/usr/bin/python3"  # Debian's own: its package is not in .venv


@contextlib.contextmanager
def server(layout: Layout, folder: Path) -> Iterator[Path]:
    """Serves a folder to anybody; gives its log."""
    log = layout.run / "ftp.log"
    log.unlink(missing_ok=True)
    argv = ["ip", "netns", "exec", layout.ns("inet"), PYTHON, "-I", "-m", "pyftpdlib"]
    argv += ["-D", "-i", INTERNET, "-p", str(PORT), "-d", str(folder)]
    process = spawn(argv, log)
    try:
        until("the FTP server", lambda: f"{INTERNET}:{PORT}" in listening(layout.ns("inet")))
        yield log
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def listening(space: str) -> set[str]:
    """Where TCP sockets listen: address:port."""
    return {line.split()[3] for line in ns.run("ss", "-Hltn", ns=space).splitlines()}
