"""Which rule fits first: three algorithms on the same rules and packets, before one is chosen.

classifiers.c has them; the gateway's is the one of datapath_c/src/classify.c itself. Rules are the
firewall's of world.py; packets are of the bench's sessions, of which nearly all fit the last rule
only, or each of any rule's.
"""

import json
import random
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench import machine, world
from bench.rows import Row
from bench.world import World
from pcg.datapath import build
from pcg.lab import ns
from pcg.reconcile.records import Match

C = machine.ROOT / "datapath_c"
SOURCES = (
    *(machine.ROOT / "bench/classifiers.c", C / "src/classify.c", C / "src/columns.c"),
    *(C / "src/classify.h", C / "src/columns.h", C / "src/places.h", C / "include/pcgdp.h"),
)
PROGRAM = machine.ROOT / "build/bench/classifiers"
MATCH = struct.Struct("=4s4s3Bx4H")  # struct pcgdp_match
RULES = (10, 100, 1_000, 10_000)
FLOWS, PASSES = 16_384, 5
LAST, ANY = "of the last rule", "of any rule"


def compile_it() -> None:
    newest = max(one.stat().st_mtime for one in SOURCES)
    PROGRAM.parent.mkdir(parents=True, exist_ok=True)
    if not PROGRAM.exists() or PROGRAM.stat().st_mtime < newest:
        code = [str(one) for one in SOURCES if one.suffix == ".c"]
        flags = [flag for flag in build.FAST.cflags if not flag.startswith("-fvisibility")]
        ns.run("gcc", *flags, f"-I{C}/src", *code, "-o", str(PROGRAM))


def flows(which: str, matches: list[Match]) -> Iterator[bytes]:
    if which == LAST:
        yield from World().north(FLOWS)
        return
    rng = random.Random(4)
    for flow in World().north(FLOWS):
        yield meeting(rng.choice(matches), flow, rng)


def meeting(match: Match, flow: bytes, rng: random.Random) -> bytes:
    """The flow, as far as the rule leaves it as it is."""
    source, destination, tep, sport, dport, protocol = world.FLOW.unpack(flow)
    source = inside(match.src_be, match.src_len, source)
    destination = inside(match.dst_be, match.dst_len, destination)
    if not match.sport_first <= sport <= match.sport_last:
        sport = rng.randint(match.sport_first, match.sport_last)
    if not match.dport_first <= dport <= match.dport_last:
        dport = rng.randint(match.dport_first, match.dport_last)
    ends = (source, destination, tep, sport, dport)
    return world.FLOW.pack(*ends, match.protocol or protocol)


def inside(prefix: bytes, length: int, address: bytes) -> bytes:
    """The address with the first `length` bits of the prefix.

    >>> inside(bytes([10, 1, 2, 3]), 16, bytes([8, 8, 8, 8]))
    b'\\n\\x01\\x08\\x08'
    """
    host = (1 << 32 - length) - 1
    return (int.from_bytes(prefix) & ~host | int.from_bytes(address) & host).to_bytes(4)


def compared(matches: list[Match], array: bytes) -> dict[str, dict[str, float]]:
    """Of each algorithm: cycles a look-up, bytes, microseconds to lay it out. Raises CommandError
    when their answers differ.
    """
    compile_it()
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        of_rules, of_flows = Path(folder) / "rules", Path(folder) / "flows"
        of_rules.write_bytes(b"".join(MATCH.pack(*match) for match in matches))
        of_flows.write_bytes(array)
        core = str(machine.cores()[0])
        argv = ("taskset", "-c", core, str(PROGRAM), str(of_rules), str(of_flows), str(PASSES))
        return json.loads(ns.run(*argv))


def measure() -> Iterator[Row]:
    for which in (LAST, ANY):
        for n in RULES:
            matches = [rule.match for rule in world.firewall_rules(n)]
            for name, found in compared(matches, b"".join(flows(which, matches))).items():
                note = f"{found['bytes']:,.0f} bytes, {found['built_us']:,.0f} us to lay out"
                more = {"algorithm": name, "rules": n, "packets": which, **found}
                yield Row(
                    *("classifier", "PCG" if name == "tuple space" else name),
                    driver="",
                    packet_size="",
                    value=found["cycles"],
                    unit="cycles a look-up",
                    note=note,
                    more=more,
                )
