"""Which port may use which address until when."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcg.gateway.leases import INF, Given, LeaseBook
from pcg.proto.roster import Roster
from pcg.reconcile.compile_dhcp import INFINITE_S
from tests.unit.proto.dhcp_world import GATEWAY, SITE, client

VM1, VM2 = client(), client("vm-2", bytes.fromhex("060000000002"))
FIXED = client("fixed", bytes.fromhex("060000000003"), addresses=("192.168.1.50",))
ELSEWHERE = SITE.subnet._replace(first=SITE.subnet.last)
WALL = 1_700_000_000.0


def at(last: int) -> bytes:
    return bytes([192, 168, 1, last])


def book(*given) -> LeaseBook:
    """`given`: (client, last byte, seconds, client id), all at time 0."""
    made = LeaseBook()
    for one, last, lease_s, client_id in given:
        made.put(one, Given(at(last), lease_s, client_id), 0.0, WALL)
    return made


def held(b: LeaseBook) -> list:
    """(port, last byte) of every lease; both indexes must agree."""
    by_port = {(port, lease.address[3]) for port, lease in b.by_port.items()}
    assert by_port == {(lease.port, key[1][3]) for key, lease in b.leases.items()}
    return sorted(by_port)


def test_a_lease_is_that_ports_until_it_ends():
    b = book((VM1, 100, 60, b"a"))
    assert b.expire(59.9) == []
    assert held(b) == [("vm-1", 100)]
    (ended,) = b.expire(60.0)
    assert (ended.port, ended.address) == ("vm-1", at(100))
    assert held(b) == []


def test_rfc2131_4_4_5_a_renewal_prolongs_it():
    """RFC 2131 section 4.4.5."""
    b = book((VM1, 100, 60, b"a"))
    assert b.put(VM1, Given(at(100), 60, b"a"), 50.0, WALL + 50) is None
    assert b.expire(109.0) == []
    assert [lease.port for lease in b.expire(110.0)] == ["vm-1"]


def test_a_renewal_may_shorten_it_too():
    b = book((VM1, 100, 3600, b"a"))
    b.put(VM1, Given(at(100), 10, b"a"), 0.0, WALL)
    assert len(b.expire(10.0)) == 1
    assert b.expire(4000.0) == []


def test_rfc2131_3_3_a_lease_of_all_ones_never_ends():
    """RFC 2131 section 3.3."""
    b = book((VM1, 100, INFINITE_S, b""))
    assert b.expire(1e12) == []
    assert b.leases["t1", at(100)].expires == INF
    assert b.leases["t1", at(100)].view()["expires"] is None


def test_an_address_is_one_ports_at_a_time():
    b = book((VM1, 100, 60, b"a"))
    assert b.wrong_address(VM1, at(100)) == ""
    assert b.wrong_address(VM2, at(100)) == "ADDRESS_TAKEN"
    b.expire(60.0)
    assert b.wrong_address(VM2, at(100)) == ""


def test_the_same_address_in_another_vrf_is_another_one():
    other = client("twin", site=SITE._replace(vrf="t2", segment="other", vni=103))
    assert book((VM1, 100, 60, b"a")).wrong_address(other, at(100)) == ""


@pytest.mark.parametrize("be", [GATEWAY, at(0), at(255), bytes([10, 0, 0, 9]), bytes(4)])
def test_no_port_is_given_what_no_host_of_the_segment_has(be):
    assert LeaseBook().wrong_address(VM1, be) == "ADDRESS_NOT_ITS_OWN"


def test_a_port_with_addresses_is_given_these_only():
    b = LeaseBook()
    assert b.wrong_address(FIXED, at(50)) == ""
    assert b.wrong_address(FIXED, at(51)) == "ADDRESS_NOT_ITS_OWN"


def test_a_client_that_gets_another_address_loses_the_first():
    b = book((VM1, 100, 60, b"a"))
    former = b.put(VM1, Given(at(101), 60, b"a"), 1.0, WALL)
    assert former.address == at(100)
    assert held(b) == [("vm-1", 101)]


def test_every_change_is_noted_once_in_order():
    b = book((VM1, 100, 60, b"a"), (VM2, 101, 60, b"b"))
    b.put(VM1, Given(at(100), 60, b"a"), 1.0, WALL)
    b.end(("t1", at(101)))
    assert list(b.changed) == [("t1", at(100)), ("t1", at(101))]


def test_a_client_that_releases_and_asks_again_and_again_takes_no_room():
    b = LeaseBook()
    for n in range(1000):
        b.put(VM1, Given(at(100), 3600), float(n), WALL)
        b.end(("t1", at(100)))
    assert len(b._ends) == 1
    b.put(VM1, Given(at(100), 3600), 1000.0, WALL)
    assert b.expire(4599.0) == []
    assert len(b._ends) == 1
    assert len(b.expire(4600.0)) == 1


def test_a_client_whose_lease_ends_late_and_soon_by_turns_takes_no_room():
    b = LeaseBook()
    for n in range(1000):
        b.put(VM1, Given(at(100), 60 if n % 2 else 3600), float(n), WALL)
        b.expire(float(n))
    assert len(b._ends) <= 60
    b.expire(5000.0)
    assert not b._ends


def roster_of(*clients) -> Roster:
    made = Roster()
    made.by_port.update({c.port.id: c for c in clients})
    return made


# fmt: off
CHANGES = [
    # the port afterwards                                             keeps its lease
    ("moved to another host",  client(),                              True),
    ("removed",                None,                                  False),
    ("on another segment",     client(site=SITE._replace(segment="app", vni=102)), False),
    ("another MAC",            client(mac=bytes.fromhex("060000000009")), False),
    ("its own address now",    client(addresses=("192.168.1.100",)),  True),
    ("another address now",    client(addresses=("192.168.1.7",)),    False),
    ("another subnet",         client(site=SITE._replace(subnet=ELSEWHERE)), False),
]
# fmt: on


@pytest.mark.parametrize("what, after, keeps", CHANGES, ids=[c[0] for c in CHANGES])
def test_a_changed_port_keeps_or_loses_its_lease(what, after, keeps):
    b = book((VM1, 100, 60, b"a"), (VM2, 101, 60, b"b"))
    clients = [VM2] if after is None else [VM2, after]
    ended = b.follow(["vm-1"], roster_of(*clients), 0.0)
    assert [lease.port for lease in ended] == ([] if keeps else ["vm-1"])
    assert ("vm-2", 101) in held(b)
    assert (("vm-1", 100) in held(b)) is keeps


steps = st.lists(
    st.tuples(
        st.sampled_from(["put", "end", "expire"]),
        st.sampled_from([VM1, VM2]),
        st.integers(100, 103),
        st.sampled_from([b"", b"a", b"b"]),
        st.integers(1, 50),
    ),
    max_size=30,
)


@given(steps)
def test_whatever_happens_the_indexes_agree_and_nothing_outlives_its_time(todo):
    b, clock = LeaseBook(), itertools.count()
    for what, one, last, client_id, lease_s in todo:
        now = float(next(clock) * 5)
        if what == "expire":
            b.expire(now)
            assert all(lease.until > now for lease in b.leases.values())
        elif what == "end":
            b.end(("t1", at(last)))
        elif not b.wrong_address(one, at(last)):
            b.put(one, Given(at(last), lease_s, client_id), now, WALL)
        assert len(held(b)) == len(b.leases)
    b.expire(1e9)
    assert held(b) == []
    assert not b._ends
