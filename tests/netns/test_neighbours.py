"""drivers/neighbours.py on the kernel: next hops are found, kept, followed."""

from pathlib import Path

import pytest

from pcg.drivers.neighbours import Neighbours, Ways
from pcg.drivers.netlink import Netlink
from pcg.reconcile.addresses import address, mac
from pcg.reconcile.compile import Hop
from pcg.reconcile.host import Setup
from tests.waiting import wait_until

OURS = address("10.0.2.10")
NEAR, ROUTER, FAR = address("10.0.2.21"), address("10.0.2.1"), address("10.0.3.22")
NEAR_MAC = "02:00:00:00:00:21"
DOWN = Setup("downlink", "down0", 9001, ("10.0.2.10/24",), "10.0.2.1", True)


@pytest.fixture
def index(inside):
    """Of down0, set up; the peer has a TEP of its own MAC beside the router."""
    inside.peer.run(
        f"ip link add link d1 name near type macvlan mode bridge && ip link set near "
        f"address {NEAR_MAC} up && ip addr add 10.0.2.21/24 dev near"
    )
    for name in ("d1", "near"):  # each answers and asks for itself alone
        for setting, value in (("arp_ignore", "1"), ("arp_announce", "2")):
            with inside.peer.inside():
                Path(f"/proc/sys/net/ipv4/conf/{name}/{setting}").write_text(value)
    netlink = Netlink()
    assert netlink.add([DOWN]) == []
    found = netlink.read().links["down0"].index
    netlink.close()
    return found


@pytest.fixture
def neighbours(index):
    made = Neighbours()
    yield made
    made.close()


@pytest.fixture
def ways(index, neighbours):
    made = Ways()
    made.look_up([NEAR, FAR], OURS, index)
    neighbours.use(made.keys.values())
    return made


def known(neighbours, key) -> str:
    neighbours.read()
    neighbours.refresh()
    found = neighbours.mac(key)
    return found.hex(":") if any(found) else ""


def test_near_teps_are_their_own_next_hop_far_ones_have_the_router(ways, index):
    assert ways.keys == {NEAR: (index, NEAR), FAR: (index, ROUTER)}


def test_next_hops_are_asked_for_and_known(ways, neighbours, index):
    wait_until(lambda: known(neighbours, (index, NEAR)) == NEAR_MAC, "the near TEP's MAC")
    wait_until(lambda: known(neighbours, (index, ROUTER)), "the router's MAC")
    hops = ways.known(neighbours, 9001)
    assert hops[NEAR] == Hop(mac(NEAR_MAC), 9001)
    assert hops[FAR].mac == neighbours.mac((index, ROUTER))


def test_what_the_kernel_knew_before_is_known_at_once(inside, index):
    inside.gw.run("ping -c 1 -W 2 10.0.2.21")
    late = Neighbours()
    late.use([(index, NEAR)])
    wait_until(late.read, "the table")
    assert late.mac((index, NEAR)) == mac(NEAR_MAC)
    late.close()


def test_mac_that_changes_is_news(ways, neighbours, inside, index):
    wait_until(lambda: known(neighbours, (index, NEAR)) == NEAR_MAC, "the near TEP's MAC")
    inside.gw.run("ip neigh replace 10.0.2.21 lladdr 02:00:00:00:00:99 dev down0 nud reachable")
    seen = wait_until(lambda: (s := neighbours.read()).neighbours and s, "the event")
    assert not seen.kernel
    assert neighbours.mac((index, NEAR)) == mac("02:00:00:00:00:99")


def test_stale_entry_is_verified_without_traffic(ways, neighbours, inside, index):
    wait_until(lambda: known(neighbours, (index, NEAR)) == NEAR_MAC, "the near TEP's MAC")
    inside.gw.run(f"ip neigh replace 10.0.2.21 lladdr {NEAR_MAC} dev down0 nud stale")

    def reachable():
        known(neighbours, (index, NEAR))
        return "REACHABLE" in inside.gw.run("ip neigh show 10.0.2.21")

    wait_until(reachable, "verified again")
    assert neighbours.mac((index, NEAR)) == mac(NEAR_MAC)


def test_wrong_entry_is_found_out_and_mended(ways, neighbours, inside, index, asks_often):
    """The TEP's MAC changed and nobody told: probing the old one fails, asking again does not."""
    inside.gw.run("ip neigh replace 10.0.2.21 lladdr 02:00:00:00:00:99 dev down0 nud stale")
    wait_until(lambda: known(neighbours, (index, NEAR)) == NEAR_MAC, "the right MAC", 30)


NOBODY = address("10.0.2.77")


@pytest.fixture
def asks_often(inside, index):
    for setting in ("retrans_time_ms", "base_reachable_time_ms"):
        with inside.gw.inside():
            Path(f"/proc/sys/net/ipv4/neigh/down0/{setting}").write_text("50")


def test_neighbour_that_nobody_answers_for_is_silent(neighbours, inside, index, asks_often):
    key = (index, NOBODY)
    neighbours.use([key])
    assert (known(neighbours, key), neighbours.silent(key)) == ("", False)  # asked for, no more

    def given_up():
        assert known(neighbours, key) == ""
        return neighbours.silent(key)

    wait_until(given_up, "the kernel asked, and gave up")
    assert "10.0.2.77" in inside.gw.run("ip neigh show")
    inside.peer.run("ip addr add 10.0.2.77/24 dev d1")
    wait_until(lambda: known(neighbours, key), "it is there after all")
    assert not neighbours.silent(key)


def test_a_mac_that_fails_is_looked_for_before_it_is_silent(
    ways, neighbours, inside, index, asks_often
):
    """It may have changed: only when nobody answers to a question that goes to all is it silent."""
    key = (index, NEAR)
    wait_until(lambda: known(neighbours, key) == NEAR_MAC, "the near TEP's MAC")
    inside.peer.run("ip link set near down")
    wait_until(lambda: known(neighbours, key) == "", "the MAC is no good any more", 30)
    assert not neighbours.silent(key)
    wait_until(lambda: known(neighbours, key) == "" and neighbours.silent(key), "nobody answers")
    inside.peer.run("ip link set near up")
    wait_until(lambda: known(neighbours, key) == NEAR_MAC, "it is back", 30)
    assert not neighbours.silent(key)


def test_suggestion_holds_until_the_kernel_knows_better(ways, neighbours, index):
    suggested = mac("02:00:00:00:00:77")
    neighbours.suggest((index, NEAR), suggested)
    assert neighbours.mac((index, NEAR)) == suggested
    wait_until(lambda: known(neighbours, (index, NEAR)) == NEAR_MAC, "the kernel's answer")


def test_suggested_silence_holds_until_somebody_answers(neighbours, inside, index, asks_often):
    key = (index, NOBODY)
    neighbours.use([key])
    known(neighbours, key)
    wait_until(lambda: "10.0.2.77" in inside.gw.run("ip neigh show"), "the kernel asks")
    neighbours.suggest(key, bytes(6))
    assert (neighbours.silent(key), any(neighbours.mac(key))) == (True, False)
    inside.peer.run("ip addr add 10.0.2.77/24 dev d1")
    wait_until(lambda: known(neighbours, key), "it is there after all")
    neighbours.suggest(key, bytes(6))
    assert not neighbours.silent(key)


def test_entry_collected_by_the_kernel_keeps_its_mac(ways, neighbours, inside, index):
    wait_until(lambda: known(neighbours, (index, NEAR)) == NEAR_MAC, "the near TEP's MAC")
    neighbours.use([])
    inside.gw.run("ip neigh flush dev down0; ip neigh flush dev down0")
    neighbours.read()
    neighbours.use([(index, NEAR)])
    wait_until(lambda: known(neighbours, (index, NEAR)) == NEAR_MAC, "asked for again")


def test_links_addresses_routes_and_rules_are_news(neighbours, inside):
    neighbours.read()
    for command, link in (
        ("ip addr add 10.9.9.9/32 dev mgmt0", False),
        ("ip rule add from 10.9.9.9 lookup 99", False),
        ("ip link set mgmt0 mtu 1400", True),
    ):
        inside.gw.run(command)
        seen = wait_until(lambda: (s := neighbours.read()).kernel and s, command)
        assert seen.links == link


def test_mtu_of_a_route_is_the_teps(neighbours, inside, index):
    inside.gw.run("ip route add 10.0.3.0/24 via 10.0.2.1 dev down0 mtu 1400 table 50802")
    ways = Ways()
    ways.look_up([NEAR, FAR], OURS, index)
    neighbours.use(ways.keys.values())
    wait_until(lambda: known(neighbours, (index, ROUTER)), "the router's MAC")
    assert ways.known(neighbours, 9001)[FAR].mtu == 1400


def test_a_thousand_teps_are_looked_up(index):
    teps = [bytes([10, 9, i >> 8, i & 255]) for i in range(1000)]
    ways = Ways()
    ways.look_up(teps, OURS, index)
    assert set(ways.keys.values()) == {(index, ROUTER)}
    assert len(ways.keys) == 1000
