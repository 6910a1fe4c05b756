"""loop.py: rounds over backends that hold what they are given. Time is a number here."""

import msgspec
import pytest

from pcg.drivers.neighbours import Seen
from pcg.gateway.loop import COMMIT_S, SAVE_S
from pcg.model import desired as d
from pcg.model.errors import AbsentError, BackendError
from pcg.reconcile.addresses import address
from tests.unit.gateway import fakes
from tests.unit.gateway.world import FAR, NEAR, RESYNC_S, ROUTER
from tests.unit.reconcile.examples import DESIRED, SNAT, port, public


def with_port(number: int, **changes) -> d.Desired:
    ports = list(DESIRED.ports)
    ports[number] = msgspec.structs.replace(ports[number], **changes)
    return msgspec.structs.replace(DESIRED, ports=tuple(ports))


def test_nothing_is_done_without_a_desired_state(world):
    assert world.run(100) == []
    assert world.gateway.next_turn() == float("inf")


def test_fresh_boot_firewall_first_then_interfaces_tables_policy(world):
    world.adopt()
    world.gateway.round(world.now)
    order = [a for a in world.script.done if not a.startswith(("read", "totals"))]
    assert order == [
        "nft", "netlink add", "put teps", "put nexthops", "put ports", "commit", "netlink clear",
    ]  # fmt: skip
    assert world.gateway.settled()
    assert world.gateway.errors() == []


def test_second_round_and_resync_change_nothing(world):
    world.adopt()
    world.run(5)
    changes = world.client.changes
    assert world.run(3 * RESYNC_S) == []
    assert world.client.changes == changes


def test_moved_workload_is_one_record_and_nothing_else(world):
    world.adopt()
    world.run()
    world.adopt(with_port(0, tep="10.0.3.22"), 2)
    changes = world.client.changes
    world.script.done.clear()
    world.gateway.round(world.now)
    assert [a for a in world.script.done if not a.startswith("totals")] == ["put ports"]
    assert world.client.changes == changes + 1
    assert world.client.single["ports"][0, address("192.168.1.8")].tep_be == FAR


def test_policy_change_carries_what_it_touches_and_its_revision(world):
    world.adopt()
    world.run()
    world.adopt(msgspec.structs.replace(DESIRED, nat=(SNAT,)), 9)
    assert [a for a in world.run() if a != "save"] == ["commit"]
    assert world.client.revision == 9
    secondary = address("10.0.1.12")
    assert {t.vrf for t in world.client.touches} == {0}
    assert any(t.dst_be == secondary and t.dst_len == 32 for t in world.client.touches)


def test_at_most_ten_commits_a_second_and_the_last_one_stands(world):
    world.adopt()
    world.run()
    before = world.client.commits
    for n in range(100):
        ports = d.PortRange(first=2000, last=3000 + n)
        rule = msgspec.structs.replace(SNAT, translated_ports=ports)
        world.adopt(msgspec.structs.replace(DESIRED, nat=(rule,)), n + 2)
        world.gateway.round(world.now)
        world.now += 0.01
    world.run(2 * COMMIT_S)
    assert world.client.commits - before <= 12
    assert world.client.revision == 101


def test_ports_do_not_wait_for_the_policys_turn(world):
    world.adopt()
    world.run()
    world.adopt(msgspec.structs.replace(DESIRED, nat=(SNAT,)), 2)
    world.gateway.round(world.now)
    both = msgspec.structs.replace(with_port(0, tep="10.0.3.22"), nat=())
    world.adopt(both, 3)
    world.gateway.round(world.now + COMMIT_S / 2)
    assert world.client.single["ports"][0, address("192.168.1.8")].tep_be == FAR
    assert world.client.policy["nat"]
    world.now += COMMIT_S / 2
    world.run()
    assert world.client.policy["nat"] == []


def test_restart_changes_nothing_when_nothing_differs(world):
    world.adopt()
    world.run()
    world.neighbours.macs |= {(3, NEAR): fakes.MAC, (3, ROUTER): fakes.MAC}
    world.gateway.seen(Seen(neighbours=True), world.now)
    world.run()
    changes = world.client.changes
    world.start()  # knows no MAC: the kernel was not asked yet
    world.adopt()
    assert [a for a in world.run(5) if a != "save"] == []
    assert world.client.changes == changes


def test_restart_keeps_numbers_of_names(world):
    desired = msgspec.structs.replace(DESIRED, nat=(SNAT,))
    world.adopt(desired)
    world.run()
    number = world.client.policy["nat"][0].id
    world.start()
    earlier = msgspec.structs.replace(SNAT, id="a-new-one")
    world.adopt(msgspec.structs.replace(DESIRED, nat=(earlier, SNAT)))
    world.run()
    ids = {r.name: r.id for r in world.client.policy["nat"]}
    assert ids["out"] == number != ids["a-new-one"]


def test_restarted_datapath_is_filled_again_within_a_second(world):
    world.adopt()
    world.run()
    held = world.client.policy
    world.client.restart()
    world.run(1.1)
    assert world.client.policy == held
    assert len(world.client.single["ports"]) == 3


def test_neighbour_that_moves_reaches_the_datapath_in_the_same_round(world):
    world.adopt()
    world.run()
    world.neighbours.macs[3, ROUTER] = fakes.MAC
    world.gateway.seen(Seen(neighbours=True), world.now)
    world.gateway.round(world.now)
    assert world.client.single["teps"][FAR].mac == fakes.MAC
    assert world.client.single["teps"][NEAR].resolved == 0


def test_one_that_nobody_answers_for_is_told_from_one_that_is_asked_for(world):
    world.adopt()
    world.run()
    world.neighbours.mute.add((3, ROUTER))
    world.gateway.seen(Seen(neighbours=True), world.now)
    world.gateway.round(world.now)
    assert world.client.single["teps"][FAR][1:3] == (bytes(6), 0)
    assert world.client.single["teps"][FAR].silent == 1
    assert world.client.single["teps"][NEAR].silent == 0


def test_failed_write_is_tried_again_later_each_time_and_then_reported_gone(world):
    world.adopt()
    world.script.broken["put ports"] = 3
    world.gateway.round(world.now)
    ((backend, error),) = world.gateway.errors()
    assert (backend, error.thing) == ("datapath", "put ports")
    assert world.client.commits == 1  # the rest of the round went on
    first = world.gateway.health["datapath"].due - world.now
    world.now = world.gateway.health["datapath"].due
    world.gateway.round(world.now)
    assert world.gateway.health["datapath"].due - world.now == pytest.approx(2 * first)
    world.run(5)
    assert world.gateway.errors() == []
    assert len(world.client.single["ports"]) == 3


def test_datapath_away_leaves_the_other_backends_their_turn(world):
    world.script.broken["totals"] = 10**6
    world.adopt()
    world.run()
    assert world.nft.held is not None
    assert [b for b, _ in world.gateway.errors()] == ["datapath"]
    assert world.gateway.settled()


def test_interface_that_the_datapath_has_not_taken_is_said_until_it_has(world):
    world.adopt()
    world.run()
    link = world.netlink.links["up0"]
    world.netlink.links["up0"] = link._replace(index=9)  # it was replaced
    world.gateway.seen(Seen(links=True, kernel=True), world.now)
    world.run()
    ((backend, error),) = world.gateway.errors()
    assert (backend, error.thing, error.mend) == (
        "datapath", "uplink up0", "restart the datapath",
    )  # fmt: skip
    world.run(60)
    world.netlink.links["up0"] = link
    world.gateway.seen(Seen(links=True, kernel=True), world.now)
    world.run(1.1)
    assert world.gateway.errors() == []


def test_datapath_that_was_away_for_long_is_filled_within_a_second(world):
    world.adopt()
    world.run()
    held = world.client.policy
    world.script.broken["totals"] = 10**6
    world.run(60)
    assert [b for b, _ in world.gateway.errors()] == ["datapath"]
    world.client.restart()
    world.script.broken.clear()
    world.run(1.1)
    assert world.client.policy == held
    assert world.gateway.errors() == []


def test_datapath_that_nobody_started_yet_is_looked_for_every_second(world):
    """A boot before the datapath's; what it held is not known, so no look tells that it is back."""
    world.script.broken["totals"] = 10**6
    world.script.error = AbsentError
    world.adopt()
    world.run(60)
    world.script.broken.clear()
    world.run(1.1)
    assert len(world.client.single["ports"]) == 3


def test_nothing_is_removed_while_something_fails(world):
    world.netlink.failed = [BackendError("interface up0", "does not exist")]
    world.adopt()
    world.run()
    assert "netlink clear" not in world.script.done
    assert world.gateway.errors()[0][1].thing == "interface up0"


def test_what_is_no_longer_owned_leaves_nft_before_the_datapath(world):
    world.adopt()
    world.run()
    fewer = msgspec.structs.replace(DESIRED, public_addresses=(public("x", "t1", 77),), nat=())
    world.adopt(fewer, 2)
    world.gateway.round(world.now)
    order = [a for a in world.script.done if a in ("nft", "commit")]
    assert order[-3:] == ["nft", "commit", "nft"]
    assert "10.0.1.77/32" in world.nft.held.owned


def test_meddled_table_is_repaired_at_the_next_resync(world):
    world.adopt()
    world.run()
    right, world.nft.held = world.nft.held, "something else"
    world.run(RESYNC_S)
    assert world.nft.held == right


def test_state_is_saved_after_a_while_and_when_ending(world):
    world.adopt()
    world.gateway.round(world.now)
    assert world.store.saved is None
    world.run(SAVE_S + 0.1)
    assert world.store.saved is DESIRED
    more = msgspec.structs.replace(DESIRED, ports=(*DESIRED.ports, port("x", "192.168.1.50")))
    world.adopt(more, 2)
    world.gateway.round(world.now)
    world.gateway.save_now()
    assert world.store.saved is more


def test_state_from_disk_is_not_saved_again(world):
    world.gateway.adopt(DESIRED, 0, 0, world.now, source="disk")
    world.run(3 * SAVE_S)
    assert world.store.saved is None
    assert world.gateway.health["state"].view(world.now)["state"] == "applied"
    world.adopt(DESIRED, 4)  # the controller wants the same
    assert (world.gateway.source, world.gateway.revision) == ("controller", 4)
    assert world.run() == []


def test_dhcp_servers_are_waited_for_and_hold_up_nobody(world):
    """They take their time in threads of their own; until they tried, the state is not settled."""
    world.dhcp.at_work = True
    world.adopt()
    assert "commit" in world.run()
    assert world.dhcp.wanted is DESIRED
    assert not world.gateway.settled()
    world.dhcp.at_work = False
    world.run()
    assert world.gateway.settled()


def test_what_a_dhcp_server_says_is_told_and_taken_back(world):
    world.adopt()
    world.run()
    world.dhcp.failed = [BackendError("DHCP server of VRF t1", "does not run")]
    world.run(2.0)
    assert [(name, e.why) for name, e in world.gateway.errors()] == [("dhcp", "does not run")]
    assert world.gateway.settled()
    world.dhcp.failed = []
    world.run(2.0)
    assert world.gateway.errors() == []


def test_without_dhcp_interfaces_are_still_cleared_of_what_is_gone(world):
    world.dhcp.failed = [BackendError("DHCP server of VRF t1", "does not run")]
    world.adopt()
    world.run()
    assert "netlink clear" in world.script.done
