"""pcgctl show: tables for people, stable keys for programs."""

from datetime import datetime

import click
import pytest

from pcg.cli import tables
from pcg.cli.show import REPORTS, show
from pcg.model.errors import BackendError
from tests.unit.cli.fake import TABLES

ROWS = {
    "ports": {"vrf", "address", "segment", "vni", "mac", "tep"},
    "segments": {"vni", "name", "vrf", "kind", "subnet", "gateway", "gateway_mac", "mtu"},
    "teps": {"address", "mac", "resolved", "silent", "option", "mtu", "ports"}
    | {"path_mtu", "told_s_ago"},
    "nexthops": {"address", "mac", "resolved", "silent"},
    "routes": {"vrf", "prefix", "kind", "next_hop", "segment"},
    "nat": {"id", "name", "vrf", "action", "source", "destination", "protocol", "translated"},
    "firewall": {"id", "name", "vrf", "action", "direction", "source", "services", "hits"},
    "totals": {"name", "value"},
    "stages": {"stage", "packets", "settles"},
    "sessions": {"vrf", "protocol", "fwd_src", "rev_dst", "nat_rule", "fwd_packets", "idle_s"},
    "drops": {"reason", "packets", "conclude"},
}


@pytest.mark.parametrize("name", ROWS)
def test_keys_stay(pcgctl, name):
    rows = pcgctl("show", name, as_json=True)
    assert rows
    assert ROWS[name] <= set(rows[0])


@pytest.mark.parametrize("name", set(ROWS) & set(REPORTS))
def test_every_column_is_a_key(look, name):
    row = REPORTS[name].rows(look)[0]
    assert {column.key for column in REPORTS[name].columns} <= set(row)


@pytest.mark.parametrize("name", ROWS)
def test_table_for_people(pcgctl, name):
    assert len(pcgctl("show", name).splitlines()) >= 4


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_no_word_is_cut_on_a_terminal(pcgctl, look, monkeypatch, name, width):
    """Addresses, names and numbers are whole in any table: else it is no table."""
    monkeypatch.setattr(tables, "console", lambda: tables.Terminal(width=width))
    text = pcgctl("show", name)
    assert all(len(line) <= width for line in text.splitlines())
    if name in REPORTS:
        report = REPORTS[name]
        cells = [tables.text(row.get(c.key)) for row in report.rows(look) for c in report.columns]
        assert {word for cell in cells for word in cell.split()} <= words_of(text)


def words_of(text: str) -> set[str]:
    plain = {word.rstrip(";") for word in text.split()}
    return plain | {word.replace(",", "") for word in plain}


def test_addresses_sort_as_numbers_and_by_vrf(pcgctl):
    rows = pcgctl("show", "ports", as_json=True)
    assert [(r["vrf"], r["address"]) for r in rows] == [
        ("blue", "10.1.0.9"),
        ("blue", "10.1.0.10"),
        ("red", "10.1.0.10"),
    ]


def test_nat_reads_as_the_operator_wrote_it(pcgctl):
    dnat, snat = pcgctl("show", "nat", as_json=True)
    assert dnat["translated"] == "10.1.0.10 port 8080"
    assert dnat["destination_ports"] == "80"
    assert dnat["destination"] == "eip-1 (52.1.1.1)"  # and not the secondary address 10.99.1.11
    assert (dnat["in_packets"], snat["in_packets"]) == (5, 0)
    assert snat["translated"] == "eip-1 (52.1.1.1)"
    assert snat["source"] == "any"


def test_a_rule_of_several_matches_counts_once(pcgctl, monkeypatch):
    """A sum over the column is what was carried."""
    dnat, snat = TABLES["nat"]
    again = dnat._replace(match=dnat.match._replace(protocol=17))
    monkeypatch.setitem(TABLES, "nat", [dnat, again, snat])
    rows = pcgctl("show", "nat", as_json=True)
    assert [(r["name"], r["in_packets"]) for r in rows] == [
        (dnat.name, 5),
        (dnat.name, None),
        (snat.name, 0),
    ]
    assert len(pcgctl("show", "nat").splitlines()) >= 5


def test_the_firewalls_defaults_come_last(pcgctl):
    rows = pcgctl("show", "firewall", as_json=True)[-4:]
    told = [(r["name"], r["vrf"], r["direction"], r["action"], r["hits"]) for r in rows]
    default = "(default)"
    assert told == [
        (default, "blue", "IN", "ALLOW", 0),
        (default, "blue", "OUT", "ALLOW", 0),
        (default, "red", "IN", "ALLOW", 12),
        (default, "red", "OUT", "ALLOW", 0),
    ]


def test_a_firewall_rule_is_one_row_whatever_it_lists(pcgctl):
    telnet, few, group, *_ = pcgctl("show", "firewall", as_json=True)
    assert (telnet["source"], telnet["services"], telnet["state"]) == ("any", "any", "stateful")
    assert few["services"] == "tcp 1, tcp 2, tcp 3, and 2 more"
    assert few["destination"] == "eip-1 (52.1.1.1)"
    assert (group["source"], group["destination"]) == ("partners of 2", "a list of 1")
    assert (group["state"], group["hits"], telnet["hits"]) == ("stateless", 12, 0)


def test_an_unresolved_tep_has_no_mac(pcgctl):
    resolved, unresolved = pcgctl("show", "teps", as_json=True)
    assert (resolved["path_mtu"], unresolved["path_mtu"], unresolved["told_s_ago"]) == ("", 1500, 7)
    assert resolved["mac"] == "02:00:00:00:00:05"
    assert (unresolved["mac"], unresolved["ports"]) == ("", 2)


def test_drops_hides_reasons_without_packets(pcgctl):
    assert [r["reason"] for r in pcgctl("show", "drops", as_json=True)] == ["NO_ROUTE"]
    every = pcgctl("show", "drops", "--all", as_json=True)
    assert [r["packets"] for r in every] == [7, 0]


def test_a_session_shows_both_tuples_and_its_rule(pcgctl):
    (row,) = pcgctl("show", "sessions", as_json=True)
    assert (row["from"], row["to"]) == ("10.1.0.10:5000", "8.8.8.8:80")
    assert (row["as_from"], row["as_to"]) == ("10.99.1.11:1024", "8.8.8.8:80")
    assert (row["nat_rule"], row["public"], row["kind"]) == ("snat-all", "eip-1", "SNAT")


def test_counts_are_grouped_and_numbers_that_name_are_not(pcgctl):
    assert "1,234,567" in pcgctl("show", "totals")
    assert " 1001 " in pcgctl("show", "ports")


def test_workloads_say_what_is_programmed(pcgctl, look):
    port = {"segment": "web", "mac": "02:00:00:00:00:05", "instance": "i-1", "tep": "10.99.0.2"}
    there = {**port, "id": "a", "addresses": ["10.1.0.10"]}
    missing = {**port, "id": "b", "addresses": ["10.1.0.77"]}
    twin = {**there, "id": "c", "segment": "web-red"}  # behind another TEP, and has no session
    segments = [{"id": "web", "vrf": "blue"}, {"id": "web-red", "vrf": "red"}]
    look.answers["desired"] = {"segments": segments, "ports": [there, missing, twin]}
    rows = pcgctl("show", "workloads", as_json=True)
    assert [(r["id"], r["programmed"], r["sessions"]) for r in rows] == [
        ("a", True, 1),
        ("b", False, 0),
        ("c", False, 0),
    ]


def test_workloads_without_a_desired_state(pcgctl, look):
    look.answers["desired"] = None
    assert pcgctl("show", "workloads") == "no workloads\n"


def test_a_session_is_found_by_any_of_its_addresses(pcgctl, look):
    for address in ("10.1.0.10", "8.8.8.8", "10.99.1.11", "52.1.1.1"):  # the last: Elastic IP
        assert len(pcgctl("show", "sessions", "--address", address, as_json=True)) == 1
    assert pcgctl("show", "sessions", "--address", "9.9.9.9", as_json=True) == []


def test_a_vrf_that_does_not_exist_is_named(pcgctl):
    assert pcgctl("show", "sessions", "--vrf", "red", as_json=True) == []
    with pytest.raises(BackendError, match="vrf pink: does not exist; there are: blue, red"):
        pcgctl("show", "sessions", "--vrf", "pink")


def test_what_is_no_address_is_refused(pcgctl):
    with pytest.raises(click.BadParameter, match="10.1.0 is no IPv4 address"):
        pcgctl("show", "sessions", "--address", "10.1.0")


def test_realised_for_programs_is_the_gateways_own_answer(pcgctl, look):
    look.answers["realised"] = {"revision": 5, "errors": [{"path": "x"}]}
    assert pcgctl("show", "realised", as_json=True) == look.answers["realised"]
    assert "errors[0].path" in pcgctl("show", "realised")


def test_realised_for_people_names_the_epoch_and_tells_the_time(pcgctl, look):
    backends = {"nft": {"state": "applied", "applied_at": 1.5}, "state": {"applied_at": None}}
    look.answers["realised"] = {"epoch": 1795345626118973399, "backends": backends}
    text = pcgctl("show", "realised")
    assert " 1795345626118973399 " in text
    assert datetime.fromtimestamp(1.5).strftime("%Y-%m-%d %H:%M:%S.500") in text
    assert "never" in text


def test_every_command_has_help():
    assert all(command.help for command in show.commands.values())
