"""steering.py in its rounds: what the kernel is kept from never runs ahead of who answers."""

import msgspec
import pytest

from pcg.drivers.netlink import Link
from pcg.gateway.loop import COMMIT_S
from pcg.reconcile import host
from tests.unit.gateway import fakes
from tests.unit.reconcile.examples import DESIRED, SNAT, public

NEW, OLD = "10.0.1.77/32", "10.0.1.11/32"


def renamed(role: str, name: str):
    interface = msgspec.structs.replace(getattr(DESIRED.gateway.interfaces, role), name=name)
    interfaces = msgspec.structs.replace(DESIRED.gateway.interfaces, **{role: interface})
    gateway = msgspec.structs.replace(DESIRED.gateway, interfaces=interfaces)
    return msgspec.structs.replace(DESIRED, gateway=gateway)


def other_addresses():
    """One public address comes, one goes."""
    kept = [p for p in DESIRED.public_addresses if p.id != "eip-out"]
    return msgspec.structs.replace(
        DESIRED, public_addresses=(*kept, public("x", "t1", 77)), nat=DESIRED.nat[1:]
    )


def said(world) -> dict[str, str]:
    return {backend: error.why for backend, error in world.gateway.errors()}


def add_link(world, name: str, index: int) -> None:
    world.netlink.links[name] = Link(index, name, 9001, True, True, fakes.MAC)


@pytest.mark.parametrize("role", host.ROLES)
def test_tables_in_force_stay_while_a_named_interface_is_missing(world, role):
    world.adopt()
    world.run()
    held = world.nft.held
    world.adopt(renamed(role, "new9"), 2)
    world.run(60)
    assert world.nft.held == held
    assert said(world)["nft"] == "our tables stay as they were: there is no interface new9"


def test_they_follow_when_interface_and_datapath_have_come(world):
    world.adopt()
    world.run()
    held = world.nft.held
    world.adopt(renamed("uplink", "up9"), 2)
    world.run(60)
    add_link(world, "up9", 9)
    world.run(60)
    assert world.nft.held == held  # the datapath has taken up0 still
    assert said(world).keys() == {"datapath", "nft"}
    world.client.taken["uplink"] = ("up9", 9)
    world.run(1.1)
    assert world.nft.held.uplink == "up9"
    assert said(world) == {}


def test_fresh_boot_without_an_interface_has_the_host_firewall(world):
    del world.netlink.links["up0"]
    world.adopt()
    world.run()
    steering = host.steering(DESIRED)
    assert world.nft.held == steering._replace(ingress=False)
    add_link(world, "up0", 2)
    world.run(31)
    assert world.nft.held == steering


def test_fresh_boot_before_the_datapath_is_kept_from_the_kernel_whole(world):
    world.script.broken["totals"] = 10**6
    world.adopt()
    world.run()
    assert world.nft.held == host.steering(DESIRED)


def test_restarted_gateway_leaves_tables_that_it_cannot_better(world):
    world.adopt()
    world.run()
    held = world.nft.held
    world.start()
    world.adopt(renamed("uplink", "up9"), 2)
    world.run(60)
    assert world.nft.held == held


@pytest.mark.parametrize("part", ["commit", "put teps", "totals"])
def test_new_addresses_stay_the_kernels_while_the_datapath_fails(world, part):
    world.adopt()
    world.run()
    changed = other_addresses()
    teps = tuple(msgspec.structs.replace(t, options=()) for t in DESIRED.teps)
    world.script.broken[part] = 10**6
    world.adopt(msgspec.structs.replace(changed, teps=teps), 2)
    world.run(5)
    assert not {NEW, OLD} & set(world.nft.held.owned)
    assert said(world)["nft"].endswith("the datapath is not as desired")
    world.script.broken.clear()
    world.run(10)
    assert world.nft.held == host.steering(changed)
    assert world.gateway.errors() == []


def test_nft_waits_for_the_turn_of_the_policy(world):
    world.adopt()
    world.run()
    world.adopt(msgspec.structs.replace(DESIRED, nat=(SNAT,)), 2)
    world.gateway.round(world.now)
    world.now += COMMIT_S / 2
    world.adopt(other_addresses(), 3)
    world.gateway.round(world.now)
    assert NEW not in world.nft.held.owned
    assert world.gateway.next_turn() > world.now  # and nobody is busy with waiting
    assert not world.gateway.settled()
    world.run(COMMIT_S)
    assert NEW in world.nft.held.owned
    assert world.gateway.settled()


def test_meddling_is_repaired_while_the_datapath_is_away(world):
    world.adopt()
    world.run()
    held = world.nft.held
    world.script.broken["totals"] = 10**6
    world.nft.held = "something else"
    world.run(31)
    assert world.nft.held == held
    world.adopt(other_addresses(), 2)
    world.run()
    world.nft.held = "something else"
    world.run(31)
    assert world.nft.held.owned == host.common(held, host.steering(other_addresses())).owned


def test_hook_that_went_with_its_interface_comes_back_with_it(world):
    world.adopt()
    world.run()
    held, link = world.nft.held, world.netlink.links.pop("up0")
    world.nft.held = "without up0's chain"
    world.run(31)
    assert "nft" in said(world)
    assert world.nft.held == "without up0's chain"
    world.netlink.links["up0"] = link
    world.run(31)
    assert world.nft.held == held
    assert said(world) == {}
