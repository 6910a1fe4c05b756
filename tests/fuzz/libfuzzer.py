"""libFuzzer on `inject`: builds the harness (harness.h), writes its world and seeds, runs it, and
says how many executions there were and how much of datapath_c they covered.

    python -m tests.fuzz.libfuzzer --seconds 3600

The corpus is kept in build/fuzz/corpus, so that a later run goes on where this one ended; a crash
leaves its input in build/fuzz/, and this ends with libFuzzer's exit code.
"""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

from pcg.datapath import build
from tests.fuzz import seeds, steps

HERE = Path(__file__).parent
WHERE = build.BUILD / "fuzz"
WORLD, SEEDS, CORPUS = WHERE / "world", WHERE / "seeds", WHERE / "corpus"
ARENA = Path(f"/dev/shm/pcg-fuzz-{os.getpid()}")  # memory: what outlives a restart
OPTIMISED = (*build.COMMON, "-O1", "-fno-omit-frame-pointer", "-Wno-unknown-warning-option")
FUZZ = build.Flavour(
    "fuzz", None, (*OPTIMISED, "-fsanitize=fuzzer-no-link,address,undefined",
                   "-fno-sanitize-recover=undefined"),
)  # fmt: skip
COVER = build.Flavour("cover", None, (*OPTIMISED, "-fprofile-instr-generate", "-fcoverage-mapping"))
# What a packet passes.
PATH = (
    "outer.c", "path_mtu.c", "geneve.c", "uplink.c", "reassemble.c", "inner.c", "plain.c", "dhcp.c",
    "lookup.c", "again.c", "first.c", "decide.c", "outside.c", "fair.c", "install.c", "rewrite.c",
    "mss.c", "egress.c", "fragment.c", "answer.c", "icmp.c", "icmp_inside.c",
)  # fmt: skip
# What no input can reach: drivers of real interfaces, the threads' loop, bench.
APART = (
    "nic_af_packet.c", "nic_af_xdp.c", "xsock.c", "xsock_open.c", "xdp.c", "steer.c", "kernel_if.c",
    "serve.c", "bench.c", "bench_frames.c",
)  # fmt: skip


def linked(flavour: build.Flavour, flags: list[str], name: str) -> Path:
    """The harness with the whole path, compiled by clang."""
    os.environ["CC"] = os.environ.get("CLANG", "clang-14")
    with build.one_build_at_a_time():
        objects = build.compile_all(flavour)
        headers = [*HERE.glob("*.h"), *(build.SOURCES / "src").glob("*.h")]
        seen = build.digest([], sorted(headers))  # an object is known by its source and flags
        more = [f"-I{build.SOURCES}/{at}" for at in ("include", "src")]
        more += ["-fvisibility=default", f"-DHEADERS={seen}"]
        for source in sorted(HERE.glob("*.c")):
            objects.append(build.compile_object(source, flavour, [*flavour.cflags, *more]))
        target = build.BUILD / flavour.name / name
        options = [*flags, "-pthread", *map(str, objects), *build.LIBRARIES, "-o", str(target)]
        build.run([*build.cc(), *options])
    return target


def prepare() -> None:
    for folder in (SEEDS, CORPUS):
        folder.mkdir(parents=True, exist_ok=True)
    WORLD.write_bytes(steps.world())
    for old in SEEDS.iterdir():
        old.unlink()
    for i, seed in enumerate(seeds.seeds()):
        (SEEDS / f"{i:04}").write_bytes(seed)


def environment() -> dict[str, str]:
    return {
        **os.environ,
        "PCG_FUZZ_WORLD": str(WORLD),
        "PCG_FUZZ_ARENA": str(ARENA),
        "UBSAN_OPTIONS": "print_stacktrace=1",
        # the leak check does not look into memory that was mapped, where our pointers lie
        "ASAN_OPTIONS": "abort_on_error=1:detect_leaks=0",
        "LLVM_PROFILE_FILE": str(WHERE / "cover.profraw"),
    }


def fuzz(seconds: int, options: list[str]) -> int:
    """Runs libFuzzer and prints its summary; its exit code."""
    program = linked(FUZZ, ["-fsanitize=fuzzer,address,undefined"], "harness")
    limits = [f"-max_total_time={seconds}", "-max_len=16384", "-timeout=60", "-rss_limit_mb=4096"]
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


def share(rows: dict[str, list[str]], names: list[str]) -> tuple[int, float]:
    """Lines of these files, and how much of them is covered."""
    total, missed = (sum(int(rows[name][at]) for name in names) for at in (7, 8))
    return total, 1 - missed / total


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
    rows = {row[0]: row for row in map(str.split, report.splitlines()) if len(row) > 9}
    total, covered = share(rows, ["TOTAL"])
    print(f"of {total:,} lines of datapath_c covered: {covered:.1%}")
    total, covered = share(rows, [one for one in rows if one not in (*APART, "TOTAL", "Filename")])
    print(f"of {total:,}, drivers, threads' loop and bench left out: {covered:.1%}")
    print(", ".join(f"{name} {rows[name][9]}" for name in PATH))
    print(f"all files: {WHERE / 'coverage'}")


def main() -> int:
    parser = argparse.ArgumentParser(description="libFuzzer on the packet path.")
    parser.add_argument("--seconds", type=int, default=3600)
    parser.add_argument("rest", nargs="*", help="options of libFuzzer, behind --")
    args = parser.parse_args()
    prepare()
    try:
        failed = fuzz(args.seconds, args.rest)
        if not failed:
            coverage()
    finally:
        ARENA.unlink(missing_ok=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
