"""pcgctl on a gateway that forwards: every table has rows, and README's examples say something."""

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from pcg.cli.show import show
from pcg.lab import ns
from pcg.lab.clients import curl
from pcg.lab.lab import Lab
from pcg.lab.layout import HTTP, INTERNET

README = (Path(__file__).parents[2] / "README.md").read_text()
TWINS = ("web1", "t2-web1")  # the same address in two VRFs


@pytest.fixture(scope="module", autouse=True)
def _sessions(lab: Lab) -> None:
    for workload in TWINS:
        curl(lab.layout.workload_ns(workload), f"http://{INTERNET}:{HTTP}/")


@pytest.mark.parametrize("what", sorted(set(show.commands) - {"drops", "realised", "shortages"}))
def test_every_table_has_rows(lab: Lab, what: str):
    rows = lab.ask.show(what)
    assert rows
    assert len(lab.ask.text("show", what).splitlines()) >= 3 + len(rows)


def test_every_reason_has_its_row(lab: Lab):
    assert "NO_ROUTE" in lab.ask.text("show", "drops", "--all")


def test_realised_is_what_was_asked_for(lab: Lab):
    assert lab.ask.realised()["errors"] == []
    assert "controller.link" in lab.ask.text("show", "realised")


@pytest.mark.parametrize("workload, vrf", [("web1", "t1"), ("t2-web1", "t2")])
def test_twins_in_two_vrfs_have_their_own_sessions(lab: Lab, workload: str, vrf: str):
    address = lab.layout.port(workload).addresses[0]
    ends = ("fwd_src", "fwd_dst", "rev_src", "rev_dst")
    sessions = [s for s in lab.ask.show("sessions") if s["vrf"] == vrf]
    (shown,) = [w for w in lab.ask.show("workloads") if w["id"] == workload]
    assert shown["programmed"]
    assert shown["sessions"] == len([s for s in sessions if address in [s[e] for e in ends]]) > 0


def test_readme_names_every_table():
    named = re.search(r"pcgctl show (\S+)", README)[1]
    assert set(named.split("|")) == set(show.commands)


def test_readmes_explain_works(lab: Lab):
    words = shlex.split(re.search(r"pcgctl (explain .*)", README)[1])
    assert "=> sent by the uplink" in lab.ask.text(*words)


def test_readmes_why_finds_the_session(lab: Lab):
    curl(lab.layout.workload_ns("app1"), f"http://{INTERNET}:{HTTP}/")
    words = shlex.split(re.search(r"pcgctl (why .*)", README)[1], comments=True)
    told = lab.ask.text(*words)
    assert "by NAT rule app-own" in told
    assert "would be sent by the uplink" in told
    assert "do          packets go both ways here" in told


def test_why_names_the_drop_of_a_flow_that_was_refused(lab: Lab):
    """The secondary address of the web server takes port 80 and nothing else."""
    elastic, _ = lab.layout.public("eip-web")
    with pytest.raises(ns.CommandError):
        curl(lab.layout.ns("inet"), f"http://{elastic}:81/", "--max-time", "0.5")
    told = json.loads(lab.ask.text("why", INTERNET, elastic, "tcp", "81", "--json"))
    assert told["reason"] == "NO_DNAT"
    assert [d["reason"] for d in told["drops"]] == ["NO_DNAT"]
    assert dict(told["rules"])["NAT"] == "no rule"


def test_readmes_trace_shows_a_packet(lab: Lab):
    words = shlex.split(re.search(r"pcgctl (trace .*)", README)[1], comments=True)
    argv = lab.ask.argv(*words)
    space, url = lab.layout.workload_ns("web1"), f"http://{INTERNET}:{HTTP}/"
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as trace:
        while trace.poll() is None:  # until it has begun to look, there is nothing to see
            curl(space, url)
        assert trace.stdout.read().count("=> sent by the") == 3
