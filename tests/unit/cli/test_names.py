"""Names of workloads and public addresses, as the gateway tells them."""

import pytest

from pcg.cli.names import Place, place
from pcg.model.errors import BackendError
from tests.unit.cli.fake import FakeLook

DESIRED = {
    "segments": [{"id": "web", "vrf": "blue"}, {"id": "web-red", "vrf": "red"}],
    "ports": [
        {"id": "p1", "instance": "i-web", "segment": "web", "addresses": ["10.1.0.10"]},
        {"id": "p2", "segment": "web", "addresses": ["10.1.0.8", "10.1.0.9"]},
        {"id": "p3", "instance": "i-dhcp", "segment": "web", "addresses": []},
        {"id": "p4", "instance": "i-web", "segment": "web-red", "addresses": ["10.1.0.10"]},
    ],
    "public_addresses": [{"id": "eip", "vrf": "blue", "address": "52.1.1.1"}],
}
LEASES = [{"vrf": "blue", "address": "10.1.0.77", "port": "p3"}]


@pytest.fixture
def look():
    look = FakeLook()
    look.answers = {"desired": DESIRED, "leases": LEASES}
    return look


FOUND = [
    # word, VRF     where it is
    ("10.1.0.10", "", Place("10.1.0.10")),
    ("p1", "", Place("10.1.0.10", "blue")),
    ("i-web", "red", Place("10.1.0.10", "red")),
    ("i-dhcp", "", Place("10.1.0.77", "blue")),
    ("eip", "", Place("52.1.1.1", "blue", True)),
]


@pytest.mark.parametrize("word, vrf, where", FOUND)
def test_a_name_has_its_place(look, word, vrf, where):
    assert place(look, word, vrf) == where


WRONG = [
    ("i-web", "has several addresses.*10.1.0.10 of blue, 10.1.0.10 of red"),
    ("p2", "has several addresses.*10.1.0.8 of blue, 10.1.0.9 of blue"),
    ("nobody", "is no IPv4 address, nor the name of a workload"),
    ("10.1.0", "is no IPv4 address"),
]


@pytest.mark.parametrize("word, why", WRONG)
def test_what_has_none_or_several(look, word, why):
    with pytest.raises(BackendError, match=why):
        place(look, word)


def test_a_vrf_that_does_not_exist_is_said_and_not_that_the_name_is_none(look):
    for word in "p1", "10.1.0.10":
        with pytest.raises(BackendError, match="vrf nix: does not exist; there are: blue, red"):
            place(look, word, "nix")


def test_without_the_gateway_addresses_alone_are_known(look, monkeypatch):
    def absent(_op):
        raise BackendError("gateway", "is not there")

    monkeypatch.setattr(look, "ask_gateway", absent)
    assert place(look, "10.1.0.10") == Place("10.1.0.10")
    with pytest.raises(BackendError, match="names are the gateway's to know"):
        place(look, "i-web")
