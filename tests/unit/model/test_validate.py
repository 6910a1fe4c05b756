"""Every rule of desired state: rules.txt has a row for each, here is what runs them."""

import re
from pathlib import Path

import msgspec
import pytest

from pcg.model.desired import Desired, Vrf
from pcg.model.load import parse_desired
from pcg.model.rules import nat, routes, segments
from pcg.model.validate import validate
from tests.unit.model.documents import GOOD, edited, problems

TABLE = (Path(__file__).parent / "rules.txt").read_text()


def rows() -> list[tuple[str, str, list[str]]]:
    found = []
    for line in TABLE.splitlines():
        if " => " in line and not line.startswith(" "):
            found.append((*line.replace("\\n", "\n").split(" => "), []))
        elif line.startswith("    "):
            found[-1][2].append(line.strip())
    return found


@pytest.mark.parametrize("old, new, expected", rows(), ids=[row[1][:60] for row in rows()])
def test_rule(old, new, expected):
    assert expected
    assert problems(edited((old, new))) == expected


def test_the_good_document_is_good():
    assert problems(GOOD) == []


@pytest.mark.parametrize(
    "old, new",
    [
        ("priority: 5,", "priority: 5, firewall_match: BYPASS, reset: true, log: true,"),
        ("translated: [eip-1]", "translated: [eip-2], translated_ports: {first: 81, last: 82}"),
        ("{first: 80, last: 81}]}", "{first: 80, last: 81}]}, reset: true"),
    ],
    ids=["NO_SNAT's terms", "one port is left", "TCP's terms"],
)  # fmt: skip
def test_what_means_something_is_taken(old, new):
    assert problems(edited((old, new))) == []


def test_every_problem_says_its_value_and_a_mend():
    for row in rows():
        for line in row[2]:
            assert re.fullmatch(r"[a-z_]+(\[[^]]+\]|\.[a-z0-9_]+)*: .+; .+", line), line


def test_all_rules_are_told_in_one_pass():
    """Errors that do not touch each other: each is told as if it were alone."""
    edits = [
        ("name: up0", 'name: "up 0"'),
        ("vni: 9098", "vni: 9096"),
        ("06:00:00:00:01:02", "ff:ff:ff:ff:ff:ff"),
        ("prefix: 10.66.0.0/16, blackhole: true", "prefix: 10.66.0.0/16"),
        ("destination: [10.99.0.0/16]}", "destination: [10.99.0.0/16]}, translated: [eip-1]"),
        ("direction: IN, source", "direction: IN, destination: [eip-9], source"),
        ("mtu: 8943", "mtu: 8944"),
    ]
    alone = [line for edit in edits for line in problems(edited(edit))]
    assert problems(edited(*edits)) == alone


def test_a_rule_that_multiplies_out_to_too_much():
    def ports(n):
        return ", ".join(f"{{first: {i}, last: {i}}}" for i in range(n))

    old = "source: [10.1.0.0/24]}"
    new = f"source_ports: [{ports(65)}], destination_ports: [{ports(64)}], protocol: udp}}"
    assert problems(edited((old, new))) == [
        "nat[out].match: 4160 combinations are too many for one rule (4096); split it"
    ]


def test_errors_may_be_switched_off():
    """RFC 5508 REQ-9; whatever the rate of one source, which by default is above 0."""

    def told(errors):
        return problems(edited(("tep: 10.99.2.10\n", f"tep: 10.99.2.10\n  errors: {errors}\n")))

    assert told("{per_second: 0}") == []
    assert told("{per_second: 0, per_source: 5}") == []
    assert told("{per_second: -1}") != []
    assert told("{per_second: 5, per_source: 0}") != []


LEAST = "tcp_opening_s: 240, tcp_established_s: 7440, tcp_closing_s: 240, udp_s: 120, icmp_s: 60"
LESS = "tcp_opening_s: 239, tcp_established_s: 7439, tcp_closing_s: 239, udp_s: 119, icmp_s: 59"


def test_timers_of_the_rfcs():
    """RFC 4787 REQ-5, RFC 4787 REQ-5b, RFC 5382 REQ-5, RFC 5508 REQ-2: what they allow at least."""

    def told(timers):
        return problems(edited(("ports: 900}", f"ports: 900}}, timers: {{{timers}}}")))

    assert told(LEAST) == []
    assert [line.split(":")[0].split(".")[-1] for line in told(LESS)] == re.findall(r"\w+_s", LESS)


def test_a_routed_segment_keeps_off_the_interfaces():
    """RFC 4787 REQ-7: inside and outside addresses do not conflict."""
    told = problems(edited(("subnet: 10.1.1.0/24, gateway: 10.1.1.1",
                            "subnet: 10.99.1.0/24, gateway: 10.99.1.77")))  # fmt: skip
    assert any("is routed and overlaps the uplink" in line for line in told)


def test_a_pool_that_is_too_large():
    ids = ", ".join(f"x{i}" for i in range(17))
    told = problems(edited(("translated: [eip-1]", f"translated: [{ids}]")))
    assert told[0] == (
        "nat[out].translated: 17 public addresses are too many for one rule; use 16 or fewer"
    )
    assert len(told) == 18  # and none of them is known


def test_what_does_not_fit_a_dhcp_option():
    servers = ", ".join(f"10.0.0.{i}" for i in range(1, 65))
    names = ", ".join(f"{letter * 60}.com" for letter in "abcd")
    long = edited(
        ("[10.99.0.2]", f"[{servers}]"),
        ('value: "6162"', f'value: "{"00" * 256}"'),
        ("[example.com, example.net]", f"[{names}]"),
        ("pxelinux.0", "x" * 256),
        ("[10.99.0.4]", f"[{servers}]"),
    )
    assert problems(long) == [
        "dhcp[lan].dns: 64 servers do not fit one option; use 63 or fewer",
        "dhcp[lan].search: 264 bytes do not fit an option; use 255 or fewer",
        "dhcp[lan].bootfile: 256 bytes do not fit an option; use 255 or fewer",
        "dhcp[lan].options[0].value: 256 bytes are no option's; use 1 to 255",
        "dhcp[lan].options[1].addresses: 64 addresses do not fit an option; use 63 or fewer",
    ]


def test_limits(monkeypatch):
    monkeypatch.setattr(segments, "VRFS_MAX", 1)
    monkeypatch.setattr(routes, "PUBLIC_ADDRESSES_MAX", 3)
    monkeypatch.setattr(nat, "NAT_RULES_MAX", 2)
    assert problems(GOOD) == [
        "vrfs: 2 are too many; a gateway holds 1",
        "public_addresses: 4 are too many; a gateway holds 3",
        "nat: 4 are too many; a gateway holds 2",
    ]


def test_suggestions_end_when_they_would_cost_too_much():
    """A thousand ports of a segment that is gone must not mean a thousand slow searches."""
    lines = "".join(
        f'- {{id: p{i}, segment: wbe, mac: "06:00:00:01:{i >> 8:02x}:{i & 255:02x}",'
        f" addresses: [], tep: 10.99.2.21}}\n"
        for i in range(1000)
    )
    told = problems(edited(("routes:\n", lines + "routes:\n")))
    assert told[0] == "ports[p0].segment: wbe is not in segments; did you mean web?"
    assert told[-1] == "ports[p999].segment: wbe is not in segments; define it under segments"
    assert len(told) == 1000


def test_same_prefix_in_two_vrfs_is_legal():
    assert "subnet: 10.1.0.0/24" in GOOD
    assert GOOD.count("subnet: 10.1.0.0/24") == 2


def test_a_rule_that_is_not_enabled_is_in_nobodys_way():
    new = "translated: [eip-1, eip-3], enabled: false"
    assert problems(edited(("translated: [eip-1]", new))) == []


def test_what_another_vrf_does_inside_is_its_own_affair():
    """An Elastic IP may lie in a subnet of a VRF that is neither routed nor its own."""
    assert problems(edited(("address: 203.0.113.1,", "address: 10.1.0.200,"))) != []
    far = (
        'subnet: 10.1.0.0/24, gateway: 10.1.0.1, gateway_mac: "02:50:56:56:44:03"',
        'subnet: 203.0.113.0/30, gateway: 203.0.113.1, gateway_mac: "02:50:56:56:44:03"',
    )
    port = (
        'id: far1, segment: far, mac: "06:00:00:00:01:01", addresses: [10.1.0.9]',
        'id: far1, segment: far, mac: "06:00:00:00:01:01", addresses: [203.0.113.2]',
    )
    assert problems(edited(far, port)) == []


def test_a_port_without_addresses_needs_somebody_who_gives_it_one():
    empty = "addresses: [10.1.0.10, 10.1.0.11]", "addresses: []"
    assert problems(edited(empty)) == []
    start, end = (GOOD.index(text) for text in ("  pools: [", "  gateway: 10.1.0.1\n"))
    dry, bindings = GOOD[start:end], GOOD[GOOD.index("  bindings: [") : GOOD.index("ha: {peer")]
    assert problems(edited(empty, (dry, ""), (bindings, ""))) == [
        "ports[web2].addresses: is empty, and dhcp[lan] has neither a pool nor a binding for it; "
        "add one"
    ]
    for who in ('mac: "06:00:00:00:01:02"', 'client_id: "01aabb"'):
        bound = f"  bindings: [{{{who}, address: 10.1.0.20}}]\n"
        assert problems(edited(empty, (dry, ""), (bindings, bound))) == []


def test_newer_schema_from_a_peer_is_refused():
    newer = msgspec.structs.replace(parse_desired(GOOD), schema=2)
    assert [str(p) for p in validate(newer)] == [
        "schema: 2 is not known here; this version reads 1"
    ]


def test_without_a_gateway_the_rest_is_still_held():
    good = parse_desired(GOOD)
    state = Desired(gateway=None, vrfs=(*good.vrfs, Vrf(id="red")), segments=good.segments)
    assert "vrfs[red].id: red stands there twice; ids are unique" in map(str, validate(state))
