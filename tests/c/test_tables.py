"""tables.c, teps.c: tables that are full take a batch whole or not at all."""

import re

import pytest

from pcg.datapath import pack
from pcg.datapath.errors import table_number
from pcg.model.errors import BackendError
from pcg.reconcile.records import Local, Nexthops, Ports, Teps, Vrfs

MAC = bytes(6)
NEXTHOPS_MAX, TEPS_MAX = 1024, 65_536  # arena.h


def address(n: int) -> bytes:
    return (0x0A000000 + n).to_bytes(4, "big")


def hops(first: int, n: int) -> list[Nexthops]:
    return [Nexthops(address(i), MAC, 0) for i in range(first, first + n)]


def teps(first: int, n: int) -> list[Teps]:
    return [Teps(address(i), MAC, 0, 1, 9001) for i in range(first, first + n)]


def ports(first: int, n: int) -> list[Ports]:
    return [Ports(0, address(i), 9, address(1), MAC) for i in range(first, first + n)]


ROWS = [
    # table      made by  room
    ("nexthops", hops, NEXTHOPS_MAX),
    ("teps", teps, TEPS_MAX),
    ("ports", ports, 1024),  # of the fixture
]


@pytest.mark.parametrize("table, make, room", ROWS, ids=[r[0] for r in ROWS])
def test_what_does_not_fit_changes_nothing(dp, table, make, room):
    dp.put(table, make(0, room - 1))
    changes = dp.totals()["changes"]
    refused = re.escape(f"{table}[1] ({'.'.join(map(str, address(room)))}): no place is left")
    with pytest.raises(BackendError, match=refused):
        dp.put(table, make(room - 1, 2))
    assert len(dp.read(table)) == room - 1
    assert dp.totals()["changes"] == changes
    dp.put(table, make(room - 1, 1))
    assert len(dp.read(table)) == room


@pytest.mark.parametrize("table, make, room", ROWS[:2], ids=[r[0] for r in ROWS[:2]])
def test_a_removed_ones_place_is_used_again(dp, table, make, room):
    dp.put(table, make(0, room))
    dp.delete(table, make(7, 3))
    dp.put(table, make(room, 3))
    assert {row.address_be for row in dp.read(table)} == {
        address(i) for i in range(room + 3) if not 7 <= i < 10
    }


@pytest.mark.parametrize("table, make, room", ROWS, ids=[r[0] for r in ROWS])
def test_the_same_again_is_no_change(dp, table, make, room):
    dp.put(table, make(0, 5))
    changes = dp.totals()["changes"]
    dp.put(table, make(0, 5))
    assert dp.totals()["changes"] == changes


def test_vrfs_are_read_in_pages_whatever_lies_between_them(dp):
    """They lie at their index; each call goes on where the last one ended."""
    rows = [Vrfs(i * 37, 0, 0, f"vrf {i}") for i in range(300)]
    dp.commit({"local": [Local(address(1), 1, 1500, 1500, 1024, 65535, 0)], "vrfs": rows})
    assert dp.read("vrfs") == rows
    one, seen = bytearray(pack.size("vrfs")), []
    into = dp.ffi.from_buffer(one)
    while dp.lib.pcgdp_read(dp._dp, table_number("vrfs"), len(seen), into, 1):
        seen += pack.unpack("vrfs", bytes(one))
    assert seen == rows
