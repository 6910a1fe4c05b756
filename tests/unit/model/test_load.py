"""Reading documents: forms, structural errors, files. The rules themselves are test_validate's."""

import json

import msgspec
import pytest
import yaml

from pcg.model.desired import Desired, NatAction
from pcg.model.document import read_tree
from pcg.model.errors import BackendError, ConfigError, Problem
from pcg.model.forms import canonical
from pcg.model.load import load_desired, parse_desired
from tests.unit.model.documents import GOOD, edited, problems

# fmt: off
STRUCTURE = [
    # old, new, what is told
    ("vni: 9098", "vni: 0",
     ["segments[far].vni: 0 is out of range; use a whole number from 1 to 16777215"]),
    ("vni: 9098", "vni: nine",
     ["segments[far].vni: nine is not a number; use a whole number from 1 to 16777215"]),
    ("vni: 9098", "vnni: 9098",
     ["segments[far].vnni: is not a field here; did you mean vni?",
      "segments[far].vni: is missing; use a whole number from 1 to 16777215"]),
    ("id: far,", "id: 9far,",
     ["segments[9far].id: 9far is not an id; use a letter, then at most 46 letters, digits, "
      "'.', '_' or '-'",
      # what is left of it is a name that nothing else can have, so nobody is blamed for using it
      "ports[far1].segment: far is not in segments; define it under segments"]),
    ("id: far,", "",
     ["segments[2].id: is missing; use a letter, then at most 46 letters, digits, "
      "'.', '_' or '-'",
      "ports[far1].segment: far is not in segments; define it under segments"]),
    ("action: NO_SNAT", "action: no_snat",
     ["nat[keep].action: no_snat is unknown; write NO_SNAT"]),
    ("action: NO_SNAT", "action: MASQUERADE",
     ["nat[keep].action: MASQUERADE is unknown; "
      "use DNAT or SNAT or REFLEXIVE or NO_SNAT or NO_DNAT"]),
    ("routed: true", "routed: yes",
     ["segments[app].routed: yes is neither true nor false; use true or false"]),
    ("[10.1.0.9], tep: 10.99.2.21}\n- {id: web2", "10.1.0.9, tep: 10.99.2.21}\n- {id: web2",
     ["ports[web1].addresses: 10.1.0.9 is not a list; write it as a list: [a, b]"]),
    ("[10.1.0.10, 10.1.0.11], tep: 10.99.3.22", "[7, [8]], tep: 10.99.3.22",
     ["ports[web2].addresses[0]: 7 is not text; put it in quotes",
      "ports[web2].addresses[1]: a list is not text; write a single value"]),
    ("{gw-a: 10.99.1.19}", "10.99.1.19",
     ["public_addresses[eip-b].secondary: 10.99.1.19 is not a mapping; "
      "write it as a mapping: {name: value}"]),
    ("{gw-a: 10.99.1.19}", "{gw-a: 1.5}",
     ["public_addresses[eip-b].secondary[gw-a]: 1.5 is not text; put it in quotes"]),
    ("[{first: 22, last: 22}]", "[{first: 22, last: 65536}]",
     ["firewall.sections[base].rules[ssh].services[0].destination_ports[0].last: "
      "65536 is out of range; use a whole number from 0 to 65535"]),
    ("ha: {peer: gw-b, peer_tep: 10.98.2.10}", "ha: gw-b",
     ["ha: gw-b is not a mapping; give it fields: peer, peer_tep, prefer, hello_ms, "
      "dead_multiplier"]),
    ("owner: h1", 'owner: "h\\e1"',
     ["teps[10.99.2.21].owner: 'h\\x1b1' is not a label; use at most 255 characters, "
      "none of them a control character"]),
    ("source: [10.1.1.7]", "source: [ten]",
     ["nat[own].match.source[0]: ten is neither a prefix nor an address; "
      "use a form like 10.0.0.0/24"]),
    ("{gw-a: 10.99.1.19}", '{"gw a": 7}',
     ["public_addresses[eip-b].secondary[gw a]: gw a is not an id; "
      "use a letter, then at most 46 letters, digits, '.', '_' or '-'",
      "public_addresses[eip-b].secondary[gw a]: 7 is not text; put it in quotes"]),
    ("vrfs:", "vrfz:",
     ["vrfz: is not a field here; did you mean vrfs?"]),
    ("  tep: 10.99.2.10\n", "",
     ["gateway.tep: is missing; write its value"]),
    ("gateway:\n  id", "gatewayy:\n  id",
     ["gatewayy: is not a field here; did you mean gateway?",
      "gateway: is missing; give it id, interfaces, tep"]),
    ("id: web2, segment", "id: web2, id: web3, segment",
     ["ports[web2].id: stands there twice, the second time on line 21; keep one"]),
    ("vrfs:\n", "vrfs:\n- {id: a: b}\n",
     ["line 10, column 9: is not YAML (did not find expected ',' or '}'); "
      "mend the syntax there or just before"]),
    ("{id: blue}", "&b {id: blue}",
     ["line 11: has the anchor 'b', which is not read here; write the value out"]),
]
# fmt: on


@pytest.mark.parametrize("old, new, told", STRUCTURE, ids=[r[1][:50] for r in STRUCTURE])
def test_structure(old, new, told):
    assert problems(edited((old, new))) == told


def test_structure_does_not_hide_rules_and_one_object_not_the_others():
    told = problems(
        edited(
            ("vni: 9000", "vni: none"),
            ("vni: 9098", "vni: 0"),
            ("id: keep, vrf: red", "id: keep, vrf: rad"),
            ("mtu: 8943", "mtu: 1"),
        )
    )
    assert told == [
        "vrfs[red].transit.vni: none is not a number; use a whole number from 1 to 16777215",
        "segments[far].vni: 0 is out of range; use a whole number from 1 to 16777215",
        "dhcp[lan].mtu: 1 is out of range; use a whole number from 576 to 9216",
        "nat[keep].vrf: rad is not in vrfs; define it under vrfs",
    ]


def test_a_broken_gateway_does_not_hide_the_rest():
    told = problems(edited(("mtu: 1500", "mtu: 15"), ("vni: 9098", "vni: 9096")))
    assert told == [
        "gateway.interfaces.management.mtu: 15 is out of range; "
        "use a whole number from 576 to 9216",
        "segments[far].vni: 9096 is also the VNI of segments[web]; give each its own",
    ]


@pytest.mark.parametrize(
    "text, told",
    [
        ("", "gateway: is missing; give it id, interfaces, tep"),
        ("7", "document: 7 is not a mapping; give it fields: schema, gateway, vrfs"),
        ("schema: 2\nfuture: x", "schema: 2 is newer than this version reads (1); upgrade"),
        ("schema: 0", "schema: 0 is not known here; this version reads 1"),
        (b"\xff\xfe", "document: is not UTF-8 text (invalid start byte); save it as UTF-8"),
        ("a: 1\n---\nb: 2", "line 2: begins a second document; keep one per file"),
        ("a: !!str 5", "line 1: has the tag 'tag:yaml.org,2002:str', which is not read here"),
        ("a: *x", "line 1: has the anchor 'x', which is not read here; write the value out"),
        ("? [a]\n: 5", "line 1: is a list or mapping in place of a key; give the key a name"),
        ("a: \x07", "document: is not YAML (control characters are not allowed)"),
        ('{"gateway": 1, "gateway": 2}', "gateway: stands there twice, the second time on line 1"),
        ('{"zone": "\\ud83d"}', "line 1, column 13: is not YAML (found invalid Unicode character"),
        ("[" * 100_000, "line 1: is nested deeper than 32; no document here is"),
        ('{"a":' * 100_000, "line 1: is nested deeper than 32; no document here is"),
        ("a: [", "line 2, column 1: is not YAML (did not find expected node content); mend"),
    ],
)
def test_documents_that_are_none(text, told):
    assert any(line.startswith(told) for line in problems(text)), problems(text)


def test_a_bare_key_is_an_absent_one():
    no_peer = (", gw-b: 10.98.1.11}", "}")
    assert (
        parse_desired(edited(("ha: {peer: gw-b, peer_tep: 10.98.2.10}", "ha:"), no_peer)).ha is None
    )
    text = edited(("- {vrf: red, prefix: 10.1.64.0/24, segment: app}\n", "")).replace(
        "- {vrf: red, prefix: 0.0.0.0/0, next_hop: 10.99.1.1}\n", "# nothing\n"
    )
    text = text.replace("- {vrf: blue, prefix: 10.66.0.0/16, blackhole: true}\n", "")
    assert parse_desired(text).routes == ()


def test_words_that_yaml_1_1_would_twist():
    tree = read_tree(
        "{mac: 12:34:56:12:34:56, on: no, day: 2026-01-02, octal: 017, id: 12e4567, hex: 0x1F}"
    )
    assert tree == {
        "mac": "12:34:56:12:34:56",
        "on": "no",
        "day": "2026-01-02",
        "octal": "017",
        "id": "12e4567",
        "hex": 31,
    }


def test_canonical_forms():
    desired = parse_desired(
        edited(
            ('"06:00:00:00:01:02"', "06-00-00-00-01-02"),
            ('"02:50:56:56:44:02"', "0250.5656.4402"),
            ("source: [10.1.0.0/24]", "source: [10.1.0.0/255.255.255.0, 10.1.1.9/32]"),
            ("translated: [10.1.0.10, 10.1.0.11]", "translated: [10.1.0.11, 10.1.0.10]"),
            ("owner: h1", 'options: ["0x104/0X80"]'),
            ('value: "6162"', 'value: "61:62"'),
            ("subnet: 10.1.1.0/24", "subnet: 10.1.1.0/255.255.255.0"),
        )
    )
    assert desired.ports[1].mac == "06:00:00:00:01:02"
    assert desired.segments[1].gateway_mac == "02:50:56:56:44:02"
    assert desired.segments[1].subnet == "10.1.1.0/24"
    assert desired.nat[0].match.source == ("10.1.0.0/24", "10.1.1.9")
    assert desired.nat[1].action is NatAction.DNAT
    assert desired.nat[1].translated == ("10.1.0.10", "10.1.0.11")
    assert desired.teps[0].options == ("0x0104/0x80",)
    assert desired.dhcp[0].options[0].value == "6162"
    assert canonical(desired) is desired


def test_json_is_yaml():
    tree = yaml.safe_load(GOOD)
    assert parse_desired(json.dumps(tree)) == parse_desired(GOOD)
    assert parse_desired(msgspec.json.encode(parse_desired(GOOD))) == parse_desired(GOOD)


def test_numbers_of_json():
    assert read_tree('{"a": 1.5, "b": [null], "c": null}') == {"a": 1.5, "b": [None]}
    for text in ('{"mtu": NaN}', '{"mtu": 1e999}', '{"mtu": Infinity}'):
        assert problems(text) == problems(text.replace('"mtu": ', '"mtu": "').replace("}", '"}'))


def test_files(tmp_path):
    good = tmp_path / "gw-a.yaml"
    good.write_text(GOOD)
    assert load_desired(good) == parse_desired(GOOD)
    with pytest.raises(ConfigError) as none:
        load_desired(tmp_path / "none.yaml")
    assert str(none.value) == (
        f"{tmp_path}/none.yaml is refused:\n"
        "document: cannot be read (No such file or directory); look at its path and permissions"
    )
    good.write_text(edited(("vni: 9098", "vni: 0")))
    with pytest.raises(ConfigError, match=r"gw-a\.yaml is refused:\nsegments\[far\]\.vni: 0 is"):
        load_desired(str(good))


def test_the_texts_of_errors():
    many = ConfigError([Problem(f"a[{i}]", i, "is wrong; mend it") for i in range(1002)])
    assert len(many.problems) == 1002
    assert str(many).splitlines()[-2:] == ["a[999]: 999 is wrong; mend it", "and 2 more"]
    assert str(BackendError("interface up0", "is down")) == "interface up0: is down"
    assert str(BackendError("table ip pcg", "no permission", "run as root")) == (
        "table ip pcg: no permission; run as root"
    )


@pytest.mark.slow
def test_a_hundred_thousand_ports():
    """The last arrives as written, and one wrong among them is found. JSON, since it is quick."""
    tree = yaml.safe_load(GOOD)
    tree["segments"] += [
        {
            "id": f"s{i}",
            "vrf": "blue",
            "vni": 20_000 + i,
            "subnet": f"172.{16 + i // 64}.{4 * (i % 64)}.0/22",
            "gateway": f"172.{16 + i // 64}.{4 * (i % 64)}.1",
            "gateway_mac": "02:50:56:56:45:01",
        }
        for i in range(100)
    ]
    tree["ports"] += [
        {
            "id": f"p{i}",
            "segment": f"s{i // 1000}",
            "mac": f"06:01:00:{i >> 16:02x}:{i >> 8 & 255:02x}:{i & 255:02x}",
            "addresses": [place(i)],
            "tep": "10.99.2.21",
        }
        for i in range(100_000)
    ]
    text = json.dumps(tree)
    desired = parse_desired(text)
    assert len(desired.ports) == 100_003
    assert desired.ports[-1].addresses == ("172.17.143.233",)
    assert problems(text.replace('"172.17.143.233"', '"172.17.143.232"')) == [
        "ports[p99999].addresses[0]: 172.17.143.232 is also an address of ports[p99998] "
        "in VRF blue; give each its own"
    ]


def place(i: int) -> str:
    segment, host = divmod(i, 1000)
    third = 4 * (segment % 64) + (host + 2 >> 8)
    return f"172.{16 + segment // 64}.{third}.{host + 2 & 255}"


def test_the_message_pack_form_is_the_same():
    desired = parse_desired(GOOD)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(desired), type=Desired) == desired
