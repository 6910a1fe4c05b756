"""Who may ask, followed from one desired state to the next."""

import msgspec

from pcg.model.dhcp import DhcpScope
from pcg.proto.roster import Roster
from pcg.reconcile.addresses import mac
from tests.unit.reconcile.examples import DESIRED, port

SCOPE = DhcpScope(id="lan", vrf="t1")


def change(desired, **more):
    return msgspec.structs.replace(desired, **more)


def with_scope(desired, *names):
    segments = tuple(change(s, dhcp="lan" if s.id in names else None) for s in desired.segments)
    return change(desired, segments=segments, dhcp=(SCOPE,))


SERVED = with_scope(DESIRED, "web")


def roster(desired=SERVED):
    made = Roster()
    made.update(desired)
    return made


def tables(r: Roster) -> list:
    """What each way of asking finds, which must be the same clients."""
    by_port = dict(sorted(r.by_port.items()))
    assert {c.circuit: c for c in by_port.values()} == r.by_circuit
    assert {(c.site.vni, c.mac): c for c in by_port.values()} == r.by_mac
    return [(c.port.id, c.site.segment, c.port.tep) for c in by_port.values()]


def test_only_ports_of_segments_with_a_scope():
    assert tables(roster()) == [("web1", "web", "10.0.2.21"), ("web2", "web", "10.0.2.21")]
    assert tables(roster(DESIRED)) == []


def test_a_port_without_addresses_is_dynamic():
    new = change(DESIRED.ports[0], id="new", mac="06:00:00:00:09:09", addresses=())
    r = roster(change(SERVED, ports=(*DESIRED.ports, new)))
    assert [c.port.id for c in r.by_port.values() if c.dynamic] == ["new"]
    assert r.by_mac[101, mac("06:00:00:00:09:09")] is r.by_circuit[b"web/new"]


def test_a_change_is_told_and_only_what_changed_is_made_anew():
    r = roster()
    web2 = r.by_port["web2"]
    moved = change(DESIRED.ports[0], tep="10.0.3.22")
    assert r.update(change(SERVED, ports=(moved, *DESIRED.ports[1:]))) == {"web1"}
    assert r.by_port["web1"].port.tep == "10.0.3.22"
    assert r.by_port["web2"] is web2
    assert len(tables(r)) == 2


def test_a_port_that_went_is_forgotten_everywhere():
    r = roster()
    assert r.update(change(SERVED, ports=DESIRED.ports[1:])) == {"web1"}
    assert [row[0] for row in tables(r)] == ["web2"]


def test_a_mac_that_went_to_another_port_is_that_ports():
    r = roster()
    heir = change(DESIRED.ports[0], id="heir")
    assert r.update(change(SERVED, ports=(heir, *DESIRED.ports[1:]))) == {"web1", "heir"}
    assert [row[0] for row in tables(r)] == ["heir", "web2"]


def test_a_scope_that_comes_and_goes_takes_its_clients_along():
    r = roster(DESIRED)
    assert r.update(with_scope(DESIRED, "web", "other")) == {"web1", "web2", "twin"}
    assert len(tables(r)) == 3
    assert r.update(with_scope(DESIRED, "other")) == {"web1", "web2"}
    assert [row[:2] for row in tables(r)] == [("twin", "other")]


def test_the_same_mac_on_two_segments_is_two_clients():
    twin = change(port("twin2", "192.168.1.8", "other"), mac=DESIRED.ports[0].mac)
    r = roster(change(with_scope(DESIRED, "web", "other"), ports=(*DESIRED.ports[:2], twin)))
    assert {vni for vni, m in r.by_mac if m == mac(twin.mac)} == {101, 103}


def test_site_has_what_a_reply_needs():
    site = roster().sites["web"]
    assert (site.vrf, site.vni, site.gateway, site.mtu) == (
        "t1",
        101,
        bytes([192, 168, 1, 1]),
        8943,
    )


def test_a_change_of_one_segment_leaves_the_clients_of_the_others():
    before = with_scope(DESIRED, "web", "other")
    r = roster(before)
    web1, twin = r.by_port["web1"], r.by_port["twin"]
    segments = tuple(change(s, mtu=1400) if s.id == "web" else s for s in before.segments)
    assert r.update(change(before, segments=segments)) == {"web1", "web2"}
    assert r.by_port["twin"] is twin
    assert r.by_port["web1"] is not web1
    assert r.by_port["web1"].site.mtu == 1400
    scopes = (change(SCOPE, lease_s=600),)
    assert r.update(change(before, segments=segments, dhcp=scopes)) == {"web1", "web2", "twin"}
    assert {c.site.lease_s for c in r.by_port.values()} == {600}
    assert len(tables(r)) == 3


def test_a_segment_and_its_ports_changed_at_once():
    r = roster()
    served = with_scope(DESIRED, "web", "app")
    to_app = change(DESIRED.ports[0], segment="app", addresses=("192.168.2.8",))
    served = change(served, ports=(to_app, *DESIRED.ports[1:]))
    segments = tuple(change(s, vni=777) if s.id == "web" else s for s in served.segments)
    assert r.update(change(served, segments=segments)) == {"web1", "web2"}
    assert [row[:2] for row in tables(r)] == [("web1", "app"), ("web2", "web")]
    assert r.by_port["web2"].site.vni == 777
