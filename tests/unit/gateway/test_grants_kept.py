"""Leases stay, or end, as they should: desired state changes, somebody starts anew."""

import pytest

from pcg.model.errors import BackendError
from pcg.reconcile import records as r
from pcg.reconcile.addresses import address, mac
from tests.unit.gateway.leasing import (
    FAR,
    NEAR,
    SEGMENTS,
    SERVED,
    change,
    give,
    grants,
    known,
    leasing,
    programmed,
    said,
    vrf,
)
from tests.unit.reconcile.examples import port


@pytest.fixture
def world(monkeypatch):
    return leasing(monkeypatch)


def test_a_workload_that_moved_has_its_lease_behind_its_new_host(world):
    give(world, said(world, "vm-1"))
    ports = tuple(change(p, tep=FAR) if p.id == "vm-1" else p for p in SERVED.ports)
    world.adopt(change(SERVED, ports=ports), 2)
    world.run()
    assert list(programmed(world).values()) == [(101, FAR)]


# fmt: off
ENDS = [
    ("the port is removed",        lambda p: None),
    ("it gets an own address",     lambda p: change(p, addresses=("192.168.1.77",))),
    ("it is on another segment",   lambda p: change(p, segment="app")),
    ("it has another MAC",         lambda p: change(p, mac="06:00:00:00:77:77")),
]
# fmt: on


@pytest.mark.parametrize("what, made", ENDS, ids=[e[0] for e in ENDS])
def test_a_lease_ends_when(world, what, made):
    give(world, said(world, "vm-1"), said(world, "vm-2", yiaddr="192.168.1.101"))
    ports = [made(p) if p.id == "vm-1" else p for p in SERVED.ports]
    world.adopt(change(SERVED, ports=tuple(p for p in ports if p)), 2)
    world.run()
    assert "192.168.1.100" not in {a for _, a in programmed(world)}
    assert [lease["port"] for lease in grants(world).view()] == ["vm-2"]


def test_a_leased_address_that_becomes_another_ports_own_is_that_ports(world):
    give(world, said(world, "vm-1"))
    heir = port("heir", "192.168.1.100", tep=FAR)
    world.adopt(change(SERVED, ports=(*SERVED.ports, heir)), 2)
    world.run()
    assert list(programmed(world).values()) == [(101, FAR)]
    assert grants(world).view() == []


def test_a_segment_with_another_vni_takes_its_leases_away(world):
    give(world, said(world, "vm-1"))
    segments = tuple(change(s, vni=777) if s.id == "web" else s for s in SEGMENTS)
    world.adopt(change(SERVED, segments=segments), 2)
    world.run()
    assert programmed(world) == {}
    assert grants(world).view() == []


def test_another_change_of_segments_leaves_them(world):
    give(world, said(world, "vm-1"))
    segments = tuple(change(s, routed=True) for s in SEGMENTS)
    world.adopt(change(SERVED, segments=segments), 2)
    world.run()
    assert list(programmed(world).values()) == [(101, NEAR)]


def test_a_gateway_started_anew_takes_no_address_from_anybody(world):
    give(world, said(world, "vm-1"), said(world, "vm-2", yiaddr="192.168.1.101"))
    before = programmed(world)
    world.start()
    world.adopt(SERVED)
    assert "delete ports" not in world.run(5.0)
    assert programmed(world) == before
    # The engine knows one of them, and one that the datapath lost.
    third = known("n3", 102, grants(world).roster.by_port["vm-2"].port.mac)
    grants(world).remember("t1", lambda: [known("n1", 100, "06:00:00:00:09:01"), third])
    world.run(3.0)
    assert {a for _, a in programmed(world)} == {"192.168.1.100", "192.168.1.102"}
    view = {v["address"]: (v["port"], v["hostname"]) for v in grants(world).view()}
    assert view == {"192.168.1.100": ("vm-1", "n1"), "192.168.1.102": ("vm-2", "n3")}


def test_leases_of_another_vrf_wait_for_their_own_engine(world):
    give(world, said(world, "vm-1"), said(world, "far"))
    world.start()
    world.adopt(SERVED)
    world.run(3.0)
    grants(world).remember("t1", list)
    assert {key[0] for key in programmed(world)} == {vrf(world, "t2")}


# fmt: off
MEANWHILE = [
    # while the engine is read  what happens                                    last byte: end
    ("it is released",    lambda w: grants(w).end([whose(w, "192.168.1.100")]),       {}),
    ("it is renewed",     lambda w: give(w, said(w, "vm-1", lease_s=900)),            {100: 905.0}),
    ("it gets another",   lambda w: give(w, said(w, "vm-1", yiaddr="192.168.1.103")), {103: 605.0}),
    ("another is ended",  lambda w: grants(w).end([whose(w, "192.168.1.103")]),       {100: 505.0}),
    ("nothing",           lambda w: None,                                             {100: 505.0}),
]
# fmt: on


def whose(world, text):
    return grants(world).roster.by_port["vm-1"], address(text)


@pytest.mark.parametrize("heard", ["given before", "unknown"])
@pytest.mark.parametrize("what, happens, held", MEANWHILE, ids=[m[0] for m in MEANWHILE])
def test_what_an_engine_remembers_is_older_than_what_happens_meanwhile(
    world, heard, what, happens, held
):
    if heard == "given before":
        give(world, said(world, "vm-1"))

    def read():
        found = [known("n1", 100, "06:00:00:00:09:01")]
        happens(world)
        return found

    grants(world).remember("t1", read)
    world.run(3.0)
    assert {a for _, a in programmed(world)} == {f"192.168.1.{last}" for last in held}
    view = {int(v["address"].split(".")[3]): v["expires"] for v in grants(world).view()}
    assert view == held


def test_a_message_about_an_address_that_nobody_has_is_no_news(world):
    """Whatever a client calls an address."""
    grants(world).changes()
    clients = grants(world).roster.by_port
    grants(world).end([(clients["vm-1"], be) for be in (b"", address("192.168.1.100"))])
    assert grants(world).changes() == {}


def test_an_engine_that_cannot_be_read_is_read_again_later(world):
    def broken():
        raise BackendError("DHCP server", "does not answer")

    with pytest.raises(BackendError):
        grants(world).remember("t1", broken)
    grants(world).remember("t1", lambda: [known("n1", 100, "06:00:00:00:09:01")])
    assert len(grants(world).view()) == 1


def of_its_own(p):
    return change(p, addresses=("192.168.1.77",)) if p.id == "vm-1" else p


UNSERVED = tuple(change(s, dhcp=None) for s in SEGMENTS)
# fmt: off
AWAY = [
    # for a while there is no  desired state
    ("port",   change(SERVED, ports=tuple(p for p in SERVED.ports if p.id != "vm-1"))),
    ("scope",  change(SERVED, segments=UNSERVED, dhcp=())),
    ("lease",  change(SERVED, ports=tuple(map(of_its_own, SERVED.ports)))),
]
# fmt: on
WITHOUT = AWAY[0][1]


@pytest.mark.parametrize("what, without", AWAY, ids=[a[0] for a in AWAY])
def test_what_was_removed_and_comes_back_finds_its_lease(world, what, without):
    """Its client has it still, and so has the engine: neither says so before it renews."""
    grants(world)._clock = lambda: 100.0
    give(world, said(world, "vm-1"))
    before, view = programmed(world), grants(world).view()
    world.adopt(without, 2)
    world.run(3.0)
    assert grants(world).view() == []
    world.adopt(SERVED, 3)
    world.run(3.0)
    assert (programmed(world), grants(world).view()) == (before, view)


def test_what_comes_back_too_late_finds_nothing(world):
    now = [100.0]
    grants(world)._clock = lambda: now[0]
    give(world, said(world, "vm-1", lease_s=60))
    world.adopt(WITHOUT, 2)
    world.run(3.0)
    now[0] = 160.0
    world.adopt(SERVED, 3)
    world.run(3.0)
    assert programmed(world) == {}


def test_what_comes_back_leaves_an_address_to_who_has_it_now(world):
    give(world, said(world, "vm-1"))
    world.adopt(WITHOUT, 2)
    world.run(3.0)
    assert give(world, said(world, "vm-2")) == ["vm-2"]
    world.adopt(SERVED, 3)
    world.run(3.0)
    assert [v["port"] for v in grants(world).view()] == ["vm-2"]


def test_what_the_operator_took_away_does_not_come_back(world):
    give(world, said(world, "vm-1"))
    grants(world).forget("t1", address("192.168.1.100"))
    world.adopt(WITHOUT, 2)
    world.run(3.0)
    world.adopt(SERVED, 3)
    world.run(3.0)
    assert programmed(world) == {}


def test_what_an_engine_remembers_of_nobody_or_too_late_is_left_alone(world):
    gone = known("n", 100, "06:00:00:00:66:66")
    over = known("n", 100, "06:00:00:00:09:01", lease_s=0.0)
    nowhere = known("n", 100, "06:00:00:00:09:01", segment="none")
    declined = known("", 100, "", state="declined")
    grants(world).remember("t1", lambda: [gone, over, nowhere, declined])
    assert grants(world).view() == []


@pytest.mark.parametrize("name", ["h" * 254, "\x1b[2J", "\ud800"])
def test_a_name_that_is_none_is_not_taken_from_an_engine_either(world, name):
    grants(world).remember("t1", lambda: [known(name, 100, "06:00:00:00:09:01")])
    assert [v["hostname"] for v in grants(world).view()] == [""]


def test_a_stranger_in_the_datapath_is_not_taken_for_a_lease(world):
    """Only a dynamic port's own MAC behind its own VNI is."""
    t1 = vrf(world, "t1")
    for last, m in ((100, "06:00:00:00:09:01"), (101, "06:00:00:00:66:66")):
        be = address(f"192.168.1.{last}")
        record = r.Ports(t1, be, 101, address(NEAR), mac(m))
        world.client.single["ports"][t1, be] = record
    world.start()
    world.adopt(SERVED)
    world.run(3.0)
    assert {a for _, a in programmed(world)} == {"192.168.1.100"}
