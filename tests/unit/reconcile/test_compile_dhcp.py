"""compile_dhcp.py: what a scope makes of a segment; what two gateways may give of one pool."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcg.model import desired as d
from pcg.model.addresses import Prefix, prefix_number
from pcg.model.dhcp import AddressRange, DhcpOption, DhcpRoute, DhcpScope, StaticBinding
from pcg.reconcile import compile_dhcp as c
from tests.unit.reconcile.examples import DESIRED, port, segment

WEB = segment("web", "t1", 9096, "192.168.1.0/24", dhcp="lan")
PEER = d.Ha(peer="gw-b", peer_tep="10.0.2.11")


def pool(first: int, last: int) -> AddressRange:
    return AddressRange(first=f"192.168.1.{first}", last=f"192.168.1.{last}")


def scope(**more) -> DhcpScope:
    return DhcpScope(**{"id": "lan", "vrf": "t1", "pools": (pool(100, 199),)} | more)


def state(*scopes, segments=(WEB,), ports=(), ha=None, gateway="gw-a") -> d.Desired:
    ours = msgspec.structs.replace(DESIRED.gateway, id=gateway)
    more = {"gateway": ours, "segments": segments, "ports": ports, "dhcp": scopes, "ha": ha}
    return msgspec.structs.replace(DESIRED, **more)


def web(*args, **kwargs) -> dict:
    [subnet] = c.compile_dhcp(state(*args, **kwargs))["t1"].subnets
    return subnet


def said(subnet: dict) -> dict[int, str]:
    return {o["code"]: o["data"] for o in subnet["option-data"]}


def test_only_vrfs_with_scoped_segments_have_a_server():
    bare = segment("bare", "t2", 9097, "192.168.1.0/24")
    servers = c.compile_dhcp(state(scope(), segments=(WEB, bare)))
    assert servers.keys() == {"t1"}
    assert servers["t1"].served == {9096: ("web", 86400)}


def test_what_is_not_said_is_the_segments():
    subnet = web(scope())
    assert (subnet["id"], subnet["subnet"]) == (9096, "192.168.1.0/24")
    assert subnet["pools"] == [{"pool": "192.168.1.100-192.168.1.199"}]
    gateway = "c0a80101"
    assert said(subnet) == {
        1: "ffffff00",
        3: gateway,
        26: "22ef",
        28: "c0a801ff",
        54: gateway,
        121: "00" + gateway,
    }


def test_the_mtu_is_sent_to_those_who_do_not_ask():
    [mtu] = [o for o in web(scope(mtu=1400))["option-data"] if o["always-send"]]
    assert (mtu["code"], mtu["data"]) == (26, "0578")


def test_what_concerns_another_segment_of_the_scope_is_left_out():
    other = segment("app", "t1", 9097, "192.168.2.0/24", dhcp="lan")
    shared = scope(
        pools=(pool(100, 109), AddressRange(first="192.168.2.5", last="192.168.2.9")),
        gateway="192.168.1.254",
        routes=(DhcpRoute(prefix="10.0.0.0/8", next_hop="192.168.1.254"),),
        bindings=(StaticBinding(mac="06:00:00:00:00:01", address="192.168.1.7"),),
    )
    server = c.compile_dhcp(state(shared, segments=(WEB, other)))["t1"]
    first, second = server.subnets
    assert second["pools"] == [{"pool": "192.168.2.5-192.168.2.9"}]
    assert second["reservations"] == []
    assert said(second)[3] == "c0a80201"
    assert said(second)[121] == "00c0a80201"
    assert said(first)[121] == "00c0a801fe080ac0a801fe"


def test_a_default_route_of_the_scopes_own_stands():
    own = scope(routes=(DhcpRoute(prefix="0.0.0.0/0", next_hop="192.168.1.9"),))
    assert said(web(own))[121] == "00c0a80109"


@pytest.mark.parametrize(
    ("value", "data"),
    [
        ({"value": "c0ff"}, "c0ff"),
        ({"text": "pcg"}, "706367"),
        ({"addresses": ("10.0.0.1", "10.0.0.2")}, "0a0000010a000002"),
        ({"uint8": 0}, "00"),
        ({"uint16": 258}, "0102"),
        ({"uint32": 1}, "00000001"),
    ],
)
def test_options_by_type(value, data):
    assert said(web(scope(options=(DhcpOption(code=200, **value),))))[200] == data


def test_what_a_port_has_is_reserved_and_its_other_addresses_left_out():
    two = msgspec.structs.replace(
        port("p", "192.168.1.110"), addresses=("192.168.1.110", "192.168.1.120")
    )
    subnet = web(
        scope(exclusions=(pool(190, 250),)), ports=(two, port("app1", "192.168.1.9", "app"))
    )
    assert subnet["reservations"] == [{"hw-address": two.mac, "ip-address": "192.168.1.110"}]
    assert [p["pool"] for p in subnet["pools"]] == [
        "192.168.1.100-192.168.1.119",
        "192.168.1.121-192.168.1.189",
    ]


def test_a_dynamic_port_has_no_reservation_but_what_it_is_bound_to():
    free = msgspec.structs.replace(port("p", "192.168.1.9"), addresses=())
    assert web(scope(), ports=(free,))["reservations"] == []
    bound = StaticBinding(mac=free.mac, address="192.168.1.50", hostname="web1")
    by_id = StaticBinding(client_id="0106", address="192.168.1.51")
    assert web(scope(bindings=(bound, by_id)), ports=(free,))["reservations"] == [
        {"client-id": "0106", "ip-address": "192.168.1.51"},
        {"hw-address": free.mac, "ip-address": "192.168.1.50", "hostname": "web1"},
    ]


def test_a_boot_server_stands_in_the_header_too():
    subnet = web(scope(tftp_server="10.0.0.5", bootfile="x" * 127))
    assert (subnet["next-server"], subnet["boot-file-name"]) == ("10.0.0.5", "x" * 127)
    named = web(scope(tftp_server="boot.example.com", bootfile="x" * 128))
    assert "next-server" not in named
    assert "boot-file-name" not in named


def test_a_lease_of_a_pair_is_kept_for_its_port():
    free = msgspec.structs.replace(port("p", "192.168.1.9"), addresses=())
    server = c.compile_dhcp(state(scope(lease_s=600), ports=(free,), ha=PEER))["t1"]
    assert server.subnets[0]["valid-lifetime"] == c.KEPT_S
    assert server.served[9096].lease_s == 600
    assert server.ports == {(9096, free.mac)}
    alone = c.compile_dhcp(state(scope(lease_s=600), ports=(free,)))["t1"]
    assert (alone.holds, alone.ports) == (False, frozenset())
    assert alone.subnets[0]["valid-lifetime"] == 600


# ---- who of a pair gives what ----

SUBNETS = st.sampled_from(
    ["10.0.0.0/8", "10.0.0.0/20", "10.0.0.0/24", "10.0.0.64/28", "10.0.0.4/30"]
)


@st.composite
def places(draw):
    """A subnet and a span in it, of at most 3,000 addresses."""
    subnet = prefix_number(draw(SUBNETS))
    first = draw(st.integers(subnet.first, subnet.last))
    last = draw(st.integers(first, min(subnet.last, first + 3000)))
    return subnet, Prefix(first, last)


def members(spans) -> list[int]:
    return [n for s in spans for n in range(s.first, s.last + 1)]


@given(places())
def test_each_address_is_one_gateways(place):
    subnet, free = place
    zero, one = (members(c.share(free, subnet, side)) for side in (0, 1))
    assert sorted(zero + one) == members([free])


@given(places(), st.data())
def test_whose_it_is_does_not_depend_on_the_pool(place, data):
    """Two gateways whose documents differ, for a while, must not both own an address."""
    subnet, free = place
    first = data.draw(st.integers(free.first, free.last))
    part = Prefix(first, data.draw(st.integers(first, free.last)))
    for side in (0, 1):
        whole = set(members(c.share(free, subnet, side)))
        assert members(c.share(part, subnet, side)) == [n for n in members([part]) if n in whole]


@given(st.lists(places(), max_size=5), st.lists(places(), max_size=5))
def test_what_is_left_without_what_is_taken(spans, taken):
    have, gone = (sorted(p for _, p in list_) for list_ in (spans, taken))
    left = set(members(have)) - set(members(gone))
    assert set(members(c.without(have, gone))) == left


def test_both_gateways_agree_on_who_is_who():
    a = web(scope(), ha=PEER)["pools"]
    b = web(scope(), ha=msgspec.structs.replace(PEER, peer="gw-a"), gateway="gw-b")["pools"]
    assert a[:2] == [
        {"pool": "192.168.1.104-192.168.1.107"},
        {"pool": "192.168.1.112-192.168.1.115"},
    ]
    assert b[:2] == [
        {"pool": "192.168.1.100-192.168.1.103"},
        {"pool": "192.168.1.108-192.168.1.111"},
    ]
