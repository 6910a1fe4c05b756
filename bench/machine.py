"""The machine: what must be known of it to compare two reports, and how to be let alone on it."""

import contextlib
import ctypes
import os
import platform
import resource
import signal
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PR_SET_PDEATHSIG = 1  # linux/prctl.h
REALTIME_S = 5  # a thread of SCHED_FIFO that runs so long without a pause is killed: never a hang


def facts() -> dict:
    """Of which source, on what, how busy."""
    changed = _git("status", "--porcelain", "--", "datapath_c", "pcg", "bench").splitlines()
    return {
        "begun": time.strftime("%Y-%m-%d %H:%M:%S"),
        "revision": _git("rev-parse", "--short", "HEAD").strip(),
        "changed_since": [line[3:] for line in changed],
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "caches": _caches(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "huge_pages": _read("/sys/kernel/mm/transparent_hugepage/enabled"),
        "hypervisor": _read("/sys/hypervisor/type") or ("yes" if _is_guest() else "none seen"),
        "compiler": _first_line("gcc", "--version"),
        "flags": os.environ.get("PCG_CFLAGS", ""),
        "load_before": load(),
    }


def load() -> float:
    """Of the last minute."""
    return round(os.getloadavg()[0], 2)


def let_alone() -> dict[str, bool]:
    """A session of our own, weight in its autogroup, and the right to SCHED_FIFO with a bound.

    Returns what was permitted; without it the figures are noisier, not wrong.
    """
    got = {"session": False, "autogroup": False, "realtime": False}
    with contextlib.suppress(OSError):  # a session leader already: it has one of its own
        os.setsid()
    got["session"] = os.getsid(0) == os.getpid()
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text("-20")
        got["autogroup"] = True
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_RTTIME, (REALTIME_S * 1_000_000,) * 2)
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        got["realtime"] = True
    return got


def end_with_us() -> None:
    """In a process that we start: it ends when we do, however we do."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def cores() -> list[int]:
    """That this process may use, the last one first: the first one serves most interrupts."""
    return sorted(os.sched_getaffinity(0), reverse=True)


def free_gib() -> float:
    for line in _read("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) / 2**20
    return 0.0


def _git(*args: str) -> str:
    done = subprocess.run(("git", "-C", ROOT, *args), capture_output=True, text=True, check=False)
    return done.stdout


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _cpu() -> str:
    for line in _read("/proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _is_guest() -> bool:
    return " hypervisor" in _read("/proc/cpuinfo")


def _caches() -> str:
    found = []
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        kind = {"Data": "d", "Instruction": "i"}.get(_read(str(index / "type")), "")
        found.append(f"L{_read(str(index / 'level'))}{kind} {_read(str(index / 'size'))}")
    return ", ".join(found)


def _first_line(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.partition("\n")[0]
