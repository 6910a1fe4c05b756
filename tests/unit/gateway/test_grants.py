"""Leases become port records before their clients hear of them."""

import pytest

from pcg.proto import relay
from pcg.reconcile.addresses import address
from pcg.wire import codec, dhcp
from pcg.wire import messages as m
from tests.unit.gateway.leasing import (
    NEAR,
    SERVED,
    give,
    grants,
    leasing,
    programmed,
    refused,
    said,
    vrf,
)
from tests.unit.proto.dhcp_world import GIADDR, frame, message


@pytest.fixture
def world(monkeypatch):
    return leasing(monkeypatch)


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


def test_a_port_that_is_answered_twice_at_once_hears_both(world):
    assert give(world, said(world, "vm-1"), said(world, "vm-1")) == ["vm-1", "vm-1"]
    assert refused(world) == {}


def test_each_of_two_answers_that_the_datapath_does_not_take_is_counted(world):
    world.script.broken["put ports"] = 1
    assert give(world, said(world, "vm-1"), said(world, "vm-1")) == []
    assert refused(world) == {("web", "NOT_PROGRAMMED"): 2}


# fmt: off
SAYS = [
    # of itself                     options that it sends                               host name
    ("a name",                      dhcp.option(12, b"joe"),                            "joe"),
    ("a name that ends with zeros", dhcp.option(12, b"joe\0\0"),                        "joe"),
    ("the longest name",            dhcp.option(12, b"h" * 253),                        "h" * 253),
    ("one too long",                dhcp.option(12, b"h" * 254),                        ""),
    ("a name in two options",       dhcp.option(12, b"h" * 200) * 2,                    ""),
    ("what is not to be printed",   dhcp.option(12, b"\x1b[2J"),                        ""),
    ("what is not ASCII",           dhcp.option(12, "jos\u00e9".encode()),              ""),
    ("a long client identifier",    dhcp.option(61, b"\1" * 200) * 2,                   ""),
]
# fmt: on


@pytest.mark.parametrize("what, options, hostname", SAYS, ids=[s[0] for s in SAYS])
@pytest.mark.parametrize("server", ["silent", "echoes"])
def test_whatever_a_client_says_of_itself_fits_a_report(world, server, what, options, hostname):
    """RFC 1123 section 2.1; RFC 3396 joins what comes in parts."""
    one = grants(world).roster.by_port["vm-1"]
    request = message("request", mac=one.mac, tail=options)
    relay.request(one, frame(request, mac=one.mac), GIADDR, 0.0)
    tail = one.option + (options if server == "echoes" else b"")
    lease = ("lease_time", 600)
    ack = message("ack", lease, op=2, mac=one.mac, yiaddr=bytes([192, 168, 1, 100]), tail=tail)
    assert give(world, relay.reply(ack, {one.circuit: one})) == ["vm-1"]
    (view,) = grants(world).changes().values()
    report = m.Leases(1, True, (m.Lease(**view),))
    assert codec.decode_up(codec.encode(report)) == report
    assert view["hostname"] == hostname


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
