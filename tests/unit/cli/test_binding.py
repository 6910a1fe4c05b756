"""A binding is added to a document as people write them, and nothing else of it changes."""

import pytest

from pcg.cli.binding import with_binding
from pcg.model.errors import ConfigError
from pcg.model.load import parse_desired
from tests.unit.model.documents import GOOD

NEW = '{mac: "06:00:00:00:01:07", address: "10.1.0.107"}'
START = GOOD.index("  bindings: [")
SCOPES = GOOD.index("dhcp:\n")
END = GOOD.index("ha: {peer")
ONE = '{mac: "06:00:00:00:01:01", address: 10.1.0.9}'
LINES = "mac: 06:00:00:00:01:01\n    address: 10.1.0.9"

# fmt: off
WRITTEN = [
    # how                              bindings of the scope
    ("in one line",                    f"  bindings: [{ONE}] # why\n"),
    ("an empty list",                  "  bindings: []\n"),
    ("over lines, in brackets",        f"  bindings: [\n    {ONE}\n  ]\n"),
    ("as items",                       f"  bindings:\n  - {ONE} # why\n"),
    ("as items, indented",             f"  bindings: # why\n    - {ONE}\n    # the end\n"),
    ("as items of lines",              f"  bindings:\n  - {LINES}\n"),
    ("none",                           ""),
    ("the key alone",                  "  bindings:\n"),
    ("none, a comment after",          "  # no bindings yet\n"),
]
# fmt: on


def macs(text):
    (scope,) = parse_desired(text).dhcp
    return [b.mac for b in scope.bindings]


@pytest.mark.parametrize("how, bindings", WRITTEN, ids=[w[0] for w in WRITTEN])
@pytest.mark.parametrize("last", [False, True], ids=["in the middle", "at the end"])
def test_it_is_added_whatever_the_style(how, bindings, last):
    text = GOOD[:START] + bindings + GOOD[END:]
    if last:
        text = GOOD[:SCOPES] + GOOD[END:] + GOOD[SCOPES:START] + bindings
    made = with_binding(text, "lan", NEW, "f.yaml")
    assert macs(made) == [*macs(text), "06:00:00:00:01:07"]
    kept = [line for line in text.splitlines() if "bindings" not in line and ONE not in line]
    assert [line for line in made.splitlines() if line in kept] == kept


def test_a_scope_in_braces():
    flow = "dhcp:\n- {id: lan, vrf: red, pools: [{first: 10.1.0.100, last: 10.1.0.199}]}\n"
    made = with_binding(GOOD[:SCOPES] + flow + GOOD[END:], "lan", NEW, "f.yaml")
    assert macs(made) == ["06:00:00:00:01:07"]


def test_a_file_without_a_line_break_at_its_end():
    text = GOOD[:SCOPES] + GOOD[END:] + GOOD[SCOPES:START].rstrip("\n")
    assert macs(with_binding(text, "lan", NEW, "f.yaml")) == ["06:00:00:00:01:07"]


def test_what_would_be_wrong_is_refused():
    taken = '{mac: "06:00:00:00:01:07", address: "10.1.0.9"}'
    with pytest.raises(ConfigError, match=r"dhcp\[lan\]\.bindings\[2\]\.address: 10.1.0.9"):
        with_binding(GOOD, "lan", taken, "f.yaml")
    with pytest.raises(ConfigError, match="dhcp: nowhere is not in this file"):
        with_binding(GOOD, "nowhere", NEW, "f.yaml")
    with pytest.raises(ConfigError):
        with_binding("dhcp: [", "lan", NEW, "f.yaml")
