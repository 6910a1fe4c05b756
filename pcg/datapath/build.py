"""Build the packet path: datapath_c/ -> one cffi module, `_pcgdp.abi3.so`.

`include/pcgdp.h` is parsed by cffi as it stands, so the border is written once. The XDP program of
`xdp/` is compiled by clang and its object becomes part of the module. Objects are named
by the content they come from (source, headers, flags): what has not changed is not compiled again,
and a build that stopped in the middle leaves nothing wrong behind.

    python -m pcg.datapath.build                 the module beside this file
    python -m pcg.datapath.build --asan          build/asan/, with AddressSanitizer and UBSan
    python -m pcg.datapath.build --asan --run X  python X on that module (-m pytest tests/c)
    python -m pcg.datapath.build --strict        every warning an error; makes no module

Flags of your own go into the environment variable PCG_CFLAGS.
"""

import argparse
import fcntl
import hashlib
import os
import shlex
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "datapath_c"
HEADER = SOURCES / "include" / "pcgdp.h"
BUILD = ROOT / "build"
MODULE = "_pcgdp.abi3.so"

COMMON = ("-std=gnu11", "-g", "-fPIC", "-pthread", "-fvisibility=hidden", "-Wall", "-Wextra")
STRICT_WARNINGS = (
    "-Werror",
    "-Wshadow",
    "-Wstrict-prototypes",
    "-Wmissing-prototypes",
    "-Wold-style-definition",
    "-Wpointer-arith",
    "-Wwrite-strings",
    "-Wvla",
    "-Wimplicit-fallthrough",
    "-Wundef",
)
LIBRARIES = ("-lxdp", "-lbpf")  # of the af_xdp driver
XDP_FLAGS = (
    "-target",
    "bpf",
    "-O2",
    "-g",
    "-Wall",
    "-Wextra",
    "-Werror",
)  # -g: maps are in its BTF
# What a compiler says is missing -> the Debian package that brings it.
PACKAGES = {
    "bpf/bpf.h": "libbpf-dev",
    "bpf/bpf_endian.h": "libbpf-dev",
    "cannot find -lbpf": "libbpf-dev",
    "xdp/libxdp.h": "libxdp-dev",
    "xdp/xsk.h": "libxdp-dev",
    "cannot find -lxdp": "libxdp-dev",
}
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")


@dataclass(frozen=True)
class Flavour:
    """One way to build; its objects lie in build/<name>/."""

    name: str
    out: Path | None  # where the module goes; None: objects only
    cflags: tuple[str, ...]
    ldflags: tuple[str, ...] = ()


FAST = Flavour("fast", Path(__file__).parent, (*COMMON, "-O3"))
ASAN = Flavour(
    "asan", BUILD / "asan", (*COMMON, "-O1", "-fno-omit-frame-pointer", *SANITIZERS), SANITIZERS
)
STRICT = Flavour("strict", None, (*COMMON, "-O2", *STRICT_WARNINGS))


class BuildError(Exception):
    """The compiler refused; its words are the text."""


def cc() -> list[str]:
    return shlex.split(os.environ.get("CC", "gcc"))


def clang() -> list[str]:
    """gcc of Debian 12 knows no BPF."""
    return shlex.split(os.environ.get("CLANG", "clang-14"))


def missing_packages(said: str) -> str:
    """A line that names the packages a failed command lacked; "" when that was not it."""
    signs = ("No such file", "file not found", "cannot find")  # of gcc, clang, ld
    lines = [line for line in said.splitlines() if any(sign in line for sign in signs)]
    packages = {PACKAGES[what] for what in PACKAGES for line in lines if what in line}
    names = ", ".join(sorted(packages))
    return f"\nmissing: {names}; run `make setup`, which installs what is missing" if names else ""


def run(command: list[str]) -> None:
    """Raises BuildError with what the command printed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    except FileNotFoundError:
        raise BuildError(f"{command[0]} is not installed; run `make setup`") from None
    if done.returncode:
        said = f"{shlex.join(command)}\n{done.stdout}{done.stderr}".rstrip()
        raise BuildError(said + missing_packages(said))
    sys.stderr.write(done.stderr)  # warnings


def headers() -> list[Path]:
    return sorted(
        [*SOURCES.glob("include/*"), *SOURCES.glob("src/*.h"), *SOURCES.glob("src/*.def")]
    )


def digest(flags: list[str], files: list[Path]) -> str:
    """16 hex digits that change when a flag or a file's content does."""
    total = hashlib.sha256("\0".join(flags).encode())
    for file in files:
        total.update(b"\0" + file.name.encode() + b"\0" + file.read_bytes())
    return total.hexdigest()[:16]


def compile_object(source: Path, flavour: Flavour, flags: list[str]) -> Path:
    """The object of one source; compiled unless one of the same content exists."""
    compiler = cc() + flags
    content = digest(compiler, [source, *headers()])
    return _compile(source, BUILD / flavour.name / "obj", compiler, content)


def _compile(source: Path, folder: Path, compiler: list[str], content: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{source.stem}-{content}.o"
    if not target.exists():
        part = target.with_suffix(".part")
        run([*compiler, "-c", str(source), "-o", str(part)])
        for old in folder.glob(f"{source.stem}-{'?' * 16}.o"):
            old.unlink()
        part.rename(target)
    return target


def emit_steering(flavour: Flavour) -> Path:
    """The XDP program as a C array, so that the module is whole by itself."""
    where = subprocess.run([*cc(), "-print-multiarch"], capture_output=True, text=True, check=False)
    compiler = [*clang(), *XDP_FLAGS, f"-I/usr/include/{where.stdout.strip()}"]
    source = SOURCES / "xdp" / "steer.c"
    folder = BUILD / flavour.name / "xdp"
    code = _compile(source, folder, compiler, digest(compiler, [source])).read_bytes()
    target = BUILD / flavour.name / "steer_object.c"
    array = ",".join(map(str, code))
    declared = '#include "xdp.h"\n_Alignas(8) const unsigned char steer_object[] = {%s};\n'
    size = "const unsigned long steer_object_len = sizeof(steer_object);\n"
    target.write_text(declared % array + size)
    return target


def emit_binding(flavour: Flavour) -> Path:
    """The C source of the Python module, as cffi writes it from pcgdp.h."""
    from cffi import FFI, recompiler

    ffi = FFI()
    ffi.cdef(HEADER.read_text())
    preamble = '#include <stdint.h>\n#include "pcgdp.h"\n'
    target = BUILD / flavour.name / "binding.c"
    target.parent.mkdir(parents=True, exist_ok=True)
    recompiler.make_c_source(ffi, "_pcgdp", preamble, str(target), verbose=False)
    return target


def compile_all(flavour: Flavour) -> list[Path]:
    flags = [*flavour.cflags, f"-I{SOURCES}/include", f"-I{SOURCES}/src"]
    flags += shlex.split(os.environ.get("PCG_CFLAGS", ""))
    sources = [*sorted(SOURCES.glob("src/*.c")), emit_steering(flavour)]
    jobs = [(source, flags) for source in sources]
    if flavour.out:
        quiet = ["-Wno-unused-function", "-fvisibility=default"]
        python = [*flags, *quiet, f"-I{sysconfig.get_path('include')}"]
        jobs.append((emit_binding(flavour), python))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda job: compile_object(job[0], flavour, job[1]), jobs))


@contextmanager
def one_build_at_a_time():
    """Two `make` in one tree wait for each other."""
    BUILD.mkdir(exist_ok=True)
    with open(BUILD / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def build(flavour: Flavour = FAST) -> Path | None:
    """Bring the flavour's module up to date and return its path; BuildError if gcc refuses."""
    with one_build_at_a_time():
        objects = compile_all(flavour)
        if not flavour.out:
            return None
        module = flavour.out / MODULE
        stamp = BUILD / flavour.name / "linked"
        wanted = "\n".join(o.name for o in objects)
        if not (module.exists() and stamp.exists() and stamp.read_text() == wanted):
            flavour.out.mkdir(parents=True, exist_ok=True)
            part = module.with_suffix(".part")
            options = ["-shared", "-pthread", "-Wl,-z,now", *flavour.ldflags]
            run([*cc(), *options, *map(str, objects), *LIBRARIES, "-o", str(part)])
            part.rename(module)  # a running process keeps the file it has mapped
            stamp.write_text(wanted)
        return module


def sanitized_environment() -> dict[str, str]:
    """What a Python process needs to load the sanitized module.

    Python itself is not instrumented, hence the preload; it never frees all it has, hence no leak
    check.
    """
    where = subprocess.check_output([*cc(), "-print-file-name=libasan.so"], text=True)
    return {
        **os.environ,
        "LD_PRELOAD": where.strip(),
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "PYTHONMALLOC": "malloc",
        "PCGDP_DIR": str(ASAN.out),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Build the packet path.")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--asan", action="store_true", help="with AddressSanitizer and UBSan")
    which.add_argument("--strict", action="store_true", help="every warning an error, no module")
    parser.add_argument("--run", nargs=argparse.REMAINDER, help="what python runs on it")
    args = parser.parse_args()
    flavour = ASAN if args.asan else STRICT if args.strict else FAST
    try:
        build(flavour)
    except BuildError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if args.run:
        env = sanitized_environment() if args.asan else dict(os.environ)
        os.execve(sys.executable, [sys.executable, *args.run], env)
    return 0


if __name__ == "__main__":
    sys.exit(main())
