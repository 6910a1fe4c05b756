"""NAT behaviour discovery (RFC 5780) by a client and a server that are not ours."""

import contextlib
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from pcg.lab import stun
from pcg.lab.lab import Lab
from pcg.model.desired import Desired, Filtering
from tests.waiting import wait_until

EVERYBODY, KNOWN = "Endpoint Independent", "Address Dependent"


@pytest.fixture(scope="module")
def asked(lab: Lab) -> Iterator[None]:
    with stun.server(lab.layout):
        yield


@contextlib.contextmanager
def open_to_strangers(lab: Lab) -> Iterator[None]:
    """The rule out-t1."""
    found = lab.desired
    nat = [
        replace(n, filtering=Filtering.ENDPOINT_INDEPENDENT) if n.id == "out-t1" else n
        for n in found.nat
    ]
    published(lab, replace(found, nat=tuple(nat)))
    try:
        yield
    finally:
        published(lab, found)


def published(lab: Lab, desired: Desired) -> None:
    """And in force."""
    before = lab.ask.totals()["revision"]
    lab.publish(lambda _: desired)
    wait_until(lambda: lab.ask.totals()["revision"] > before, "the new policy")


def test_rfc4787_req1_and_req8_by_default(lab: Lab, asked: None):
    """RFC 4787 REQ-1."""
    seen = stun.discover(lab.layout.workload_ns("web1"))
    assert (seen.mapping, seen.filtering) == (EVERYBODY, KNOWN)
    assert seen.seen_as == lab.layout.public("eip-t1")[0]


def test_rfc4787_req8_and_req9_where_the_rule_lets_strangers_in(lab: Lab, asked: None):
    """RFC 4787 REQ-8."""
    with open_to_strangers(lab):
        seen = stun.discover(lab.layout.workload_ns("web1"), hairpin=True)
    assert (seen.mapping, seen.filtering, seen.hairpin) == (EVERYBODY, EVERYBODY, True)


def test_an_elastic_ip_of_its_own_is_open(lab: Lab, asked: None):
    """REFLEXIVE: whom the firewall lets in. app1 dials itself, and is not shut out either."""
    seen = stun.discover(lab.layout.workload_ns("app1"), hairpin=True)
    assert seen == (EVERYBODY, EVERYBODY, True, lab.layout.public("eip-app")[0])
