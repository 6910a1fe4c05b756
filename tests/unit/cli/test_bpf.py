"""Filters in tcpdump's syntax: what is wrong with one is said, and where."""

import pytest

from pcg.cli import bpf

WRONG = [
    # expression            column it names, or None     words
    ("tcp port 80 foo bar", 13, "syntax error"),
    ("tcp and and udp", 9, "syntax error"),
    ("tcp) and udp", 4, "syntax error"),
    ("nosuch", 1, "syntax error"),
    ("tcp port 80 &&& udp", 13, "syntax error"),
    ("portrange 1-", 11, "syntax error"),
    ("host 1.2.3.4 1.2.3.5", 14, "syntax error"),
    ("tcp and", 8, "stops short"),
    ("host", 5, "stops short"),
    ("(tcp and port 80", 17, "stops short"),
    ("ip[0]", 6, "stops short"),
    ("not", 4, "stops short"),
    ("host 300.1.2.3", None, "300.1.2.3"),
    ("host web1.invalid", None, "filters take addresses, not our names"),
    ("port 99999", None, "99999"),
    ("net 10.0.0.0/33", None, "mask length"),
    ("ip[0:5] = 3", None, "data size must be 1, 2, or 4"),
    ("proto nosuch", None, "nosuch"),
    ("inbound", None, "--direction"),
    ("tcp or outbound", None, "--direction"),
    ("tcp\0", None, "zero byte"),
]


@pytest.mark.parametrize("expression, column, words", WRONG, ids=str)
def test_what_is_wrong(expression, column, words):
    with pytest.raises(bpf.FilterError) as caught:
        bpf.compiled(expression)
    text = str(caught.value)
    assert words in text
    if column is None:
        assert "column" not in text
        return
    assert "column" not in text or f"column {column}:" in text
    *_, shown, mark = text.splitlines()
    assert shown == f"  {expression}"
    assert mark.index("^") == 2 + column - 1


@pytest.mark.parametrize("expression", ["", "  "])
def test_nothing_is_every_frame(expression):
    assert bpf.compiled(expression) == b""


def test_a_program_is_whole_instructions_and_ends_with_a_return():
    program = bpf.compiled("tcp and not port 22")
    assert len(program) % 8 == 0
    assert program[-8] & 7 == 6
    assert program == bpf.compiled("tcp and not port 22")
