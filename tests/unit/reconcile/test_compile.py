"""compile.py and compile_rules.py: the example state, one table at a time."""

import msgspec

from pcg.datapath import border
from pcg.model import desired as d
from pcg.model.terms import ErrorRates, Filtering, Quota, Timers
from pcg.reconcile import compile as c
from pcg.reconcile.addresses import address, text
from pcg.reconcile.numbers import Numbers, numbers_for
from tests.unit.reconcile.examples import DESIRED, DNAT, GATEWAY, RULE, SNAT, ports

NUMBERS = numbers_for(DESIRED, Numbers())
MAC = bytes.fromhex("0200000000ff")


def compiled(**changes) -> c.Policy:
    desired = msgspec.structs.replace(DESIRED, **changes)
    return c.compile_policy(desired, numbers_for(desired, Numbers()))


def changed(value, **changes):
    return msgspec.structs.replace(value, **changes)


def test_order_of_the_document_does_not_matter_but_for_rules():
    turned = {
        name: tuple(reversed(getattr(DESIRED, name)))
        for name in ("segments", "routes", "public_addresses", "nat", "vrfs")
    }
    desired = msgspec.structs.replace(DESIRED, **turned)
    assert c.compile_policy(desired, NUMBERS) == c.compile_policy(DESIRED, NUMBERS)


def test_local():
    (local,) = compiled()["local"]
    assert (text(local.tep_be), local.uplink_mtu, local.port_first) == ("10.0.2.10", 9001, 1024)


def test_vrfs_carry_the_default_actions():
    assert [(v.name, v.index, v.default_in, v.default_out) for v in compiled()["vrfs"]] == [
        ("t1", 0, 1, 0),
        ("t2", 1, 1, 0),
    ]


def test_the_defaults_of_each_direction_can_log():
    firewall = d.Firewall(default_in_log=True)
    assert {(v.log_in, v.log_out) for v in compiled(firewall=firewall)["vrfs"]} == {(1, 0)}
    assert {(v.log_in, v.log_out) for v in compiled()["vrfs"]} == {(0, 0)}


def test_segments_and_transit():
    rows = {s.vni: s for s in compiled()["segments"]}
    assert sorted(rows) == [101, 102, 103, 900]
    assert (rows[101].flags, rows[102].flags) == (0, c.ROUTED)
    assert (rows[900].kind, rows[900].mtu, rows[900].prefix_len) == (c.TRANSIT, 8943, 0)
    assert text(rows[101].gateway_be) == "192.168.1.1"


def test_routes_static_and_connected():
    rows = {(r.vrf, text(r.prefix_be), r.prefix_len): r for r in compiled()["routes"]}
    assert text(rows[0, "0.0.0.0", 0].next_hop_be) == "10.0.1.1"
    assert rows[0, "100.64.0.0", 10].kind == c.VIA_BLACKHOLE
    assert (rows[0, "10.50.0.0", 16].kind, rows[0, "10.50.0.0", 16].vni) == (c.VIA_SEGMENT, 102)
    assert rows[1, "192.168.1.0", 24].vni == 103
    assert len(rows) == 6


def test_connected_subnet_stands_before_a_route_of_the_same_prefix():
    extra = d.Route(vrf="t1", prefix="192.168.1.0/24", blackhole=True)
    rows = compiled(routes=(*DESIRED.routes, extra))["routes"]
    assert rows == compiled()["routes"]


def test_public_address_of_another_gateway_is_not_ours():
    away = d.PublicAddress(
        id="away", vrf="t1", address="203.0.113.99", secondary={"gw-b": "10.9.9.9"}
    )
    rows = compiled(public_addresses=(*DESIRED.public_addresses, away))["publics"]
    assert [p.name for p in rows] == ["eip-out", "eip-web", "eip-t2"]


def test_nat_in_order_of_priority_then_id():
    twin = changed(SNAT, id="another", priority=100)
    rules = compiled(nat=(SNAT, twin, DNAT))["nat"]
    assert list(dict.fromkeys(r.name for r in rules)) == ["another", "web-in", "out"]


def test_dnat_matches_the_secondary_address_once_per_port():
    rules = [r for r in compiled()["nat"] if r.name == "web-in"]
    assert [r.match.dport_first for r in rules] == [80, 443]
    assert {text(r.match.dst_be) for r in rules} == {"10.0.1.12"}
    assert {(text(r.target_be), r.n_targets, r.port_first) for r in rules} == {
        ("192.168.1.8", 2, 0)
    }
    assert len({r.id for r in rules}) == 1


def test_snat_once_per_source_from_its_pool():
    rules = [r for r in compiled()["nat"] if r.name == "out"]
    assert [text(r.match.src_be) for r in rules] == ["192.168.1.0", "192.168.2.0"]
    assert {(r.n_pool, r.pool) for r in rules} == {(1, (0,) * 16)}


def test_the_mss_is_clamped_unless_switched_off():
    assert compiled()["local"][0].mss_clamp == 1
    assert compiled(gateway=changed(GATEWAY, mss_clamp=False))["local"][0].mss_clamp == 0


def test_errors_that_are_switched_off():
    """RFC 5508 REQ-9."""
    off = changed(GATEWAY, errors=ErrorRates(per_second=0))
    (local,) = compiled(gateway=off)["local"]
    assert (local.made_all, local.made_each) == (0, 100)


def test_quotas_of_the_gateway_and_of_a_rule():
    gateway = changed(GATEWAY, quota=Quota(sessions=7))
    tables = compiled(gateway=gateway, nat=(changed(SNAT, quota=Quota(ports=5)), DNAT))
    (local,) = tables["local"]
    assert (local.sessions_each, local.ports_each) == (7, 0)
    assert {(r.name, r.sessions_each, r.ports_each) for r in tables["nat"]} == {
        ("out", 0, 5),
        ("web-in", 0, 0),
    }


def test_terms_of_a_rule():
    terms = {"timers": Timers(udp_s=130, other_s=9), "filtering": Filtering.ENDPOINT_INDEPENDENT}
    terms |= {"overflow": True, "reset": True, "reset_idle": True}
    rules = compiled(nat=(changed(SNAT, **terms), DNAT))["nat"]
    assert {(r.name, r.timeouts, r.filtering, r.overflow, r.reset) for r in rules} == {
        ("out", (0, 0, 0, 130, 0, 9), 1, 1, 3),
        ("web-in", (0,) * 6, 0, 0, 0),
    }
    only_idle = compiled(nat=(changed(SNAT, reset_idle=True), DNAT))["nat"][-1]
    assert border.words("pcgdp_reset", "PCGDP_RESET_")[only_idle.reset] == "IDLE"
    in_c = sorted(border.words("pcgdp_timer", "PCGDP_TIMER_").items())[:-1]  # the last: how many
    assert tuple(f"{name.lower()}_s" for _, name in in_c) == Timers.__struct_fields__


def test_snat_names_the_elastic_ip_in_its_match():
    rule = changed(SNAT, match=d.Match(destination=("eip-web",)))
    (record,) = compiled(nat=(rule,))["nat"]
    assert text(record.match.dst_be) == "203.0.113.12"


def test_disabled_rules_are_left_out_and_keep_their_number():
    off = changed(DNAT, enabled=False)
    assert {r.name for r in compiled(nat=(SNAT, off))["nat"]} == {"out"}
    section = d.FirewallSection(id="s", vrf="t1", rules=(changed(RULE, enabled=False),))
    assert compiled(firewall=d.Firewall(sections=(section,)))["firewall"] == []


def test_source_times_destination_times_ports():
    match = d.Match(
        source=("10.1.0.0/16", "10.2.0.0/16"),
        destination=("192.0.2.1", "192.0.2.2", "192.0.2.3"),
        protocol=d.Protocol.UDP,
        source_ports=ports(1, 2),
        destination_ports=ports(5, 6),
    )
    records = compiled(nat=(changed(SNAT, match=match),))["nat"]
    assert len(records) == len({r.match for r in records}) == 2 * 3 * 2 * 2
    assert {r.match.protocol for r in records} == {17}


def test_firewall_in_order_once_per_service():
    services = (
        d.Service(protocol=d.Protocol.TCP, destination_ports=ports(1, 2)),
        d.Service(protocol=d.Protocol.ICMP),
    )
    rules = (changed(RULE, id="z", services=services), changed(RULE, id="a", services=()))
    section = d.FirewallSection(id="s", vrf="t2", rules=rules)
    records = compiled(firewall=d.Firewall(sections=(section,)))["firewall"]
    found = [(r.name, r.match.protocol, r.match.dport_first) for r in records]
    assert found == [("z", 6, 1), ("z", 6, 2), ("z", 1, 0), ("a", 0, 0)]
    assert {r.vrf for r in records} == {1}


def test_firewall_meets_a_public_address_by_either_of_its_addresses():
    for name in ("eip-web", "203.0.113.12"):
        section = d.FirewallSection(
            id="s", vrf="t1", rules=(changed(RULE, destination=(name, "192.0.2.0/24")),)
        )
        records = compiled(firewall=d.Firewall(sections=(section,)))["firewall"]
        found = [(text(r.match.dst_be), r.match.dst_len) for r in records]
        assert found == [("203.0.113.12", 32), ("10.0.1.12", 32), ("192.0.2.0", 24)]


def test_rule_on_public_addresses_of_other_gateways_alone_matches_nothing():
    away = d.PublicAddress(id="away", vrf="t1", address="203.0.113.99", secondary={})
    rule = changed(SNAT, match=d.Match(destination=("away",)))
    publics = (*DESIRED.public_addresses, away)
    assert compiled(nat=(rule,), public_addresses=publics)["nat"] == []


def test_teps_and_next_hops_resolved_or_not():
    near, router = address("10.0.2.21"), address("10.0.1.1")
    hops = c.Hops(teps={near: c.Hop(MAC, 1500)}, nexthops={router: c.Hop(MAC, 0)})
    rows = c.teps(DESIRED, hops)
    assert rows[near][1:] == (MAC, 1, 1, 1500, 0)
    assert rows[address("10.0.3.22")][1:] == (bytes(6), 0, 0, 9001, 0)
    assert c.nexthops(DESIRED, hops)[router].resolved == 1
    assert c.nexthops(DESIRED, c.Hops())[router][1:] == (bytes(6), 0, 0)


def test_silent_ones_are_not_resolved():
    near, router = address("10.0.2.21"), address("10.0.1.1")
    gone = c.Hop(bytes(6), 1500, silent=True)
    hops = c.Hops(teps={near: gone}, nexthops={router: gone})
    assert c.teps(DESIRED, hops)[near][1:] == (bytes(6), 0, 1, 1500, 1)
    assert c.nexthops(DESIRED, hops)[router][1:] == (bytes(6), 0, 1)
