"""pairs.py, and the controller around it: what one of a pair leased is bound at the other."""

import msgspec
import pytest

from pcg.controller import server
from pcg.controller.pairs import with_leases
from pcg.model.desired import Desired
from pcg.model.dhcp import StaticBinding
from pcg.model.load import parse_desired
from pcg.model.validate import validate
from pcg.reconcile.compile_dhcp import compile_dhcp
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
    assert bindings(with_leases(desired(), [lease(2), lease(1)])[0]) == [
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
    assert with_leases(state, [lease(1, **other)]) == (state, [])


def test_what_an_operator_bound_stands():
    [scope] = desired().dhcp
    own = (StaticBinding(mac=MAC.format(1), address="10.0.0.77"),)
    state = desired(dhcp=(msgspec.structs.replace(scope, bindings=own),))
    assert with_leases(state, [lease(1)])[0] is state
    assert with_leases(state, [lease(1, address="10.0.0.77")]) == (state, [])
    assert with_leases(state, [lease(2, address="10.0.0.77")])[0] is state


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"address": "10.255.0.1"}, "is the segment's gateway"),
        ({"address": "192.0.2.1"}, "is in no subnet of a segment that uses the scope"),
        ({"address": "10.3.3.3"}, "belongs to ports[own]"),
        ({"address": "nonsense"}, "is no"),
    ],
)
def test_what_does_not_fit_is_left_out_alone_and_said(wrong, why):
    state = desired()
    own = msgspec.structs.replace(
        state.ports[0], id="own", mac=MAC.format(77), addresses=("10.3.3.3",)
    )
    state = msgspec.structs.replace(state, ports=(*state.ports, own))
    made, unfit = with_leases(state, [lease(1, **wrong), lease(2)])
    assert bindings(made) == [(MAC.format(2), "10.0.0.11")]
    [problem] = unfit
    assert why in str(problem)
    assert validate(made) == []
    assert with_leases(state, [lease(1, **wrong)])[0] is state


def test_what_it_leased_of_its_peers_share_itself_stays_bound():
    """Its peer, whom nobody asks after a takeover, has forgotten it; gw-b is the later one."""
    state = desired()
    theirs, ours = lease(1), lease(2, address="10.4.0.10")  # blocks of 10.0.0.0/8: 4 to a /14
    assert bindings(with_leases(state, [], [theirs, ours])[0]) == [(MAC.format(1), "10.0.0.10")]
    assert with_leases(state, [theirs], [theirs]) == with_leases(state, [theirs])


def test_an_address_that_two_have_is_bound_once():
    made, unfit = with_leases(desired(), [lease(1), lease(2, address="10.0.0.10")])
    assert bindings(made) == [(MAC.format(1), "10.0.0.10")]
    assert ["stands there twice" in str(problem) for problem in unfit] == [True]


def test_one_mac_on_two_segments_of_a_scope_is_bound_on_each():
    state = desired()
    [web] = state.segments
    app = msgspec.structs.replace(
        web, id="app", vni=5001, subnet="11.0.0.0/8", gateway="11.255.0.1"
    )
    twin = msgspec.structs.replace(state.ports[0], id="twin", segment="app")
    state = msgspec.structs.replace(state, segments=(web, app), ports=(*state.ports, twin))
    made, unfit = with_leases(
        state, [lease(1), lease(1, segment="app", port="twin", address="11.0.0.10")]
    )
    assert unfit == []
    assert bindings(made) == [(MAC.format(1), "11.0.0.10"), (MAC.format(1), "10.0.0.10")]
    served = compile_dhcp(made)["v"].subnets
    assert [s["reservations"][0]["ip-address"] for s in served] == ["10.0.0.10", "11.0.0.10"]


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(server, "PAIR_S", 0.0)


def test_leases_reach_the_peer_and_outlive_the_controller(quick, site, caplog):
    for name in ("gw-a", "gw-b"):
        site.write(pair(name), name)
    a, b = (site.key(name, allow_as=name) for name in ("gw-a", "gw-b"))
    site.start()
    first, second = site.gateway("gw-a", a), site.gateway("gw-b", b)
    first.until_ports(2)
    second.until_ports(2)
    one, wrong = lease(1), lease(2, address="10.255.0.1")
    first.client.leases({("v", made.address): made for made in (one, wrong)})
    bound = [(MAC.format(1), "10.0.0.10")]

    def told() -> bool:
        first.step()
        return bindings(second.states()[-1].desired) == bound

    second.until(told, "the binding")
    assert bindings(first.states()[-1].desired) == []
    assert caplog.text.count("gateway gw-b: 1 leases of gw-a fit not here: dhcp[lan]") == 1
    path = site.folder / "realised" / "gw-a.leases.json"
    second.until(path.exists, "the leases on disk")
    site.stop()
    site.start()  # and gw-a is gone for good
    third = site.gateway("gw-b", b)
    third.until_ports(2)
    assert bindings(third.states()[-1].desired) == bound
