"""drivers/netlink.py on the kernel: interfaces set up, ours removed, others' left alone."""

import pytest

from pcg.drivers import offload
from pcg.drivers.netlink import Netlink
from pcg.drivers.sysctl import INTERFACE
from pcg.reconcile.host import Setup
from tests.netns.test_nft import unprivileged

UP = Setup("uplink", "up0", 9001, ("10.0.1.10/24",), "10.0.1.1", True)
DOWN = Setup("downlink", "down0", 9001, ("10.0.2.10/24",), "10.0.2.1", True)
MGMT = Setup("management", "mgmt0", 1500, ("10.0.0.10/24",), "10.0.0.1", False)
ALL = [UP, DOWN, MGMT]


@pytest.fixture
def netlink(inside):
    made = Netlink()
    yield made
    made.close()


def addresses(wires, interface: str) -> list[str]:
    words = wires.gw.run(f"ip -4 -o addr show dev {interface}").split()
    return [words[i + 1] for i, word in enumerate(words) if word == "inet"]


def test_set_up_and_the_second_time_nothing_changes(netlink, inside):
    assert netlink.add(ALL) == []
    kernel = netlink.read()
    for setup in ALL:
        link = kernel.links[setup.name]
        assert (link.up, link.mtu, link.veth) == (True, setup.mtu, True)
        assert addresses(inside, setup.name) == list(setup.addresses)
    before = inside.gw.run("ip -d addr; ip rule; ip route show table all")
    assert netlink.add(ALL) == []
    netlink.clear(ALL)
    assert inside.gw.run("ip -d addr; ip rule; ip route show table all") == before
    assert netlink.read() == kernel


def test_kernel_settings_of_our_interfaces_only(netlink, inside):
    other = "cat /proc/sys/net/ipv4/conf/{all,default,lo}/{rp_filter,arp_ignore,forwarding}"
    before = inside.gw.run(f"bash -c '{other}'")
    netlink.add(ALL)
    assert inside.gw.run(f"bash -c '{other}'") == before
    for name, value in INTERFACE.items():
        assert inside.gw.run(f"cat /proc/sys/net/ipv4/conf/up0/{name}").strip() == str(value)
    assert inside.gw.run("cat /proc/sys/net/ipv4/ip_forward").strip() == "0"


def test_offloads_are_off_on_taken_interfaces(netlink, inside):
    inside.gw.run("ethtool -K up0 gro on tso on gso on tx on; ethtool -K mgmt0 gro on")
    assert "rx-gro" in offload.active_offloads("up0", veth=True)
    assert netlink.add(ALL) == []
    assert offload.active_offloads("up0", veth=True) == []
    assert offload.active_offloads("down0", veth=True) == []
    said = inside.gw.run("ethtool -k up0")
    for feature in ("tx-checksumming", "tcp-segmentation-offload", "generic-receive-offload"):
        assert f"{feature}: off" in said
    assert "generic-receive-offload: on" in inside.gw.run("ethtool -k mgmt0")
    assert not offload.switch_off("up0", veth=True)  # nothing left to do


def test_offload_somebody_switched_on_again_is_switched_off(netlink, inside):
    netlink.add(ALL)
    inside.gw.run("ethtool -K down0 gro on")
    assert netlink.add(ALL) == []
    assert offload.active_offloads("down0", veth=True) == []


def test_missing_interface_is_named_and_the_others_are_done(netlink, inside):
    (error,) = netlink.add([UP._replace(name="eth7"), DOWN])
    assert error.thing == "interface eth7"
    assert error.why == "does not exist"
    assert "gateway.interfaces.uplink.name" in error.mend
    assert "mgmt0" in error.mend
    assert addresses(inside, "down0") == ["10.0.2.10/24"]


def test_mtu_the_link_cannot_have_is_named(netlink):
    (error,) = netlink.add([UP._replace(mtu=70_000)])
    assert "MTU 70000" in error.thing


def test_stale_addresses_of_ours_go_those_of_others_stay(netlink, inside):
    netlink.add([UP._replace(addresses=("10.0.1.10/24", "10.0.1.11/24"))])
    inside.gw.run("ip addr add 10.0.1.99/24 dev up0; ip rule add from 10.7.0.0/16 lookup 77")
    inside.gw.run("ip route add 10.77.0.0/16 via 10.0.1.1 table 50801")
    netlink.add([UP])
    netlink.clear([UP])
    assert addresses(inside, "up0") == ["10.0.1.10/24", "10.0.1.99/24"]
    assert "10.7.0.0/16" in inside.gw.run("ip rule")
    assert "10.0.1.11" not in inside.gw.run("ip rule")
    assert "10.77.0.0/16" in inside.gw.run("ip route show table 50801")


def test_renumbered_primary_address_takes_the_others_not_with_it(netlink, inside):
    netlink.add([UP._replace(addresses=("10.0.1.10/24", "10.0.1.11/24"))])
    renumbered = [UP._replace(addresses=("10.0.1.11/24", "10.0.1.12/24"))]
    assert netlink.add(renumbered) == []
    netlink.clear(renumbered)
    assert sorted(addresses(inside, "up0")) == ["10.0.1.11/24", "10.0.1.12/24"]
    assert netlink.add(renumbered) == []
    routes = inside.gw.run("ip route show table 50801")
    assert "default via 10.0.1.1 dev up0" in routes
    assert "10.0.1.10 " not in routes


def test_address_that_somebody_else_configured_is_used_and_never_removed(netlink, inside):
    inside.gw.run("ip addr add 10.0.1.10/24 dev up0")
    assert netlink.add([UP]) == []
    netlink.clear([])
    assert addresses(inside, "up0") == ["10.0.1.10/24"]


def test_address_taken_by_a_neighbour_is_one_clear_message(netlink, inside):
    inside.peer.run("ip addr add 10.0.1.10/32 dev u1")
    mac = inside.peer.run("cat /sys/class/net/u1/address 2>/dev/null || ip -br link show u1")
    (error,) = netlink.add([UP])
    assert error.thing == "address 10.0.1.10 of interface up0"
    assert "already taken by" in error.why
    assert error.why.split()[3] in mac or error.why.split()[3] in inside.peer.run("ip link")
    assert addresses(inside, "up0") == []
    inside.peer.run("ip addr del 10.0.1.10/32 dev u1")
    assert netlink.add([UP]) == []


def test_address_on_another_interface_is_named(netlink, inside):
    inside.gw.run("ip addr add 10.0.1.10/24 dev mgmt0")
    (error,) = netlink.add([UP])
    assert str(error) == (
        "address 10.0.1.10 of interface up0: already on interface mgmt0; remove it from there"
    )


def test_address_of_ours_follows_to_another_interface(netlink, inside):
    netlink.add([UP])
    assert netlink.add([UP._replace(name="down0")]) == []
    assert addresses(inside, "up0") == []
    assert addresses(inside, "down0") == ["10.0.1.10/24"]


def test_routes_the_kernel_dropped_with_a_link_come_back(netlink, inside):
    netlink.add(ALL)
    before = inside.gw.run("ip route show table 50802")
    inside.gw.run("ip link set down0 down")
    assert inside.gw.run("ip route show table 50802") != before
    assert netlink.add(ALL) == []
    assert sorted(inside.gw.run("ip route show table 50802").splitlines()) == sorted(
        before.splitlines()
    )


def received(wires, interface: str) -> int:
    """Packets that came out of this wire at the peer."""
    lines = wires.peer.run(f"ip -s link show {interface}").splitlines()
    return int(lines[3].split()[1])


def test_each_address_answers_from_its_own_interface(netlink, inside):
    """A far client asks down0's address; the main table would answer it through up0."""
    netlink.add(ALL)
    inside.gw.run("ip route add default via 10.0.1.1")
    inside.peer.run("ip addr add 198.51.100.7/32 dev lo")
    inside.peer.run("ping -c 1 -W 2 10.0.2.10")  # who is who is known
    before = received(inside, "u1"), received(inside, "d1")
    inside.peer.run("ping -c 20 -i 0.002 -W 2 -I 198.51.100.7 10.0.2.10")
    assert received(inside, "d1") - before[1] >= 20
    assert received(inside, "u1") - before[0] < 20


def test_interfaces_do_not_answer_arp_for_each_other(netlink, inside):
    netlink.add(ALL)
    inside.peer.run("ip route add 10.0.2.10/32 dev u1")
    assert not inside.peer.works("ping -c 1 -W 1 10.0.2.10")


def test_management_gateway_is_the_way_out_when_nobody_set_another(netlink, inside):
    netlink.add(ALL)
    assert "via 10.0.0.1 dev mgmt0" in inside.gw.run("ip route get 198.51.100.1")
    inside.gw.run("ip route add default via 10.0.1.1")
    assert "via 10.0.1.1 dev up0" in inside.gw.run("ip route get 198.51.100.1")


def test_no_permission_is_one_clear_message(inside):
    inside.gw.run("ip link set up0 mtu 9001")

    def add():
        raise Netlink().add([UP])[0]

    said = unprivileged(add)
    assert said.startswith("interface up0: ")
    assert "run as root" in said
