"""What a build that lacks something says."""

import pytest

from pcg.datapath.build import missing_packages

# fmt: off
SAID = [
    # a compiler's or linker's words                              what is missing
    ("a.c:6:10: fatal error: xdp/xsk.h: No such file or directory", "libxdp-dev"),
    ("a.c:9:10: fatal error: 'bpf/bpf_endian.h' file not found",    "libbpf-dev"),
    ("/usr/bin/ld: cannot find -lbpf: No such file or directory",   "libbpf-dev"),
    ("a.c:1:1: error: unknown type name in xdp/xsk.h",              None),
]
# fmt: on


@pytest.mark.parametrize("said, package", SAID)
def test_a_missing_package_is_named(said, package):
    line = missing_packages(said)
    assert bool(line) == bool(package)
    assert not package or f"missing: {package}; run `make setup`" in line
