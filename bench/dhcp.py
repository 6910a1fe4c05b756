"""DHCP through the whole way, tunnel to Kea and back: `make bench ARGS="--only dhcp"`.

    namespace PREFIXwire             namespace PREFIXpcg               namespace PREFIXsvc
    dhcp_load (dhcp_load.c)  d1 ---- down0 [datapath, gateway, Kea]
    sink of other traffic    u1 ---- up0                  mgmt0 ----- mgmt0 [controller]

The programs are those that an operator runs, with the example settings. 10,000 clients are behind
100 tunnel endpoints, on 100 segments with a scope each. All of it shares the machine's cores, the
clients too; what they use is told beside the figures.
"""

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench import dhcp_alone, dhcp_change, frames, idle, machine, world
from bench.dhcp_place import CLIENTS, OTHERS, SEGMENTS, Place, prefer
from bench.rows import Row
from pcg.lab import ns

SOURCE = machine.ROOT / "bench/dhcp_load.c"
PROGRAM = machine.ROOT / "build/bench/dhcp_load"
OTHER_RATE, OTHER_SIZE = 5_000, 256  # packets a second of other traffic; bytes
BOOT_S, TURNS, TURNS_S, RENEW_RATE, RENEW_S = 10, 128, 10, 1000, 10
PARTS = ("datapath", "gateway", "kea-dhcp4")


def build() -> None:
    """The load, if its source is newer."""
    sources = (SOURCE, *SOURCE.parent.glob("dhcp_*.h"))
    PROGRAM.parent.mkdir(parents=True, exist_ok=True)
    newest = max(s.stat().st_mtime for s in sources)
    if not PROGRAM.exists() or PROGRAM.stat().st_mtime < newest:
        ns.run("gcc", "-std=gnu11", "-O2", str(SOURCE), "-o", str(PROGRAM))


@dataclass
class Used:
    """Seconds of CPU by part, between two looks."""

    place: Place
    at: dict[str, float] = field(default_factory=dict)

    def look(self) -> dict[str, float]:
        """Since the last look."""
        now: dict[str, float] = {}
        for pid in ns.pids(self.place.layout.ns("pcg")):
            with contextlib.suppress(OSError):
                now[part_of(pid)] = now.get(part_of(pid), 0.0) + idle.used(pid)
        spent = {part: seconds - self.at.get(part, 0.0) for part, seconds in now.items()}
        self.at = now
        return spent


def part_of(pid: int) -> str:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    return next((part for part in PARTS if any(w.endswith(part) for w in words)), "other")


def others(place: Place) -> Iterator[bytes]:
    """Frames of workloads with addresses, towards the internet."""
    macs = frames.Macs(place.mac("down0"), bytes(6), world.GATEWAY_MAC)
    tunnel = frames.Tunnel(place.tep, frames.geneve(place.others_vni))
    flows = (
        (place.other(i), world.address(world.REMOTES + i), place.other_tep(i), 4000 + i, 53, 17)
        for i in range(OTHERS)
    )
    return frames.frames(flows, (OTHER_SIZE,), macs, tunnel)


def load(place: Place, *phases: str) -> Iterator[dict]:
    """What dhcp_load says of each phase, with the CPU seconds that the parts used meanwhile."""
    build()
    argv = ("d1", place.tep_text, place.mac("down0").hex(":"), str(CLIENTS), str(SEGMENTS))
    whole = ["ip", "netns", "exec", place.layout.ns("wire"), str(PROGRAM), *argv, *phases]
    used = Used(place)
    used.look()
    pipe = subprocess.PIPE
    with subprocess.Popen(whole, stdout=pipe, text=True, start_new_session=True) as process:
        prefer([process.pid])
        for line in process.stdout:
            spent = used.look()
            yield json.loads(line) | {"cpu_s": spent}
    if process.returncode:
        raise RuntimeError(f"dhcp_load ended with {process.returncode}")


def measure() -> Iterator[Row]:
    with Place.raised() as place:
        beside = place.layout.run / "beside"
        beside.write_bytes(frames.as_file(others(place)))
        phases = (f"boot:{BOOT_S}", f"turns:{TURNS}:{TURNS_S}", f"renew:{RENEW_RATE}:{RENEW_S}")
        for found in load(place, f"beside:{OTHER_RATE}:u1:{beside}", *phases):
            yield from rows(found)
        lost = {f"{where} {reason}": n for (where, reason), n in place.lost().items()}
        note = ", ".join(f"{what} {n:,}" for what, n in lost.items()) or "none anywhere"
        yield row("dhcp messages lost", sum(lost.values()), "packets", note)
    yield from dhcp_change.measure()
    yield from dhcp_alone.measure()


def row(what: str, value: float, unit: str, note: str, more: dict | None = None) -> Row:
    given = {"driver": "af_packet", "packet_size": "", "sessions": CLIENTS}
    return Row(what, value=value, unit=unit, note=note, more=more or {}, **given)


def rows(found: dict) -> Iterator[Row]:
    """The figures of one phase.

    >>> ms = {"50": 1.0, "90": 2.0, "99": 3.0, "99.9": 4.0, "100": 5.0}
    >>> found = {"phase": "turns:64:10", "seconds": 12, "started": 30000, "done": 30000}
    >>> found |= {"in_time": 29000, "naks": 0, "resent": 2, "wrong": 0, "unsent": 0, "ms": ms}
    >>> found |= {"beside": {"sent": 1000, "received": 990}, "cpu_s": {"datapath": 5.0}}
    >>> [(r.workload, r.value) for r in rows(found)]
    [('dhcp exchanges', 2900.0), ('dhcp turns others lost', 1.0)]
    """
    kind, *_, asked_s = found["phase"].split(":")
    asked_s = float(asked_s)
    beside = found["beside"]
    lost = 100 * max(0, beside["sent"] - beside["received"]) / max(1, beside["sent"])
    note = text(found)
    match kind:
        case "boot":
            unserved = CLIENTS - found["done"]
            yield row("dhcp boot", found["ms"]["99"], "ms, 99 %", note, found)
            yield row("dhcp boot unserved", unserved, f"of {CLIENTS:,} clients", "", found)
        case "turns":
            yield row("dhcp exchanges", found["in_time"] / asked_s, "exchanges/s", note, found)
        case "renew":
            yield row("dhcp renewals", found["in_time"] / asked_s, "renewals/s", note, found)
    unit, note = "% of other traffic lost", f"of {beside['sent']:,} packets"
    yield row(f"dhcp {kind} others lost", lost, unit, note)


def text(found: dict) -> str:
    ms, cpu = found["ms"], found["cpu_s"]
    whole = f"{found['done']:,} of {found['started']:,} in {found['seconds']:.1f} s; "
    whole += f"ms: median {ms['50']:.1f}, 90 % {ms['90']:.1f}, 99 % {ms['99']:.1f}, "
    whole += f"worst {ms['100']:.0f}; {found['resent']} sent again, {found['naks']} refused, "
    whole += f"{found['wrong']} wrong; per cent of a core: "
    share = (f"{p} {100 * s / found['seconds']:.0f}" for p, s in sorted(cpu.items()) if s > 0)
    return whole + ", ".join(share)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    for one in measure():
        print(one.workload, one.value, one.unit, one.note)
