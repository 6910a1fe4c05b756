"""pcgctl drops on a pretended gateway: one ledger, with names, times, rates and what to do."""

import time

import pytest
from msgspec import structs
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Ether

from pcg.cli import drops
from pcg.datapath import border
from pcg.drivers.counters import Count
from pcg.gateway.book import Book
from pcg.model.errors import BackendError
from pcg.wire.messages import Shortage
from tests.unit.cli.fake import dropped, flow, ip

DESIRED = {
    "segments": [{"id": "web", "vrf": "blue"}],
    "ports": [
        {"id": "p1", "instance": "i-web", "segment": "web", "addresses": ["10.1.0.10"]},
        {"id": "p2", "instance": "", "segment": "web", "addresses": ["10.1.0.9"]},
        {"id": "p3", "segment": "web", "mac": "06:00:00:00:00:0A", "addresses": []},
    ],
}


def counted(*counts: Count) -> dict:
    book = Book()
    book.note([c._replace(packets=0) for c in counts], 1.0, time.time() - 1)
    book.note(counts, 2.0, time.time())
    return {"counters": book.view(), "error": ""}


@pytest.fixture(autouse=True)
def answers(look):
    look.answers["desired"] = DESIRED
    look.answers["drops"] = counted(
        Count("cloud", "up0", "pps", 8),
        Count("interface", "up0", "rx_dropped", 0),
        Count("nftables", "input", "input_uplink", 2),
        Count("nftables", "downlink", "downlink_tunnel", 99, ends=False),
    )
    return look.answers


def row(rows: list[dict], source: str) -> dict:
    (found,) = [r for r in rows if r["source"] == source]
    return found


def test_one_ledger_of_all_who_count(pcgctl):
    rows = pcgctl("drops", "--over", "0", as_json=True)
    assert {(r["source"], r["where"], r["reason"]): r["packets"] for r in rows} == {
        ("datapath", "downlink", "FIREWALL_DENIED"): 9,
        ("port", "down0", "rx_missed"): 6,
        ("cloud", "up0", "pps"): 8,
        ("nftables", "input", "input_uplink"): 2,
    }
    assert all(r["means"] or r["source"] == "datapath" for r in rows)
    assert all(r["advice"] for r in rows)


def test_rule_segment_and_workload_have_their_names(pcgctl):
    found = row(pcgctl("drops", "--over", "0", as_json=True), "datapath")
    assert (found["rule"], found["segment"], found["vrf"]) == ("no-telnet", "web", "blue")
    example = found["example"]
    assert (example["source"], example["source_name"]) == ("10.1.0.10:5000", "i-web")
    assert (example["destination"], example["destination_name"]) == ("8.8.8.8:25", "")
    assert example["frame"] == "00" * 60


def test_a_public_address_has_its_name(pcgctl, look, monkeypatch):
    back = dropped(src_be=ip("8.8.8.8"), dst_be=ip("10.99.1.11"), role=1, vni=0, dport=80)
    monkeypatch.setattr(look.client, "ledger", lambda: [back])
    found = row(pcgctl("drops", "--over", "0", as_json=True), "datapath")
    assert found["example"]["destination_name"] == "eip-1"
    assert (found["where"], found["segment"]) == ("uplink", "")


def test_a_dhcp_client_is_known_by_its_mac(pcgctl, look, monkeypatch):
    asking = {"src_be": bytes(4), "dst_be": bytes([255] * 4), "sport": 68, "dport": 67, "fw_id": 0}
    frame = bytes(56) + bytes.fromhex("06000000000a0800") + bytes(128)
    asking |= {"protocol": 17, "frame": frame, "captured": 120, "l3": 64, "vrf": 0xFFFFFFFF}
    monkeypatch.setattr(look.client, "ledger", lambda: [dropped(**asking)])
    example = row(pcgctl("drops", "--over", "0", as_json=True), "datapath")["example"]
    assert (example["source"], example["source_name"]) == ("06:00:00:00:00:0a", "p3")
    assert "udp 06:00:00:00:00:0a (p3) -> 255.255.255.255:67" in pcgctl("drops", "--over", "0")


EARLY = [
    (
        IP(src="10.99.1.13", dst="10.99.1.11") / UDP(sport=7, dport=9),
        {"vni": 0, "role": 1},
        "udp 10.99.1.13:7 -> 10.99.1.11:9 ",
    ),
    (
        ARP(hwsrc="06:00:00:00:00:07", psrc="0.0.0.0", pdst="10.1.0.10"),
        {},
        "arp 0.0.0.0 (06:00:00:00:00:07) -> 10.1.0.10 (i-web) ",
    ),
    (
        IPv6(src="2001:db8::1", dst="2001:db8::2") / UDP(sport=7, dport=9),
        {"vni": 0, "role": 1},
        "udp [2001:db8::1]:7 -> [2001:db8::2]:9 ",
    ),
]


@pytest.mark.parametrize("packet, given, text", EARLY)
def test_what_ended_unread_is_told_by_its_bytes(pcgctl, look, monkeypatch, packet, given, text):
    frame = bytes(Ether(src="06:00:00:00:00:02", dst="06:00:00:00:00:01") / packet)
    unread = {"src_be": bytes(4), "dst_be": bytes(4), "sport": 0, "dport": 0, "protocol": 0}
    unread |= {"vrf": 0xFFFFFFFF, "fw_id": 0, "outer_src_be": bytes(4), **given}
    line = dropped(frame=frame.ljust(192, b"\0"), captured=len(frame), **unread)
    monkeypatch.setattr(look.client, "ledger", lambda: [line])
    assert text in pcgctl("drops", "--over", "0")


@pytest.mark.parametrize("given, rule", [({"fw_id": 0}, "default"), ({"fw_id": 77}, "77")])
def test_without_a_rule_it_was_the_default(pcgctl, look, monkeypatch, given, rule):
    monkeypatch.setattr(look.client, "ledger", lambda: [dropped(**given)])
    assert row(pcgctl("drops", "--over", "0", as_json=True), "datapath")["rule"] == rule


def test_of_many_kinds_together_no_rule_and_no_segment_is_named(pcgctl, look, monkeypatch):
    lumped = dropped(vni=0xFFFFFFFF, fw_id=0, src_be=bytes(4), dst_be=bytes(4))
    monkeypatch.setattr(look.client, "ledger", lambda: [lumped])
    found = row(pcgctl("drops", "--over", "0", as_json=True), "datapath")
    assert (found["rule"], found["segment"]) == ("several", "several")


def test_rates_are_of_two_readings(pcgctl, look, monkeypatch):
    readings = iter(([dropped(packets=9)], [dropped(packets=30)]))
    monkeypatch.setattr(look.client, "ledger", lambda: next(readings))
    monkeypatch.setattr(drops.time, "sleep", lambda _s: None)
    rows = pcgctl("drops", as_json=True)
    assert row(rows, "datapath")["rate"] > 0
    assert row(rows, "port")["rate"] == 0
    assert row(rows, "cloud")["rate"] == 8  # as the gateway told it


def test_times_are_of_the_clock_on_the_wall(pcgctl):
    found = row(pcgctl("drops", "--over", "0", as_json=True), "datapath")
    assert found["last"] - found["first"] == pytest.approx(2)
    booted = time.time() - time.monotonic()
    assert found["first"] == pytest.approx(booted + 5, abs=5)
    assert row(pcgctl("drops", "--over", "0", as_json=True), "port")["first"] is None


def test_only_what_was_seen_lately(pcgctl):
    rows = pcgctl("drops", "--over", "0", "--since", "60", as_json=True)
    assert {r["source"] for r in rows} == {"cloud", "nftables"} | (
        {"datapath"} if time.monotonic() < 67 else set()
    )


def test_all_has_what_is_nought_and_what_was_steered(pcgctl):
    rows = pcgctl("drops", "--over", "0", "--all", as_json=True)
    assert {"rx_dropped", "downlink_tunnel"} < {r["reason"] for r in rows}


def test_for_people(pcgctl):
    text = pcgctl("drops", "--over", "0")
    assert "tcp 10.1.0.10:5000 (i-web) -> 8.8.8.8:25 from TEP 10.99.0.2 VNI 1001" in text
    assert "put a rule before it" in text
    assert "What it means" in text


def short(number: int, workload: str) -> dict:
    """As a gateway answers it."""
    named = workload, "10.1.0.10", "blue", "QUOTA_PORTS", "snat-all", "eip-1"
    return structs.asdict(Shortage(number, time.time() - 90 + number, *named, refused=number))


def test_who_gets_no_more_of_what_all_share(pcgctl, answers):
    """Since when: of the two a minute and a half ago the latter."""
    assert "was refused" not in pcgctl("drops", "--over", "0")
    answers["shortages"] = [short(3, "web1"), short(4, "web2")]
    text = " ".join(pcgctl("drops", "--over", "0").split())
    words = "web2 (10.1.0.10, VRF blue) was refused 4 sessions: QUOTA_PORTS; NAT rule snat-all"
    assert f"{words}, public address eip-1; 2 in `pcgctl show shortages`" in text
    assert "was refused" not in pcgctl("drops", "--over", "0", "--since", "60")
    rows = pcgctl("show", "shortages", as_json=True)
    assert [row["workload"] for row in rows] == ["web2", "web1"]
    assert "eip-1" in pcgctl("show", "shortages")


def absent(*_):
    raise BackendError("it", "is not there")


def test_without_the_gateway_the_datapath_is_shown(pcgctl, look, monkeypatch):
    monkeypatch.setattr(look, "ask_gateway", absent)
    found = row(pcgctl("drops", "--over", "0", as_json=True), "datapath")
    assert found["example"]["source_name"] == ""


def test_without_the_datapath_the_rest_is_shown(pcgctl, look, monkeypatch):
    monkeypatch.setattr(look.client, "ledger", absent)
    assert row(pcgctl("drops", as_json=True), "cloud")["packets"] == 8


def test_without_either_it_is_an_error(pcgctl, look, monkeypatch):
    monkeypatch.setattr(look.client, "ledger", absent)
    monkeypatch.setattr(look, "ask_gateway", absent)
    with pytest.raises(BackendError, match="is not there"):
        pcgctl("drops")


# ---- pcgctl drops --recent ----


def test_flows_have_names_times_and_what_to_do(pcgctl):
    (found,) = pcgctl("drops", "--recent", as_json=True)
    assert (found["reason"], found["rule"], found["packets"]) == ("FIREWALL_DENIED", "no-telnet", 2)
    assert (found["source"], found["source_name"]) == ("10.1.0.10:5000", "i-web")
    assert (found["destination"], found["destination_name"]) == ("8.8.8.8:25", "")
    assert (found["vrf"], found["segment"], found["where"]) == ("blue", "web", "downlink")
    assert found["advice"] == "put a rule before it"
    assert found["ago_s"] == pytest.approx(4, abs=3)
    assert found["last"] - found["first"] == pytest.approx(5)
    assert found["last"] == pytest.approx(time.time() - 4, abs=5)


def test_a_rule_that_was_removed_keeps_its_name(pcgctl, look, monkeypatch):
    """Not the number, and not another rule's name."""
    look.answers["gone"] = {"firewall": {"no-smtp": 7}, "nat": {"out": 8}}
    no_nat = border.reason_names().index("NO_NAT")
    flows = [flow(fw_id=7), flow(fw_id=0, nat_id=8, reason=no_nat), flow(fw_id=9)]
    monkeypatch.setattr(look.client, "recent", lambda: flows)
    rules = {found["rule"] for found in pcgctl("drops", "--recent", as_json=True)}
    assert rules == {"no-smtp (removed)", "out (removed)", "9"}


def test_flows_for_people(pcgctl):
    text = pcgctl("drops", "--recent")
    assert "tcp 10.1.0.10:5000 (i-web) -> 8.8.8.8:25 from TEP 10.99.0.2 VNI 1001" in text
    assert "put a rule before it" in text


def test_a_leased_address_has_its_workloads_name(pcgctl, look, monkeypatch):
    look.answers["leases"] = [{"vrf": "blue", "address": "10.1.0.77", "port": "p3"}]
    flows = [flow(src_be=ip("10.1.0.77"))]
    monkeypatch.setattr(look.client, "recent", lambda: flows)
    (found,) = pcgctl("drops", "--recent", as_json=True)
    assert (found["source_name"], found["segment"]) == ("p3", "web")


def test_where_the_vrf_was_not_asked_yet_the_vni_tells_it(pcgctl, look, monkeypatch):
    monkeypatch.setattr(look.client, "recent", lambda: [flow(vrf=0xFFFFFFFF, fw_id=0)])
    (found,) = pcgctl("drops", "--recent", as_json=True)
    assert (found["vrf"], found["source_name"]) == ("blue", "i-web")


NOTHING = {"src_be": bytes(4), "dst_be": bytes(4), "protocol": 0, "sport": 0, "dport": 0}
ASKED = {"protocol": 0, "sport": 0, "dport": 0}
READ = [
    (NOTHING, "60 bytes that could not be read from TEP 10.99.0.2"),
    (ASKED, "arp 10.1.0.10 (i-web) -> 8.8.8.8 from TEP 10.99.0.2"),
    ({"protocol": 1, "outer_src_be": bytes(4)}, "icmp 10.1.0.10 (i-web) -> 8.8.8.8 "),
]


@pytest.mark.parametrize("given, words", READ)
def test_what_it_was_as_far_as_it_was_read(pcgctl, look, monkeypatch, given, words):
    monkeypatch.setattr(look.client, "recent", lambda: [flow(**given)])
    assert words in pcgctl("drops", "--recent")


def test_flows_of_the_last_seconds(pcgctl):
    assert len(pcgctl("drops", "--recent", "--since", "60", as_json=True)) == 1
    assert pcgctl("drops", "--recent", "--since", "1", as_json=True) == []
    assert "no flows that were dropped lately" in pcgctl("drops", "--recent", "--since", "1")


def test_many_flows_are_cut_short_for_people_alone(pcgctl, look, monkeypatch):
    flows = [flow(dport=port) for port in range(60)]
    monkeypatch.setattr(look.client, "recent", lambda: flows)
    assert "and 10 more" in pcgctl("drops", "--recent")
    assert len(pcgctl("drops", "--recent", as_json=True)) == 60


def test_what_found_no_place_is_counted(pcgctl, look, monkeypatch):
    monkeypatch.setattr(look.client, "ledger", lambda: [dropped(unlisted=7)])
    assert "7 packets FIREWALL_DENIED" in pcgctl("drops", "--recent")


def test_flows_without_the_gateway_have_no_names(pcgctl, look, monkeypatch):
    monkeypatch.setattr(look, "ask_gateway", absent)
    (found,) = pcgctl("drops", "--recent", as_json=True)
    assert (found["source"], found["source_name"]) == ("10.1.0.10:5000", "")


# ---- on a narrow terminal ----


@pytest.fixture
def narrow(monkeypatch):
    """80 columns, of which no line may take more."""

    class Terminal:
        width = 80

    monkeypatch.setattr(drops, "console", Terminal)


def block(text: str, head: str) -> list[str]:
    (found,) = [part for part in text.split("\n\n") if part.startswith(head)]
    return found.splitlines()


def test_a_narrow_terminal_has_a_block_for_each_row(pcgctl, narrow):
    text = pcgctl("drops", "--over", "0")
    assert max(map(len, text.splitlines())) <= 80
    found = block(text, "FIREWALL_DENIED: 9 packets, downlink")
    assert found[1] == "  counter datapath"
    assert "  segment web" in found
    assert "  rule    no-telnet" in found
    assert "  packet  tcp 10.1.0.10:5000 (i-web) -> 8.8.8.8:25 from TEP 10.99.0.2 VNI 1001" in found
    assert "  do      put a rule before it" in found
    assert block(text, "rx_missed: 6 packets, down0")


def test_what_a_reason_means_is_said_once(pcgctl, look, narrow, monkeypatch):
    lines = [dropped(), dropped(vni=1002, fw_id=4)]
    monkeypatch.setattr(look.client, "ledger", lambda: lines)
    text = pcgctl("drops", "--over", "0")
    assert text.count("FIREWALL_DENIED: ") == 2
    assert text.count("put a rule before it") == 1


def test_flows_on_a_narrow_terminal(pcgctl, narrow):
    text = pcgctl("drops", "--recent")
    assert max(map(len, text.splitlines())) <= 80
    found = block(text, "FIREWALL_DENIED: 2 packets, the last ")
    assert "  rule    no-telnet" in found
    assert "  do      put a rule before it" in found


def test_nothing_on_a_narrow_terminal(pcgctl, narrow):
    assert "no flows that were dropped lately" in pcgctl("drops", "--recent", "--since", "1")


def test_rings_have_times_where_the_gateway_tells_them(pcgctl, look):
    look.answers["drops"] = counted(Count("port", "down0", "rx_missed", 4))
    rows = pcgctl("drops", "--over", "0", "--since", "60", as_json=True)
    found = row(rows, "port")
    assert (found["packets"], found["rate"], found["where"]) == (4, 4.0, "down0")
