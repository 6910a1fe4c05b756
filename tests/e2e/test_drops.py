"""Frames that really end, each somewhere else: one ledger has them all, and so do the metrics."""

import contextlib
import json
import socket
from collections import Counter

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from pcg.lab import ns
from pcg.lab.checks.ledger import PROVOKED
from pcg.lab.frames import send
from pcg.lab.lab import Lab
from pcg.lab.layout import INTERNET, PCG_MACS, STRANGER, UPLINK_ROUTER
from tests.e2e.scrape import management, scraped
from tests.waiting import wait_until

TELNET = 23
UNWANTED = 0x88B5  # EtherType for local experiments; nobody on the gateway listens to it
NOBODYS = (
    ("nftables", "uplink", "uplink_not_owned"),
    ("nftables", "uplink", "uplink_ipv6"),
    ("nftables", "downlink", "downlink_not_owned"),
    ("kernel", "host", "IpInAddrErrors"),
    ("kernel", "host", "Ip6InDiscards"),
)
REASONS = ("TEP_UNKNOWN", "SOURCE_SPOOFED", "VNI_UNKNOWN", "NO_ROUTE", "NO_NAT")


def in_the_datapath(lab: Lab) -> None:
    """One packet for each of the reasons, and one that a firewall rule denies."""
    build = {reason: frame for reason, _, frame in PROVOKED}
    for reason in REASONS:
        send(lab.layout, build[reason](lab).frame(lab.layout))
    _, secondary = lab.layout.public("eip-app")
    syn = IP(src=INTERNET, dst=secondary) / TCP(sport=1025, dport=TELNET, flags="S")
    frame = Ether(src=UPLINK_ROUTER[1], dst=PCG_MACS["up0"]) / syn
    send(lab.layout, bytes(frame), space="igw", device="vpc0")


def for_nobody_here(lab: Lab) -> None:
    """To our MACs, for addresses that nobody knows; counted by nftables, ended by the kernel."""
    way = {"src": UPLINK_ROUTER[1], "dst": PCG_MACS["up0"]}
    forgotten = IP(src=INTERNET, dst="10.99.1.99") / UDP(dport=9)
    ipv6 = IPv6(src="2001:db8::1", dst="2001:db8::2") / UDP(dport=9)
    frames = [bytes(Ether(**way) / packet) for packet in (forgotten, ipv6)]
    send(lab.layout, *frames, space="igw", device="vpc0")
    bare = Ether(src=STRANGER[1], dst=PCG_MACS["down0"])
    send(lab.layout, bytes(bare / IP(src=STRANGER[0], dst="10.99.2.99") / UDP(dport=9)))


def by_the_hosts_firewall(lab: Lab) -> None:
    with contextlib.suppress(OSError), ns.inside(lab.layout.ns("svc")):
        socket.create_connection((management(lab), TELNET), timeout=0.5).close()


def in_the_interface(lab: Lab) -> None:
    mac = ns.run("cat", "/sys/class/net/mgmt0/address", ns=lab.layout.ns("pcg")).strip()
    frame = Ether(dst=mac, type=UNWANTED) / bytes(50)
    send(lab.layout, bytes(frame), space="svc", device=_device_towards(lab))


def _device_towards(lab: Lab) -> str:
    words = ns.run("ip", "route", "get", management(lab), ns=lab.layout.ns("svc")).split()
    return words[words.index("dev") + 1]


@pytest.fixture(scope="module")
def ledger(lab: Lab) -> dict[tuple[str, str, str], dict]:
    """(source, where, reason) -> its row, once everything that was provoked is in it."""
    wait_until(
        lambda: ("interface", "mgmt0", "rx_dropped") in rows(lab, "--all"), "the first reading"
    )
    before = counts(lab)
    in_the_datapath(lab)
    by_the_hosts_firewall(lab)
    in_the_interface(lab)
    for_nobody_here(lab)
    wanted = [("datapath", "downlink", reason) for reason in REASONS]
    wanted += [
        ("datapath", "uplink", "FIREWALL_DENIED"),
        ("nftables", "input", "input_management"),
        ("interface", "mgmt0", "rx_dropped"),
        *NOBODYS,
    ]

    def there():
        now = counts(lab)
        return rows(lab) if all(now[k] > before[k] for k in wanted) else None

    return wait_until(there, "every drop in the ledger")


def listed(lab: Lab, *more: str) -> list[dict]:
    return json.loads(lab.ask.text("drops", "--over", "0", "--json", *more))


def key(row: dict) -> tuple[str, str, str]:
    return row["source"], row["where"], row["reason"]


def counts(lab: Lab) -> Counter[tuple[str, str, str]]:
    """Of all segments together: a workload of another one may have been refused before."""
    found: Counter[tuple[str, str, str]] = Counter()
    for row in listed(lab):
        found[key(row)] += row["packets"]
    return found


def rows(lab: Lab, *more: str) -> dict[tuple[str, str, str], dict]:
    """Rows of one kind but of several segments: the one seen last."""
    found = sorted(listed(lab, *more), key=lambda row: row["last"] or 0)
    return {key(row): row for row in found}


@pytest.fixture(scope="module")
def metrics(lab: Lab, ledger) -> dict[tuple, float]:
    return scraped(lab)


def test_a_firewall_rule_by_its_name(ledger, metrics):
    row = ledger["datapath", "uplink", "FIREWALL_DENIED"]
    assert (row["rule"], row["vrf"]) == ("telnet-in", "t1")
    assert row["example"]["destination_name"] == "eip-app"
    assert row["example"]["source"] == f"{INTERNET}:1025"
    assert metrics["pcg_datapath_drops_total", "FIREWALL_DENIED", "uplink"] >= row["packets"]
    assert metrics["pcg_firewall_rule_hits_total", "telnet-in"] >= row["packets"]


def test_segment_and_workload_by_their_names(lab: Lab, ledger):
    row = ledger["datapath", "downlink", "NO_NAT"]
    port = lab.layout.port("probe-backend")
    assert (row["vrf"], row["segment"]) == ("t1", "backend")
    assert row["example"]["source"] == port.addresses[0]
    assert row["example"]["source_name"] == (port.instance or port.id)
    assert row["example"]["tep"] == port.tep


@pytest.mark.parametrize("reason", REASONS)
def test_the_datapaths_reasons(ledger, metrics, reason):
    row = ledger["datapath", "downlink", reason]
    assert row["packets"] >= 1
    assert row["first"] <= row["last"]
    assert len(row["example"]["frame"]) > 2 * 50
    assert row["means"]
    assert row["advice"]
    assert metrics["pcg_datapath_drops_total", reason, "downlink"] >= row["packets"]


def test_the_hosts_firewall(ledger, metrics):
    row = ledger["nftables", "input", "input_management"]
    assert row["last"] is not None
    assert metrics["pcg_nftables_drops_total", "input_management"] >= row["packets"]


@pytest.mark.parametrize("source, where, reason", NOBODYS)
def test_what_is_for_nobody_here(ledger, metrics, source, where, reason):
    row = ledger[source, where, reason]
    assert row["first"] <= row["last"]
    assert row["means"]
    assert row["advice"]
    assert metrics[f"pcg_{source}_drops_total", reason] >= row["packets"]


def test_an_interface(ledger, metrics):
    row = ledger["interface", "mgmt0", "rx_dropped"]
    assert row["last"] is not None
    drops = metrics["pcg_interface_drops_total", "rx_dropped", "mgmt0", "management"]
    assert drops >= row["packets"]


def test_for_people(lab: Lab, ledger):
    text = lab.ask.text("drops")
    assert "telnet-in" in text
    assert "(eip-app)" in text
    assert "put an ALLOW rule before it" in text


def test_what_comes_while_the_datapath_is_away(lab: Lab, ledger):
    """It ends in the rules that keep the kernel from it, and is no secret afterwards."""
    _, secondary = lab.layout.public("eip-app")
    frame = Ether(src=UPLINK_ROUTER[1], dst=PCG_MACS["up0"]) / IP(src=INTERNET, dst=secondary)
    tunnelled = next(build for reason, _, build in PROVOKED if reason == "NO_NAT")(lab)

    def lost(where: str) -> int:
        return counts(lab)["nftables", where, f"{where}_datapath_away"]

    before = lost("uplink")
    lab.programs.kill("datapath")
    # One after the other: when it is noticed is not ours to say, nor how many until then.
    wait_until(lambda: _lost_more(lab, bytes(frame), lost, before), "a frame noticed as lost")
    seen = lost("downlink")
    send(lab.layout, *[tunnelled.frame(lab.layout)] * 10)
    wait_until(lambda: lost("downlink") >= seen + 10, "all of the tunnel's frames lost")
    lab.programs.start("datapath")
    lab.wait_settled()
    row = rows(lab)["nftables", "downlink", "downlink_datapath_away"]
    assert row["first"] <= row["last"]
    back, owned = lost("uplink"), steered(lab)
    send(lab.layout, *[bytes(frame)] * 10, space="igw", device="vpc0")
    wait_until(lambda: steered(lab) >= owned + 10, "frames that it takes again")
    assert lost("uplink") == back


def steered(lab: Lab) -> int:
    return rows(lab, "--all")["nftables", "uplink", "uplink_owned"]["packets"]


def _lost_more(lab: Lab, frame: bytes, lost, before: int) -> bool:
    send(lab.layout, frame, space="igw", device="vpc0")
    return lost("uplink") > before
