"""ports.py: following by difference gives what compiling from nothing gives."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from pcg.reconcile.ports import Home, PortTable, difference
from tests.unit.reconcile.examples import DESIRED, port

HOMES = {"web": Home(0, 101, dhcp=True), "app": Home(0, 102), "other": Home(1, 103)}
POOL = [port(f"p{i}", f"192.168.1.{i}", tep=t) for i in range(10, 16) for t in ("a", "b")]
SEQUENCES = st.lists(st.integers(0, 11), unique_by=lambda i: i // 2).map(
    lambda picks: tuple(
        msgspec.structs.replace(POOL[i], tep=f"10.0.2.{i}") if i % 3 else POOL_FIXED[i]
        for i in picks
    )
)
POOL_FIXED = [msgspec.structs.replace(p, tep="10.0.2.99") for p in POOL]


@given(states=st.lists(SEQUENCES, min_size=1, max_size=6))
def test_following_gives_what_starting_over_gives(states):
    table = PortTable()
    for ports in states:
        before = dict(table.records), dict(table.clients)
        touched = table.update(ports, HOMES)
        fresh = PortTable()
        fresh.update(ports, HOMES)
        after = table.records, table.clients
        assert after == (fresh.records, fresh.clients)
        for old, new, keys in zip(before, after, touched, strict=True):
            assert {k for k in old.keys() | new.keys() if old.get(k) != new.get(k)} <= keys


@given(old=st.lists(st.integers(0, 8), unique=True), new=st.lists(st.integers(0, 8), unique=True))
def test_difference_is_by_identity(old, new):
    objects = [[i] for i in range(9)]
    gone, come = difference([objects[i] for i in old], [objects[i] for i in new])
    assert sorted(o[0] for o in gone) == sorted(set(old) - set(new))
    assert sorted(o[0] for o in come) == sorted(set(new) - set(old))


def test_same_state_touches_nothing():
    table = PortTable()
    assert len(table.update(DESIRED.ports, HOMES).ports) == 3
    assert not any(table.update(DESIRED.ports, HOMES))


def test_moved_workload_touches_one_record():
    table = PortTable()
    table.update(DESIRED.ports, HOMES)
    moved = msgspec.structs.replace(DESIRED.ports[1], tep="10.0.3.22")
    touched = table.update((DESIRED.ports[0], moved, DESIRED.ports[2]), HOMES)
    assert [table.records[k].tep_be for k in touched.ports] == [bytes([10, 0, 3, 22])]


def test_segment_in_another_vrf_moves_its_ports():
    table = PortTable()
    table.update(DESIRED.ports, HOMES)
    table.update(DESIRED.ports, HOMES | {"other": Home(5, 103)})
    assert {vrf for vrf, _ in table.records} == {0, 5}


def test_where_there_is_dhcp_a_port_needs_no_address():
    table = PortTable()
    bare = [msgspec.structs.replace(p, addresses=()) for p in DESIRED.ports]
    table.update(tuple(bare), HOMES)
    assert not table.records
    mac = bytes.fromhex(DESIRED.ports[0].mac.replace(":", ""))
    assert table.clients[101, mac].tep_be == bytes([10, 0, 2, 21])
    assert {vni for vni, _ in table.clients} == {101}  # the other segments have no scope


def test_a_scope_that_comes_makes_clients_of_ports():
    table = PortTable()
    table.update(DESIRED.ports, {**HOMES, "web": Home(0, 101)})
    assert not table.clients
    touched = table.update(DESIRED.ports, HOMES)
    assert touched.clients == table.clients.keys() != set()
