"""checks/restart.py: whose loss a missing ping is."""

from types import SimpleNamespace

import pytest

from pcg.lab.checks.check import Failed
from pcg.lab.checks.restart import _ping_verdict


def ping(lost: int):
    return SimpleNamespace(lost=list(range(lost)), sent=100)


def test_none_lost():
    assert _ping_verdict(ping(0), gateway_is_clean=True) == "0 of 100 pings lost"


def test_a_few_lost_in_starved_hosts_are_not_the_gateways():
    said = _ping_verdict(ping(4), gateway_is_clean=True)
    assert said == "0 of 100 pings lost in the gateway, 4 in starved hosts"


@pytest.mark.parametrize("lost, clean", [(1, False), (11, True), (100, True)])
def test_what_the_gateway_counts_or_an_outage_is_a_failure(lost, clean):
    with pytest.raises(Failed, match=f"{lost} of 100 pings lost"):
        _ping_verdict(ping(lost), gateway_is_clean=clean)
