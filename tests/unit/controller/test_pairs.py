"""pairs.py, and the controller around it: what one of a pair leased is bound at the other."""

import msgspec
import pytest

from pcg.controller import server
from pcg.controller.pairs import with_leases
from pcg.model.desired import Desired
from pcg.model.dhcp import StaticBinding
from pcg.model.load import parse_desired
from pcg.wire.messages import Lease
from tests.unit.controller.site import document

MAC = "02:01:00:00:00:{:02x}"


def pair(gateway: str, ports: int = 2) -> dict:
    """Its document, with dynamic ports vm-1, vm-2, ..."""
    made = document(gateway, ports)
    peer = {"gw-a": "gw-b", "gw-b": "gw-a"}[gateway]
    made["ports"] = [port | {"addresses": []} for port in made["ports"]]
    made["segments"][0]["dhcp"] = "lan"
    pools = [{"first": "10.0.0.10", "last": "10.0.0.200"}]
    made["dhcp"] = [{"id": "lan", "vrf": "v", "pools": pools}]
    return made | {"ha": {"peer": peer, "peer_tep": "10.99.1.11"}}


def lease(n: int, **more) -> Lease:
    said = {"vrf": "v", "segment": "web", "address": f"10.0.0.{9 + n}", "mac": MAC.format(n)}
    said |= {"client_id": "", "hostname": "", "port": f"vm-{n}", "instance": "", "expires": 9.0}
    return Lease(**(said | more))


def desired(**more) -> Desired:
    return msgspec.structs.replace(parse_desired(msgspec.json.encode(pair("gw-b"))), **more)


def bindings(state: Desired) -> list[tuple[str, str]]:
    return [(b.mac, b.address) for b in state.dhcp[0].bindings]


def test_a_lease_of_a_port_is_bound():
    assert bindings(with_leases(desired(), [lease(2), lease(1)])) == [
        (MAC.format(1), "10.0.0.10"),
        (MAC.format(2), "10.0.0.11"),
    ]


@pytest.mark.parametrize(
    "other",
    [
        {"port": "vm-9"},
        {"mac": MAC.format(9)},
        {"segment": "app"},
        {"vrf": "w"},
    ],
)
def test_who_is_not_known_here_is_left_out(other):
    state = desired()
    assert with_leases(state, [lease(1, **other)]) is state


def test_what_an_operator_bound_stands():
    [scope] = desired().dhcp
    own = (StaticBinding(mac=MAC.format(1), address="10.0.0.77"),)
    state = desired(dhcp=(msgspec.structs.replace(scope, bindings=own),))
    assert with_leases(state, [lease(1)]) is state
    taken = lease(2, address="10.0.0.77")
    assert with_leases(state, [taken]) is state


def test_what_would_not_be_valid_is_left_out():
    state = desired()
    assert with_leases(state, [lease(1, address="10.255.0.1")]) is state  # the gateway's
    assert with_leases(state, [lease(1, address="192.0.2.1")]) is state


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(server, "PAIR_S", 0.0)


def test_leases_reach_the_peer_and_outlive_the_controller(quick, site):
    for name in ("gw-a", "gw-b"):
        site.write(pair(name), name)
    a, b = (site.key(name, allow_as=name) for name in ("gw-a", "gw-b"))
    site.start()
    first, second = site.gateway("gw-a", a), site.gateway("gw-b", b)
    first.until_ports(2)
    second.until_ports(2)
    one = lease(1)
    first.client.leases({("v", one.address): one})
    bound = [(MAC.format(1), "10.0.0.10")]

    def told() -> bool:
        first.step()
        return bindings(second.states()[-1].desired) == bound

    second.until(told, "the binding")
    assert bindings(first.states()[-1].desired) == []
    path = site.folder / "realised" / "gw-a.leases.json"
    second.until(path.exists, "the leases on disk")
    site.stop()
    site.start()  # and gw-a is gone for good
    third = site.gateway("gw-b", b)
    third.until_ports(2)
    assert bindings(third.states()[-1].desired) == bound
