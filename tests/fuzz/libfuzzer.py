"""libFuzzer on `inject`: builds the harness (harness.h), writes its world and seeds, runs it, and
says how many executions there were and how much of datapath_c they covered.

    python -m tests.fuzz.libfuzzer --seconds 3600

The corpus is kept in build/fuzz/corpus, so that a later run goes on where this one ended; a crash
leaves its input in build/fuzz/, and this ends with libFuzzer's exit code.
"""

import argparse
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

from scapy.utils import rdpcap

from pcg.datapath import build, pack
from pcg.datapath.errors import table_number
from pcg.datapath.parcels import joined
from pcg.reconcile import records as r
from tests.c import dhcp, wire
from tests.c.packets import gre, ping, tcp, udp
from tests.c.places import (
    NET,
    NEWCOMER,
    OTHER_NET,
    PLAIN,
    SERVER,
    TINY,
    UP_MAC,
    VMS,
    A,
    B,
    C,
    R,
    ip,
)
from tests.c.world import NEXTHOPS, TEPS, Policy, over
from tests.fuzz import frames

HERE = Path(__file__).parent
GOLDEN = build.ROOT / "tests" / "golden"
WHERE = build.BUILD / "fuzz"
WORLD, SEEDS, CORPUS = WHERE / "world", WHERE / "seeds", WHERE / "corpus"
OPTIMISED = (*build.COMMON, "-O1", "-fno-omit-frame-pointer", "-Wno-unknown-warning-option")
FUZZ = build.Flavour(
    "fuzz", None, (*OPTIMISED, "-fsanitize=fuzzer-no-link,address,undefined",
                   "-fno-sanitize-recover=undefined"),
)  # fmt: skip
COVER = build.Flavour("cover", None, (*OPTIMISED, "-fprofile-instr-generate", "-fcoverage-mapping"))
UPLINK, MEND, EXPLAIN, COMMIT = 1, 2, 4, 8
FRAME, ANSWER, ERROR, PIECES, AGAIN, POLICY, PUT, RELAY, WATCH = range(9)
HOLD = 0x80
# What a packet passes.
PATH = (
    "outer.c", "path_mtu.c", "geneve.c", "uplink.c", "reassemble.c", "inner.c", "plain.c", "dhcp.c",
    "lookup.c", "again.c", "first.c", "decide.c", "outside.c", "fair.c", "install.c", "rewrite.c",
    "mss.c", "egress.c", "fragment.c", "answer.c", "icmp.c", "icmp_inside.c",
)  # fmt: skip


def world() -> bytes:
    """The tables of tests/c/world.py, with DHCP in one segment, as world.c reads them."""
    single = {"teps": TEPS, "nexthops": NEXTHOPS, "ports": [vm.record for vm in VMS]}
    single["clients"] = [dhcp.client(vm) for vm in (A, C, NEWCOMER)]
    policy = Policy(segments=dhcp.served_segments())
    policy.nat["tiny"] = policy.nat["tiny"]._replace(overflow=1, ports_each=3)
    policy.nat["range"] = policy.nat["range"]._replace(reset=1, log=1, sessions_each=4)
    policy.nat["snat"] = policy.nat["snat"]._replace(reset=1, sessions_each=9, ports_each=6)
    policy.groups = [r.Groups(7, 0, "friends")]
    policy.members = [r.Members(0, 7, ip(at), 32) for at in (OTHER_NET, PLAIN.address)]
    policy.firewall = [
        r.Firewall(4, 0, 0, 3, 1, r.Match(), "friends", 7, 0, 1),
        r.Firewall(5, 0, 0, 3, 1, r.Match(), "to-friends", 0, 7, 1),
        *policy.firewall,
    ]
    whole = b""
    for table, rows in {**single, **policy.tables()}.items():
        head = struct.pack("=III", table_number(table), len(rows), pack.size(table))
        whole += head + pack.pack(table, rows)
    return whole


def step(role: str, frame: bytes, op: int = 0, hold: bool = False) -> bytes:
    op |= UPLINK if role == "uplink" else 0
    return struct.pack("!BBH", op, HOLD if hold else FRAME, len(frame)) + frame


def follows(kind: int, *data: int, op: int = MEND) -> bytes:
    """A step that is made from those before it (harness.h)."""
    return struct.pack("!BBH", op, kind, len(data)) + bytes(data)


def conversations() -> list[bytes]:
    """Sessions: an opening, its answers, errors about both sides, pieces, changes of policy."""
    openings = [
        step("downlink", over(vm, make(vm.address, dst)))
        for vm in (A, B, C, R, PLAIN)
        for make in (udp, ping, gre)
        for dst in (NET, SERVER.elastic, "203.0.113.15")
    ]
    openings += [
        b"".join(step("downlink", over(TINY, udp(TINY.address, dst, sport=n))) for n in range(4))
        for dst in (NET, OTHER_NET)
    ]
    openings += [
        b"".join(step("downlink", over(A, udp(sport=n, dport=d))) for n, d in ((1, 1), (2, 2))) * 6
    ]
    openings += [step("uplink", wire.plain(udp(OTHER_NET, PLAIN.address)))]
    openings += [
        step("downlink", over(A, tcp("S", A.address, dst, dport=80)))
        for dst in (NET, SERVER.elastic)
    ]
    openings += [
        step("uplink", wire.plain(p))
        for p in (
            tcp("S", NET, SERVER.secondary),
            udp(NET, SERVER.secondary, dport=7003),
            ping(NET, "10.99.1.15"),
            udp(NET, PLAIN.address),
            udp(NET, "10.99.1.13"),
        )
    ]
    back = follows(ANSWER, 0, 0xFF)
    thens = [back, back * 4, follows(ANSWER, 0, 0x12) + follows(ANSWER, 0, 0x10)]
    thens += [
        follows(ERROR, 0, kind | who << 3, quote)
        for kind in range(8)
        for who, quote in ((3, 0), (1, 8))
    ]
    thens += [back + follows(ERROR, 0, who << 3, quote) for who in (0, 2, 3) for quote in (8, 0)]
    thens += [follows(PIECES, 0, 0, order) for order in (0, 1, 2, 4, 9, 16)]
    thens += [
        back + follows(POLICY, table, row) + back + follows(AGAIN, 1)
        for table, rows in ((0, 1), (4, 8), (5, 10), (6, 3))
        for row in range(rows)
    ]
    thens += [follows(PUT, table, 0) + follows(AGAIN, 0) + back for table in range(3)]
    thens += [follows(WATCH, on) + back * 2 + follows(WATCH, on) for on in range(4)]
    thens += [follows(AGAIN | HOLD, 0, 21, port) * 8 + back for port in (7, 8)]
    return [begun + then for begun in openings for then in thens]


def golden_frames() -> list[list[tuple[str, bytes]]]:
    """Each golden scenario: its frames with the role they came by, in order."""
    ours = frames.mac(UP_MAC)
    scenarios = []
    for file in sorted(GOLDEN.glob("*.in.pcap")):
        packets = [bytes(packet) for packet in rdpcap(str(file))]
        roles = ["uplink" if packet[:6] == ours else "downlink" for packet in packets]
        scenarios.append(list(zip(roles, packets, strict=True)))
    return scenarios


def of_the_relay() -> list[bytes]:
    """What clients ask, whole and in pieces, and what they are told."""
    asks = [dhcp.ask(vm, what) for vm in (NEWCOMER, A, B) for what in ("discover", "request")]
    made = [step("downlink", dhcp.asked(vm, ask)) for vm in (NEWCOMER, A) for ask in asks]
    made += [step("downlink", dhcp.asked(NEWCOMER)) + follows(PIECES, 128, 8, order)
             for order in (0, 1, 4)]  # fmt: skip
    told = follows(RELAY, *joined([dhcp.answer(), dhcp.answer(A, dst=A.address)]))
    return [*made, told, *[one + told + one for one in made], follows(RELAY) + made[0]]


def seeds() -> list[bytes]:
    """Every frame of every kind by itself, each golden scenario as a whole, and some mixed."""
    valid = [("downlink", f) for f in [*frames.of_the_overlay(), *frames.captured()]]
    valid += [("uplink", f) for f in frames.of_the_uplink()]
    short = [one for one in valid if len(one[1]) < 2000]
    made = [step(role, frame, op) for role, frame in valid for op in (0, MEND | EXPLAIN)]
    made += [b"".join(step(*one) for one in scenario) for scenario in golden_frames()]
    for i in range(0, len(short), 4):
        for hold in (False, True):
            made.append(b"".join(step(*one, hold=hold) for one in short[i : i + 8]))
    return made + conversations() + of_the_relay()


def linked(flavour: build.Flavour, flags: list[str], name: str) -> Path:
    """The harness with the whole path, compiled by clang."""
    os.environ["CC"] = os.environ.get("CLANG", "clang-14")
    with build.one_build_at_a_time():
        objects = build.compile_all(flavour)
        seen = build.digest([], [HERE / "harness.h"])  # an object is known by its source and flags
        more = [f"-I{build.SOURCES}/include", "-fvisibility=default", f"-DHARNESS_H={seen}"]
        for source in sorted(HERE.glob("*.c")):
            objects.append(build.compile_object(source, flavour, [*flavour.cflags, *more]))
        target = build.BUILD / flavour.name / name
        options = [*flags, "-pthread", *map(str, objects), *build.LIBRARIES, "-o", str(target)]
        build.run([*build.cc(), *options])
    return target


def prepare() -> None:
    for folder in (SEEDS, CORPUS):
        folder.mkdir(parents=True, exist_ok=True)
    WORLD.write_bytes(world())
    for old in SEEDS.iterdir():
        old.unlink()
    for i, seed in enumerate(seeds()):
        (SEEDS / f"{i:04}").write_bytes(seed)


def environment() -> dict[str, str]:
    return {
        **os.environ,
        "PCG_FUZZ_WORLD": str(WORLD),
        "UBSAN_OPTIONS": "print_stacktrace=1",
        # the leak check does not look into memory that was mapped, where our pointers lie
        "ASAN_OPTIONS": "abort_on_error=1:detect_leaks=0",
        "LLVM_PROFILE_FILE": str(WHERE / "cover.profraw"),
    }


def fuzz(seconds: int, options: list[str]) -> int:
    """Runs libFuzzer and prints its summary; its exit code."""
    program = linked(FUZZ, ["-fsanitize=fuzzer,address,undefined"], "harness")
    limits = [f"-max_total_time={seconds}", "-max_len=16384", "-timeout=10", "-rss_limit_mb=4096"]
    limits += ["-print_final_stats=1", f"-artifact_prefix={WHERE}/", *options]
    command = [str(program), str(CORPUS), str(SEEDS), *limits]
    done = subprocess.run(
        command, env=environment(), stderr=subprocess.PIPE, text=True, errors="replace", check=False
    )
    (WHERE / "log").write_text(done.stderr)
    if done.returncode:
        sys.stderr.write(done.stderr[-6000:])
        return done.returncode
    found = dict(re.findall(r"stat::(\w+):\s+(\d+)", done.stderr))
    print(f"executions: {int(found['number_of_executed_units']):,} in {seconds} s, none failed")
    return 0


def coverage() -> None:
    """What the corpus reaches, by clang's source-based coverage."""
    program = linked(COVER, ["-fsanitize=fuzzer", "-fprofile-instr-generate"], "harness")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    inputs = [str(CORPUS), str(SEEDS)]
    subprocess.run([str(program), "-runs=0", *inputs], env=environment(), check=True, **quiet)
    raw, data = WHERE / "cover.profraw", WHERE / "cover.profdata"
    build.run(["llvm-profdata-14", "merge", "-sparse", str(raw), "-o", str(data)])
    command = ["llvm-cov-14", "report", str(program), f"-instr-profile={data}"]
    command += ["-ignore-filename-regex=tests/|build/"]
    report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (WHERE / "coverage").write_text(report)
    lines = {row[0]: row[9] for row in map(str.split, report.splitlines()) if len(row) > 9}
    print("lines of datapath_c covered, drivers, threads and bench with it:", lines["TOTAL"])
    print(", ".join(f"{name} {lines[name]}" for name in PATH))
    print(f"all files: {WHERE / 'coverage'}")


def main() -> int:
    parser = argparse.ArgumentParser(description="libFuzzer on the packet path.")
    parser.add_argument("--seconds", type=int, default=3600)
    parser.add_argument("rest", nargs="*", help="options of libFuzzer, behind --")
    args = parser.parse_args()
    prepare()
    failed = fuzz(args.seconds, args.rest)
    if not failed:
        coverage()
    return failed


if __name__ == "__main__":
    sys.exit(main())
