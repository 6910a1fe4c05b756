"""Two gateways, each with a real Kea, that cannot hear each other: no address is given twice."""

import time

import msgspec
import pytest

from pcg.controller.pairs import with_leases
from pcg.drivers import kea_keeper
from pcg.model import desired as d
from pcg.model.dhcp import StaticBinding
from pcg.reconcile.compile_dhcp import KEPT_S
from pcg.wire.messages import Lease
from tests.netns import dhcp
from tests.netns.dhcp import ACK, DECLINE, LINK, RELEASE, REQUEST, mac, scope
from tests.unit.reconcile.examples import port
from tests.waiting import wait_until

PEER = {"gw-a": "gw-b", "gw-b": "gw-a"}


class Gateway(dhcp.Site):
    """One of the pair, in a namespace and with Keas of its own."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def document(self, *bound: StaticBinding, ports=(), seconds=600, **more) -> d.Desired:
        made = dhcp.desired(
            scope(lease_s=seconds, bindings=bound, **more),
            ports=ports,
            ha=d.Ha(peer=PEER[self.name], peer_tep="10.0.2.11"),
        )
        ours = msgspec.structs.replace(made.gateway, id=self.name)
        return msgspec.structs.replace(made, gateway=ours)


@pytest.fixture
def often(monkeypatch):
    monkeypatch.setattr(kea_keeper, "SWEEP_S", 0.2)


@pytest.fixture
def pair():
    made = [Gateway(name) for name in PEER]
    for gateway in made:
        gateway.serve(gateway.document())
    yield made
    for gateway in made:
        gateway.close()


def dynamic(*numbers: int) -> tuple[d.Port, ...]:
    return tuple(
        msgspec.structs.replace(port(f"p{n}", "192.168.1.9"), mac=mac(n), addresses=())
        for n in numbers
    )


def known(gateway: dhcp.Site) -> list[StaticBinding]:
    """Leases of that one as the other learns of them through the controller."""
    return [
        StaticBinding(mac=lease.mac, address=lease.address) for lease in gateway.fleet.leases("t1")
    ]


def test_all_of_a_pool_is_given_and_nothing_twice(pair):
    """Both are asked by everybody, as when each believes that the other is gone."""
    given = [[], []]
    for gateway, mine, start in zip(pair, given, (1, 200), strict=True):
        for who in range(start, start + 100):
            answer = gateway.lease(who, wait_s=0.2)
            if answer is None or answer.kind != ACK:
                break
            mine.append(answer.address)
    assert len(given[0]) + len(given[1]) == 100
    assert not set(given[0]) & set(given[1])


def test_the_client_hears_its_lease_time_from_the_book_and_kea_keeps_it_longer(pair):
    """The relay tells the smaller of the two; `expires` is what it tells."""
    a, _ = pair
    answer = a.lease(1)
    assert answer.options[51] == KEPT_S.to_bytes(4, "big")
    [lease] = a.fleet.leases("t1")
    [item] = a.fleet.keepers["t1"].control.ask("lease4-get-all")["leases"]
    assert lease.expires == item["cltt"] + 600


def test_after_a_takeover_a_client_keeps_its_address_and_nobody_else_gets_it(pair):
    a, b = pair
    first = a.lease(1).address
    where = b.server()
    # b does not know of it yet, and says nothing: the client has time until its lease ends.
    assert b.relay.ask(where, REQUEST, 1, LINK, wait_s=0.2, ciaddr=first) is None
    b.serve(b.document(*known(a)))
    where = b.server()
    assert b.relay.ask(where, REQUEST, 1, LINK, ciaddr=first).kind == ACK
    assert b.relay.ask(where, REQUEST, 1, LINK, requested=first).kind == ACK
    assert b.lease(1).address == first
    taken = {a.lease(n).address for n in range(2, 20)} | {b.lease(n).address for n in range(30, 50)}
    assert first not in taken
    assert len(taken) == 18 + 20


def reported(gateway: Gateway, now: float) -> list[Lease]:
    """As that one tells the controller of them: what has ended by `now` is not among them."""
    held = [lease for lease in gateway.fleet.leases("t1") if lease.expires > now]
    more = {"client_id": "", "port": "p1", "instance": ""}
    return [
        Lease(**{k: v for k, v in lease._asdict().items() if k != "state"}, **more)
        for lease in held
    ]


def test_after_a_takeover_it_keeps_its_address_beyond_its_lease_at_the_first(pair):
    """The first one has forgotten it by then, and says so to the controller."""
    a, b = pair
    state = {gateway: gateway.document(ports=dynamic(1), seconds=4) for gateway in pair}

    def tell() -> None:
        now = time.time()
        b.serve(with_leases(state[b], reported(a, now), reported(b, now))[0])

    a.serve(state[a])
    first = a.lease(1).address
    tell()

    def renewed() -> bool:
        return b.relay.ask(b.server(), REQUEST, 1, LINK, ciaddr=first).kind == ACK

    assert renewed()
    [before] = reported(b, 0.0)

    def ended_at_the_first() -> bool:
        tell()  # b's Kea has noted each renewal
        return renewed() and reported(a, time.time()) == []

    wait_until(ended_at_the_first, "its lease at the first one has ended")
    [now] = reported(b, 0.0)
    assert now.expires > before.expires
    tell()
    assert renewed()
    assert b.lease(1).address == first
    others = set()
    while (answer := a.lease(100 + len(others), wait_s=0.2)) and answer.kind == ACK:
        others.add(answer.address)
    assert len(others) >= 40
    assert first not in others


def test_what_is_given_back_at_one_is_still_its_clients_at_the_other(pair):
    """A release or decline that one of them hears must not free what the other knows as bound."""
    a, b = pair
    first = a.lease(1)
    b.serve(b.document(*known(a)))
    gone = {"ciaddr": first.address, "by": first.options[54]}
    assert a.relay.ask(a.server(), RELEASE, 1, LINK, wait_s=0.2, **gone) is None
    refused = {"requested": first.address, "by": first.options[54]}
    assert a.relay.ask(a.server(), DECLINE, 1, LINK, wait_s=0.2, **refused) is None
    others = set()
    while (answer := a.lease(100 + len(others), wait_s=0.2)) and answer.kind == ACK:
        others.add(answer.address)
    assert len(others) >= 40
    assert first.address not in others
    assert b.lease(1).address == a.lease(1).address == first.address


def test_the_address_of_a_port_that_is_gone_is_free_once_its_client_may_not_use_it(often, pair):
    a, _ = pair
    a.serve(a.document(ports=dynamic(1, 2)))
    first, second = a.lease(1).address, a.lease(2).address
    control = a.fleet.keepers["t1"].control

    def age(address: str) -> None:
        """As if it had been given an hour ago."""
        item = control.ask("lease4-get", {"ip-address": address})
        more = {"expire": item["cltt"] - 3600 + item["valid-lft"]}
        wanted = ("ip-address", "hw-address", "subnet-id", "valid-lft")
        control.ask("lease4-update", {k: item[k] for k in wanted} | more)

    def held() -> set[str]:
        return {lease.address for lease in a.fleet.leases("t1")}

    age(first)
    age(second)
    a.serve(a.document(ports=dynamic(2)))
    wait_until(lambda: held() == {second}, "the first one is free, the second is its port's")
    third = a.lease(3).address
    a.serve(a.document(ports=dynamic(2)))
    assert third in held()  # not a port's, but its client was told ten minutes
