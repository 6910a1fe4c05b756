"""host.py and kernel.py: what the kernel beside the datapath should be."""

import ipaddress

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from pcg.reconcile import host, kernel
from tests.unit.reconcile.examples import DESIRED, GATEWAY, public

INDEX = {"up0": 2, "down0": 3, "mgmt0": 4}


def test_owned_are_secondary_addresses_and_routed_segments():
    steering = host.steering(DESIRED)
    assert steering.owned == (
        "10.0.1.11/32", "10.0.1.12/31", "192.168.2.0/24",
    )  # fmt: skip
    assert steering.kept == ("10.0.0.10", "10.0.1.10", "10.0.2.10")
    assert (steering.uplink, steering.downlink, steering.tep) == ("up0", "down0", "10.0.2.10")


def test_common_is_what_both_keep():
    old = host.steering(DESIRED)
    new = host.steering(msgspec.structs.replace(DESIRED, public_addresses=(public("x", "t1", 11),)))
    assert host.common(old, new).owned == ("10.0.1.11/32", "192.168.2.0/24")


def test_common_hooks_where_the_old_one_does_and_gives_both_their_own_addresses():
    old = host.steering(DESIRED)
    new = old._replace(uplink="up9", kept=("10.0.1.99",), owned=("10.0.0.0/16",))
    both = host.common(old, new)
    assert (both.uplink, both.kept) == ("up0", ("10.0.0.10", "10.0.1.10", "10.0.1.99", "10.0.2.10"))
    assert both.owned == ("10.0.1.11/32", "10.0.1.12/31")
    assert host.common(both, new) == both


NETS = [ipaddress.IPv4Network((10 << 24 | i << 4, 28)) for i in range(4)]
PREFIXES = [n for net in NETS for length in range(28, 33) for n in net.subnets(new_prefix=length)]
SOME = st.lists(st.sampled_from([*map(str, PREFIXES), "10.0.0.0/26"]), max_size=12)


@given(SOME, SOME)
def test_shared_is_every_address_of_both(one, other):
    def addresses(prefixes):
        return {a for p in prefixes for a in ipaddress.IPv4Network(p)}

    found = host.shared(host.disjoint(one), host.disjoint(other))
    assert addresses(found) == addresses(one) & addresses(other)
    assert host.disjoint(found) == found


def test_the_datapath_takes_uplink_and_downlink():
    assert {s.role: s.taken for s in host.setups(DESIRED)} == {
        "uplink": True,
        "downlink": True,
        "management": False,
    }


def test_each_interface_answers_from_its_own_table():
    made = kernel.wanted(host.setups(DESIRED), INDEX)
    up, down, mgmt = (kernel.TABLES[r] for r in host.ROLES)
    assert kernel.Route(up, kernel.DEFAULT, "10.0.1.1", 2, "10.0.1.10") in made.routes
    assert kernel.Route(down, "10.0.2.0/24", "", 3, "10.0.2.10") in made.routes
    assert {(r.source, r.table) for r in made.rules} == {
        ("10.0.1.10", up),
        ("10.0.2.10", down),
        ("10.0.0.10", mgmt),
    }


def test_management_gateway_is_asked_last():
    interfaces = msgspec.structs.replace(
        GATEWAY.interfaces,
        management=msgspec.structs.replace(GATEWAY.interfaces.management, gateway="10.0.0.1"),
    )
    gateway = msgspec.structs.replace(GATEWAY, interfaces=interfaces)
    setups = host.setups(msgspec.structs.replace(DESIRED, gateway=gateway))
    last = kernel.Rule(kernel.LAST_RESORT, "", kernel.TABLES["management"])
    assert last in kernel.wanted(setups, INDEX).rules


def test_interface_that_is_not_there_is_left_out():
    made = kernel.wanted(host.setups(DESIRED), {"up0": 2})
    assert {a.index for a in made.addresses} == {2}


def test_two_addresses_in_one_subnet_share_its_route():
    setup = host.Setup("uplink", "up0", 1500, ("10.0.1.10/24", "10.0.1.11/24"), "", True)
    made = kernel.wanted([setup], INDEX)
    assert (len(made.addresses), len(made.routes), len(made.rules)) == (2, 1, 2)
