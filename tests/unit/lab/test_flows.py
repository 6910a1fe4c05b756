"""OpenFlow of the hosts, from the example desired state."""

import pytest
from msgspec.structs import replace

from pcg.lab import flows
from pcg.lab.lab import example
from pcg.lab.layout import Layout

DESIRED = example()
SITES = {s.name: s for s in Layout("unit-", DESIRED).sites()}


def of(host: str, desired=DESIRED) -> list[str]:
    return flows.flows(desired, SITES[host])


def test_the_example_has_the_hosts_of_the_lab():
    assert set(SITES) == {"h1", "h2", "h3", "h4", "h5", "h6", "h7", "h8"}
    assert {s.name for s in SITES.values() if s.bare} == {"h4", "h8"}
    assert {s.name for s in SITES.values() if s.zone == "b"} == {"h3", "h5", "h7"}


def test_tunnel_ports_are_named_as_the_agent_does():
    assert flows.tunnel_name("10.99.2.10") == "geneve174260746"


def test_routing_at_the_source():
    (out,) = [f for f in of("h1") if "nw_dst=192.168.100.0/24" in f]
    assert "dec_ttl,set_field:9100->reg0,set_field:02:50:56:56:44:8c->eth_src" in out


def test_north_goes_over_the_transit_to_the_gateway():
    (north,) = [f for f in of("h1") if "table=21,priority=1," in f]
    assert "set_field:02:50:56:56:40:01->eth_dst,set_field:9000->tun_id" in north
    assert north.endswith(f"output:{flows.tunnel_port('10.99.2.10')}")


def test_no_flow_of_one_vrf_names_another():
    vnis = {str(s.vni) for s in DESIRED.segments if s.vrf != "t2"} | {"9000"}
    assert not [f for f in of("h5") for vni in vnis if f"{vni}->" in f or f"tun_id={vni}" in f]


def test_every_packet_out_carries_the_option():
    for host in ("h1", "h2", "h4", "h5"):
        out = [f for f in of(host) if "output:1" in f]
        assert out
        assert all("->tun_metadata0" in f for f in out)


def test_a_host_without_a_workload_drops():
    assert of("h3") == ["table=0,priority=0,actions=drop"]


@pytest.mark.parametrize("host", ["h1", "h2", "h4", "h5"])
def test_flows_follow_a_move(host: str):
    """The destination TEP changes in the MAC table of those who route to it, and nowhere else."""
    there = SITES["h3"].tep
    ports = tuple(replace(p, tep=there) if p.id == "app1" else p for p in DESIRED.ports)
    moved = replace(DESIRED, ports=ports)
    changed = set(of(host)) ^ set(of(host, moved))
    if host == "h2":
        assert of(host, moved) == of("h3")
        return
    assert len(changed) == (2 if host == "h1" else 0)
    assert all("table=25" in f for f in changed)


def test_a_workload_without_an_address_may_ask_for_one_and_no_more():
    """DHCP goes to the gateway's TEP on the segment's VNI; nothing else that it says has a way."""
    gateway = f"output:{flows.tunnel_port(DESIRED.gateway.tep)}"
    asks = [f for f in of("h6") if f"in_port={flows.WORKLOAD}" in f and "tp_dst=67" in f]
    assert {f.partition("nw_dst=")[2].partition(",")[0] for f in asks} == {
        "255.255.255.255",
        "192.168.99.1",
    }
    assert all("set_field:9096->tun_id" in f and f.endswith(gateway) for f in asks)
    assert all("dl_src=06:17:1e:00:06:02,udp,tp_src=68" in f for f in asks)
    guard = [f for f in of("h6") if f.startswith("table=5,")]
    assert [f for f in guard if not f.endswith("actions=drop")] == []


def test_only_the_gateway_is_a_server():
    answers = [f for f in of("h6") if "tp_src=67,tp_dst=68" in f]
    (broadcast,) = answers
    assert f"in_port={flows.tunnel_port(DESIRED.gateway.tep)},tun_id=9096" in broadcast
    assert [f for f in of("h6") if "tp_src=67" in f and f not in answers] == [
        f"table=5,priority=30,udp,in_port={flows.WORKLOAD},tp_src=67,actions=drop"
    ]


def test_a_segment_without_a_scope_asks_nobody():
    assert not [f for f in of("h2") if "tp_dst=67" in f]


def test_a_lease_opens_the_guard_there_and_the_way_elsewhere():
    told = flows.leased(DESIRED, {("web", "06:17:1e:00:06:02"): "192.168.99.100"})
    new = {host: set(of(host, told)) - set(of(host)) for host in SITES}
    guard = {f for f in new["h6"] if f.startswith("table=5,")}
    assert {"arp_spa=192.168.99.100" in f or "nw_src=192.168.99.100" in f for f in guard} == {True}
    for host in ("h1", "h2"):
        assert any("table=22" in f and "set_field:06:17:1e:00:06:02" in f for f in new[host])
    assert not new["h7"]


def test_an_address_of_ones_own_is_not_replaced_by_a_lease():
    assert flows.leased(DESIRED, {("web", "06:17:1e:00:01:09"): "192.168.99.100"}) == DESIRED
