"""Random documents: right ones come through unchanged, wrong ones end in ConfigError."""

import copy

import msgspec
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pcg.model.desired import Desired
from pcg.model.errors import ConfigError
from pcg.model.forms import canonical
from pcg.model.load import parse_desired
from pcg.model.validate import validate
from tests.unit.model.documents import GOOD

TREE = yaml.safe_load(GOOD)
LABELS = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=20)


def dump(tree) -> str:
    return yaml.dump(tree, Dumper=yaml.CSafeDumper, allow_unicode=True)


@st.composite
def good_trees(draw):
    """Valid documents of another size: VRFs with segments, ports, an address and rules each."""
    tree = copy.deepcopy(TREE)
    for v in range(draw(st.integers(0, 4))):
        vrf = f"v{v}"
        tree["vrfs"].append({"id": vrf})
        add_public(tree, vrf, v, draw)
        for s in range(draw(st.integers(0, 4))):
            add_segment(tree, vrf, v, s, draw)
    return tree


def add_public(tree, vrf, v, draw):
    public = {"id": f"e{v}", "vrf": vrf, "address": f"198.51.100.{v + 1}"}
    tree["public_addresses"].append(public | {"secondary": {"gw-a": f"10.99.1.{100 + v}"}})
    rule = {"id": f"n{v}", "vrf": vrf, "action": "SNAT", "translated": [f"e{v}"]}
    rule["priority"] = draw(st.integers(0, 0x7FFFFFFF))
    rule["enabled"] = draw(st.booleans())
    rule["match"] = {"protocol": draw(st.sampled_from(["any", "tcp", "udp", "icmp"]))}
    tree["nat"].append(rule)


def add_segment(tree, vrf, v, s, draw):
    name, net = f"{vrf}-{s}", f"172.16.{s}"
    segment = {"id": name, "vrf": vrf, "vni": 20_000 + 100 * v + s, "subnet": f"{net}.0/24"}
    segment |= {"gateway": f"{net}.1", "gateway_mac": "02:00:00:00:00:01"}
    segment |= {"name": draw(LABELS), "mtu": draw(st.integers(576, 8943))}
    tree["segments"].append(segment)
    for p in draw(st.lists(st.integers(2, 254), unique=True, max_size=4)):
        port = {"id": f"{name}-{p}", "segment": name, "mac": f"06:00:00:00:00:{p:02x}"}
        port |= {"addresses": [f"{net}.{p}"], "tep": "10.99.3.22", "instance": draw(LABELS)}
        tree["ports"].append(port)


@given(good_trees())
@settings(max_examples=50, deadline=None)
def test_a_valid_document_comes_through_unchanged(tree):
    desired = parse_desired(dump(tree))
    assert msgspec.to_builtins(desired) == msgspec.to_builtins(msgspec.convert(tree, Desired))
    assert canonical(desired) is desired
    assert validate(desired) == []
    packed = msgspec.msgpack.encode(desired)
    assert msgspec.msgpack.decode(packed, type=Desired) == desired
    assert parse_desired(dump(msgspec.to_builtins(desired))) == desired


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(
        ["10.1.0.9", "10.1.0.0/24", "0.0.0.0/0", "web", "red", "eip-1", "::1", "/", "-1"]
    ),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


@st.composite
def mutated_trees(draw):
    tree = copy.deepcopy(TREE)
    for _ in range(draw(st.integers(1, 3))):
        mutate(tree, draw)
    return tree


def mutate(node, draw):
    """Walks down a random way and puts something else, nothing, or one more there."""
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            return
        key = draw(st.sampled_from(keys))
        if isinstance(node[key], dict | list) and draw(st.integers(0, 3)):
            node = node[key]
            continue
        what = draw(st.sampled_from(["replace", "remove", "copy"]))
        if what == "replace":
            node[key] = draw(ANYTHING)
        elif what == "remove":
            del node[key]
        elif isinstance(node, list):
            node.append(node[key])
        else:
            node[draw(st.text(max_size=5))] = node[key]
        return


@given(mutated_trees())
@settings(max_examples=150, deadline=None)
def test_a_mutated_document_is_refused_or_read_whole(tree):
    refused_or_stable(dump(tree).encode(errors="surrogatepass"))


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_mutated_text_is_refused_or_read_whole(data):
    text = bytearray(GOOD.encode())
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(text) - 1))
        length = data.draw(st.integers(0, 30))
        text[at : at + length] = data.draw(st.binary(max_size=4) | st.sampled_from(list(TOKENS)))
    refused_or_stable(bytes(text))


TOKENS = (b"{", b"}", b"[", b"]", b": ", b"- ", b"\n", b"&a ", b"*a", b"!!x ", b"~", b"<<: ", b'"')


def refused_or_stable(text: bytes) -> None:
    try:
        desired = parse_desired(text)
    except ConfigError as error:
        told = error.problems
    else:
        told = None
    if told is not None:
        assert told
        assert all(str(problem).isprintable() for problem in told)
        return
    packed = msgspec.msgpack.encode(desired)
    assert msgspec.msgpack.decode(packed, type=Desired) == desired
    assert parse_desired(dump(msgspec.to_builtins(desired))) == desired
