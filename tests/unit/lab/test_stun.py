"""What turnutils_natdiscovery prints, for NATs of every kind."""

import pytest

from pcg.lab.ns import CommandError
from pcg.lab.stun import Behaviour, read

SEEN = "6: : IPv4. UDP reflexive addr: 203.0.113.11:30025\n"
RULE = "========================================\n"


def words(mapping: str, filtering: str) -> str:
    return f"{SEEN}{RULE}NAT with {mapping} Mapping!\n{RULE}{SEEN}NAT with {filtering} Filtering!\n"


@pytest.mark.parametrize(
    "kind", ["Endpoint Independent", "Address Dependent", "Address and Port Dependent"]
)
def test_each_kind_is_told_apart(kind):
    assert read(words(kind, "X")) == Behaviour(kind, "X", False, "203.0.113.11")
    assert read(words("X", kind)) == Behaviour("X", kind, False, "203.0.113.11")


def test_a_hairpin_that_came():
    came = "Received a request (maybe a successful hairpinning)\n"
    assert read(came + words("X", "Y")).hairpin


@pytest.mark.parametrize(
    "said",
    [
        "",
        SEEN + "STUN receive timeout..\n",
        words("X", "Y").replace("NAT with X Mapping!", ""),
        words("X", "Y").replace("203.0.113.11", "203.0.113.12", 1),
    ],
    ids=["nothing", "no answer", "half", "seen as two"],
)
def test_what_is_no_result_is_an_error(said):
    with pytest.raises(CommandError):
        read(said)
