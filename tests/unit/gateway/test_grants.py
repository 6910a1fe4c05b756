"""Leases become port records before their clients hear of them, and stay so whatever happens."""

from types import SimpleNamespace

import msgspec
import pytest

from pcg.model.dhcp import DhcpScope
from pcg.proto import relay
from pcg.reconcile import records as r
from pcg.reconcile.addresses import address, mac
from tests.unit.gateway.world import World
from tests.unit.proto.dhcp_world import dotted, replied
from tests.unit.reconcile.examples import DESIRED, port

NEAR, FAR = "10.0.2.21", "10.0.3.22"


def change(value, **more):
    return msgspec.structs.replace(value, **more)


def dynamic(name: str, n: int, segment: str = "web", **more):
    made = port(name, f"0.0.9.{n}", segment)
    return change(made, addresses=(), **more)


SEGMENTS = tuple(change(s, dhcp=f"lan-{s.vrf}") for s in DESIRED.segments)
SERVED = change(
    DESIRED,
    segments=SEGMENTS,
    dhcp=(DhcpScope(id="lan-t1", vrf="t1"), DhcpScope(id="lan-t2", vrf="t2")),
    ports=(*DESIRED.ports, dynamic("vm-1", 1), dynamic("vm-2", 2), dynamic("far", 1, "other")),
)


@pytest.fixture
def world(monkeypatch):
    made = World(monkeypatch)
    made.adopt(SERVED)
    made.run(3.0)
    return made


def grants(world):
    return world.gateway.grants


def said(world, name, kind="ack", yiaddr="192.168.1.100", lease_s=600, **more):
    one = grants(world).roster.by_port[name]
    data = replied(kind, ("lease_time", lease_s), to=one, yiaddr=address(yiaddr), **more)
    return relay.reply(data, {one.circuit: one})


def give(world, *replies):
    """Names of the ports whose replies may go out."""
    return [reply.client.port.id for reply in grants(world).give(replies)]


def programmed(world):
    """(VRF number, address) -> (VNI, TEP) of what the datapath holds beside the desired ports."""
    own = {address(a) for p in DESIRED.ports for a in p.addresses}
    return {
        (key[0], dotted(key[1])): (rec.vni, dotted(rec.tep_be))
        for key, rec in world.client.single["ports"].items()
        if key[1] not in own
    }


def refused(world):
    return dict(grants(world).refused)


def vrf(world, name):
    return next(rec.index for rec in world.client.policy["vrfs"] if rec.name == name)


def test_an_ack_goes_out_once_the_datapath_lets_the_port_use_the_address(world):
    world.script.done.clear()
    assert give(world, said(world, "vm-1")) == ["vm-1"]
    assert world.script.done == ["put ports", "totals"]
    assert programmed(world) == {(vrf(world, "t1"), "192.168.1.100"): (101, NEAR)}
    assert world.run(3.0) == []  # the control loop agrees


def test_an_offer_binds_nothing(world):
    assert give(world, said(world, "vm-1", "offer")) == ["vm-1"]
    assert programmed(world) == {}
    assert grants(world).view() == []


def test_a_nak_and_the_ack_of_an_inform_pass_and_bind_nothing(world):
    replies = said(world, "vm-1", "nak", "0.0.0.0"), said(world, "vm-1", "ack", "0.0.0.0")
    assert give(world, *replies) == ["vm-1", "vm-1"]
    assert programmed(world) == {}


def test_a_datapath_that_does_not_take_it_keeps_the_ack_back(world):
    world.script.broken["put ports"] = 1
    assert give(world, said(world, "vm-1")) == []
    assert refused(world) == {("web", "NOT_PROGRAMMED"): 1}
    assert grants(world).view() == []
    world.run(3.0)
    assert programmed(world) == {}
    assert give(world, said(world, "vm-1")) == ["vm-1"]


def test_a_renewal_costs_the_datapath_nothing(world):
    give(world, said(world, "vm-1"))
    world.script.done.clear()
    assert give(world, said(world, "vm-1")) == ["vm-1"]
    assert world.script.done == []


def test_many_acks_are_one_write(world):
    replies = said(world, "vm-1"), said(world, "vm-2", yiaddr="192.168.1.101")
    world.script.done.clear()
    assert give(world, *replies) == ["vm-1", "vm-2"]
    assert world.script.done == ["put ports", "totals"]


def test_the_same_address_in_two_vrfs_is_two_leases(world):
    assert give(world, said(world, "vm-1"), said(world, "far")) == ["vm-1", "far"]
    assert {key[0] for key in programmed(world)} == {vrf(world, "t1"), vrf(world, "t2")}


# fmt: off
WRONG = [
    # what                                port    address           reason
    ("another port's lease",              "vm-2", "192.168.1.100", "ADDRESS_TAKEN"),
    ("another port's own address",        "vm-2", "192.168.1.8",   "ADDRESS_TAKEN"),
    ("the gateway's",                     "vm-2", "192.168.1.1",   "ADDRESS_NOT_ITS_OWN"),
    ("of another segment",                "vm-2", "192.168.2.9",   "ADDRESS_NOT_ITS_OWN"),
    ("not that of the port",              "web1", "192.168.1.101", "ADDRESS_NOT_ITS_OWN"),
]
# fmt: on


@pytest.mark.parametrize("what, name, yiaddr, reason", WRONG, ids=[w[0] for w in WRONG])
@pytest.mark.parametrize("kind", ["offer", "ack"])
def test_an_engine_that_gives_a_wrong_address_is_not_believed(
    world, kind, what, name, yiaddr, reason
):
    give(world, said(world, "vm-1"))
    before = programmed(world)
    assert give(world, said(world, name, kind, yiaddr)) == []
    assert refused(world) == {("web", reason): 1}
    assert programmed(world) == before


def test_one_address_given_to_two_ports_at_once_is_the_first_ones(world):
    assert give(world, said(world, "vm-1"), said(world, "vm-2")) == ["vm-1"]
    assert refused(world) == {("web", "ADDRESS_TAKEN"): 1}


def test_a_port_with_addresses_gets_its_own_and_nothing_is_written(world):
    world.script.done.clear()
    assert give(world, said(world, "web1", yiaddr="192.168.1.8")) == ["web1"]
    assert world.script.done == []
    assert [lease["port"] for lease in grants(world).view()] == ["web1"]


def test_released_or_declined_it_is_taken_back(world):
    give(world, said(world, "vm-1"))
    clients = grants(world).roster.by_port
    grants(world).end([(clients["vm-2"], address("192.168.1.100"))])  # none of its business
    assert len(programmed(world)) == 1
    grants(world).end([(clients["vm-1"], address("192.168.1.100"))])
    assert programmed(world) == {}
    assert world.run(3.0) == []


def test_what_could_not_be_taken_back_at_once_is_by_the_control_loop(world):
    give(world, said(world, "vm-1"))
    world.script.broken["delete ports"] = 1
    grants(world).forget("t1", address("192.168.1.100"))
    assert len(programmed(world)) == 1
    world.run(3.0)
    assert programmed(world) == {}


def test_it_ends_with_its_time(world):
    now = [100.0]
    grants(world)._clock = lambda: now[0]
    give(world, said(world, "vm-1", lease_s=60))
    now[0] = 159.0
    grants(world).expire()
    assert len(programmed(world)) == 1
    now[0] = 160.0
    grants(world).expire()
    assert programmed(world) == {}


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


def test_a_restarted_datapath_gets_the_leases_too(world):
    give(world, said(world, "vm-1"))
    world.client.restart()
    world.run(3.0)
    assert list(programmed(world).values()) == [(101, NEAR)]


def test_a_lease_given_while_a_datapath_was_replaced_does_not_hide_that(world):
    world.client.restart()
    assert give(world, said(world, "vm-1")) == []
    world.run(3.0)
    assert len(world.client.single["ports"]) == 3
    assert give(world, said(world, "vm-1")) == ["vm-1"]


def known(name, last, mac_text, segment="web", lease_s=500.0, state="leased"):
    return SimpleNamespace(
        segment=segment,
        address=f"192.168.1.{last}",
        mac=mac_text,
        hostname=name,
        expires=5.0 + lease_s,
        state=state,
    )


def test_a_gateway_started_anew_takes_no_address_from_anybody(world):
    give(world, said(world, "vm-1"), said(world, "vm-2", yiaddr="192.168.1.101"))
    before = programmed(world)
    world.start()
    world.adopt(SERVED)
    assert "delete ports" not in world.run(5.0)
    assert programmed(world) == before
    # The engine knows one of them, and one that the datapath lost.
    third = known("n3", 102, grants(world).roster.by_port["vm-2"].port.mac)
    grants(world).remember("t1", [known("n1", 100, "06:00:00:00:09:01"), third])
    world.run(3.0)
    assert {a for _, a in programmed(world)} == {"192.168.1.100", "192.168.1.102"}
    view = {v["address"]: (v["port"], v["hostname"]) for v in grants(world).view()}
    assert view == {"192.168.1.100": ("vm-1", "n1"), "192.168.1.102": ("vm-2", "n3")}


def test_leases_of_another_vrf_wait_for_their_own_engine(world):
    give(world, said(world, "vm-1"), said(world, "far"))
    world.start()
    world.adopt(SERVED)
    world.run(3.0)
    grants(world).remember("t1", [])
    assert {key[0] for key in programmed(world)} == {vrf(world, "t2")}


def test_what_an_engine_remembers_of_nobody_or_too_late_is_left_alone(world):
    gone = known("n", 100, "06:00:00:00:66:66")
    over = known("n", 100, "06:00:00:00:09:01", lease_s=0.0)
    nowhere = known("n", 100, "06:00:00:00:09:01", segment="none")
    declined = known("", 100, "", state="declined")
    grants(world).remember("t1", [gone, over, nowhere, declined])
    assert grants(world).view() == []


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


def test_the_operator_takes_a_lease_away(world):
    give(world, said(world, "vm-1"))
    assert grants(world).forget("t1", address("192.168.1.100")).port == "vm-1"
    assert grants(world).forget("t1", address("192.168.1.100")) is None
    assert programmed(world) == {}
    assert grants(world).view() == []


def test_what_changed_is_told_once_each_and_nothing_before_anything_is_known(world):
    give(world, said(world, "vm-1"), said(world, "vm-2", yiaddr="192.168.1.101"))
    told = grants(world).changes()
    assert told["t1", "192.168.1.100"]["port"] == "vm-1"
    assert len(told) == 2
    assert grants(world).changes() == {}
    grants(world).forget("t1", address("192.168.1.100"))
    assert grants(world).changes() == {("t1", "192.168.1.100"): None}
    world.start()
    assert grants(world).changes() is None
    world.adopt(SERVED)
    world.run(3.0)
    assert set(grants(world).changes()) == {("t1", "192.168.1.101")}


def test_owners_are_the_same_object_until_a_lease_comes_or_ends(world):
    give(world, said(world, "vm-1"))
    owners = grants(world).owners()
    assert owners == (("t1", "192.168.1.100", "vm-1"),)
    give(world, said(world, "vm-1"))
    assert grants(world).owners() is owners
    grants(world).forget("t1", address("192.168.1.100"))
    assert grants(world).owners() == ()
