"""Large packets through a real gateway: fragments, jumbo inside and 1500 outside, self-test.

The workloads' interfaces have 8943 bytes, the Internet 1500; between them lie the gateway (9001 on
both sides) and the Internet gateway, which alone sees both.
"""

import contextlib
import json
import random
import socket
import subprocess
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from pcg.lab import ns
from pcg.lab.clients import download, ping_once, upload
from pcg.lab.lab import Lab
from pcg.lab.layout import HTTP, INTERNET
from pcg.model.desired import Gateway
from tests.e2e.scrape import scraped
from tests.waiting import wait_until

URL = f"http://{INTERNET}:{HTTP}"
NO_ICMP = """
table inet pcg_test {
  chain in { type filter hook input priority 0; icmp type destination-unreachable drop; }
}
"""


@contextlib.contextmanager
def without_icmp_errors(*spaces: str) -> Iterator[None]:
    for space in spaces:
        ns.run("nft", "-f", "-", ns=space, stdin=NO_ICMP)
    try:
        yield
    finally:
        for space in spaces:
            ns.run("nft", "delete", "table", "inet", "pcg_test", ns=space)


@contextlib.contextmanager
def narrow_uplink(lab: Lab, **given) -> Iterator[None]:
    whole = lab.desired.gateway

    def in_force(gateway: Gateway) -> None:
        lab.publish(lambda desired: replace(desired, gateway=gateway))
        wait_until(lambda: uplink_mtu(lab) == gateway.interfaces.uplink.mtu, "the new MTU")

    uplink = replace(whole.interfaces.uplink, mtu=1500)
    in_force(replace(whole, interfaces=replace(whole.interfaces, uplink=uplink), **given))
    try:
        yield
    finally:
        in_force(whole)


def uplink_mtu(lab: Lab) -> int:
    (nic,) = [nic for nic in lab.ask.show("nics") if nic["role"] == "uplink"]
    return int(ns.run("cat", f"/sys/class/net/{nic['name']}/mtu", ns=lab.layout.ns("pcg")))


@pytest.fixture
def web(lab: Lab) -> str:
    return lab.layout.workload_ns("web1")


@pytest.mark.parametrize("size", [9000, 60_000])
def test_ping_of_many_fragments_outwards_and_back(lab: Lab, web: str, size: int):
    before = lab.ask.totals()["joined"]
    ping_once(web, INTERNET, "-s", str(size))
    assert lab.ask.totals()["joined"] > before


def test_ping_of_many_fragments_between_hosts_of_the_overlay(lab: Lab):
    """A bare host sends all through the gateway, and a distributed one answers directly."""
    bare = next(p for p in lab.desired.ports if p.tep == lab.hosts["h4"].site.tep)
    app = lab.layout.port("app1").addresses[0]
    ping_once(lab.layout.workload_ns(bare.id), app, "-s", "30000")


def udp_socket(space: str, address: str) -> socket.socket:
    with ns.inside(space):
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((address, 0))
    made.settimeout(5)
    return made


def udp_both_ways(lab: Lab, web: str, size: int) -> None:
    """A datagram out and another one back, byte for byte."""
    there, back = random.Random(size).randbytes(size), random.Random(-size).randbytes(size)
    inside, outside = udp_socket(web, ""), udp_socket(lab.layout.ns("inet"), INTERNET)
    with inside, outside:
        inside.sendto(there, outside.getsockname())
        got, peer = outside.recvfrom(65535)
        assert (got == there, peer[0]) == (True, lab.layout.public("eip-t1")[0])
        outside.sendto(back, peer)
        got, peer = inside.recvfrom(65535)
        assert (got == back, peer) == (True, outside.getsockname())


@pytest.mark.parametrize("size", [9000, 60_000])
def test_udp_of_60_kb_both_ways_in_fragments(lab: Lab, web: str, size: int):
    """Jumbo inside, 1500 behind the Internet gateway; then the gateway's own uplink is 1500."""
    before = lab.ask.totals()
    udp_both_ways(lab, web, size)
    joined = lab.ask.totals()["joined"] - before["joined"]
    assert (
        joined >= size // 9000 + size // 1500 - 2
    )  # pieces that went into one, of both directions
    with narrow_uplink(lab):
        made = lab.ask.totals()["made"]
        udp_both_ways(lab, web, size)
        assert lab.ask.totals()["made"] - made >= size // 1500


def transfers(lab: Lab, web: str) -> None:
    assert download(web, f"{URL}/blob").digest == lab.services.digest()
    assert upload(web, f"{URL}/upload", lab.services.blob).digest == lab.services.digest()


def test_jumbo_inside_and_1500_outside_with_icmp(lab: Lab, web: str):
    transfers(lab, web)


def test_jumbo_inside_and_1500_outside_without_icmp(lab: Lab, web: str):
    """Neither end hears of the path's MTU: only the clamped MSS lets a transfer through.

    The uplink's MTU is the Internet's, as the operator says it where ICMP cannot be relied on.
    """
    with without_icmp_errors(web, lab.layout.ns("inet")), narrow_uplink(lab):
        transfers(lab, web)


def test_without_the_clamp_it_stands_still(lab: Lab, web: str):
    """So the test before this one shows what it says."""
    sent = ("-sS", "--max-time", "2", "-T", str(lab.services.blob), f"{URL}/upload")

    def stands_still() -> bool:  # once the path, too, has been told
        try:
            ns.run("curl", *sent, ns=web)
        except ns.CommandError as error:
            return "timed out" in str(error)
        return False

    with without_icmp_errors(web, lab.layout.ns("inet")), narrow_uplink(lab, mss_clamp=False):
        wait_until(stands_still, "a transfer that stands still")


def selftest(lab: Lab) -> tuple[int, dict[str, dict]]:
    """Its exit code, and a row for each tunnel endpoint."""
    argv = ["ip", "netns", "exec", lab.layout.ns("pcg"), *lab.ask.argv("test", "mtu", "--json")]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.stdout, done.stderr
    return done.returncode, {row["address"]: row for row in json.loads(done.stdout)}


def verdicts(lab: Lab, rows: dict[str, dict]) -> dict[str, tuple[str, str]]:
    """Of the hosts with a workload that has an address: of the underlay, and of the tunnel."""
    behind = {p.tep for p in lab.desired.ports if p.addresses}
    real = {h.site.name: h.site.tep for h in lab.hosts.values() if h.site.tep in behind}
    return {name: (rows[tep]["underlay"], rows[tep]["tunnel"]) for name, tep in real.items()}


def test_the_self_test_goes_through_every_tunnel(lab: Lab):
    code, rows = selftest(lab)
    assert set(verdicts(lab, rows).values()) == {("passes", "passes")}
    assert code == 0
    for host in ("h1", "h4"):  # of either kind: routing at the source, and not
        row = rows[lab.hosts[host].site.tep]
        assert row["tunnel_largest"] == row["tunnel_mtu"] == row["mtu"] == 9001
        assert row["workload"] in {a for p in lab.desired.ports for a in p.addresses}


@contextlib.contextmanager
def swallow_large_packets(lab: Lab, narrow: dict[str, int]) -> Iterator[None]:
    """The underlay before these hosts, without a word about it. A bridge becomes as narrow as its
    narrowest port, and with it the way to the other zone, unless somebody has said how wide."""
    sites, vpc = [lab.hosts[host].site for host in narrow], lab.layout.ns("vpc")
    for site in sites:
        ns.ip(f"link set {site.name} mtu {narrow[site.name]}", vpc)
        ns.ip(f"link set br-{site.zone} mtu 9001", vpc)
    try:
        yield
    finally:
        for site in sites:
            ns.ip(f"link set {site.name} mtu 9001", vpc)


def test_the_self_test_finds_what_is_lost_on_the_way_back(lab: Lab):
    """A router before us is narrow. Ping's answers come in fragments, tunnel packets not at all."""
    far = lab.hosts["h5"].site
    vpc = lab.layout.ns("vpc")
    ns.ip("link set br-a mtu 1500", vpc)
    try:
        code, rows = selftest(lab)
    finally:
        ns.ip("link set br-a mtu 9001", vpc)
    assert verdicts(lab, rows)["h5"] == ("passes", "loses")
    assert "in the tunnel" in rows[far.tep]["conclude"]
    assert code == 1


def test_the_self_test_says_the_same_again_of_what_the_underlay_told(lab: Lab):
    """The first run's own large packets make the VPC's router tell the datapath and our kernel."""
    far, vpc = lab.hosts["h5"].site, lab.layout.ns("vpc")
    ns.ip(f"link set br-{far.zone} mtu 1500", vpc)
    try:
        runs = [selftest(lab) for _ in range(2)]
    finally:
        ns.ip(f"link set br-{far.zone} mtu 9001", vpc)
    for code, rows in runs:
        assert verdicts(lab, rows)["h5"] == ("loses", "loses")
        assert (rows[far.tep]["mtu"], rows[far.tep]["told"]) == (9001, 1500)
        assert "says that 1500 bytes pass" in rows[far.tep]["conclude"]
        assert code == 1


def test_the_self_test_names_who_silently_loses_large_packets(lab: Lab):
    narrow = {"h2": 1500, "h4": 1600}
    with swallow_large_packets(lab, narrow):
        code, rows = selftest(lab)
    found = verdicts(lab, rows)
    assert {host for host in found if found[host] == ("loses", "loses")} == narrow.keys()
    assert {found[host] for host in found.keys() - narrow} == {("passes", "passes")}
    for host, mtu in narrow.items():
        row = rows[lab.hosts[host].site.tep]
        assert mtu - 8 <= row["underlay_largest"] <= mtu
        assert mtu - 8 <= row["tunnel_largest"] <= mtu
    assert code == 1


def test_the_self_test_names_a_tunnel_that_the_underlay_says_nothing_of(lab: Lab):
    """The host answers ping of any size; what it hands to its workload has become narrow."""
    host = lab.hosts["h2"]
    ns.ip("link set nsx-eth0 mtu 1500", host.root_ns)
    try:
        code, rows = selftest(lab)
    finally:
        ns.ip("link set nsx-eth0 mtu 8943", host.root_ns)
    found = verdicts(lab, rows)
    assert found.pop("h2") == ("passes", "loses")
    assert set(found.values()) == {("passes", "passes")}
    assert 1500 + 50 <= rows[host.site.tep]["tunnel_largest"] <= 1500 + 58 + 4  # veth is generous
    assert code == 1


def test_a_path_mtu_that_the_underlay_tells(lab: Lab):
    """h5 is behind the VPC's router; its link there narrows, and the router says so."""
    h5, vpc = lab.hosts["h5"].site, lab.layout.ns("vpc")
    workload = next(p for p in lab.desired.ports if p.tep == h5.tep)
    space = lab.layout.workload_ns(workload.id)
    ns.ip(f"link set br-{h5.zone} mtu 1500", vpc)
    try:

        def told() -> list[int]:
            with contextlib.suppress(ns.CommandError):
                ping_once(space, INTERNET, "-s", "4000", count=1)
            rows = lab.ask.show("teps")
            return [r["path_mtu"] for r in rows if r["address"] == h5.tep and r["path_mtu"]]

        assert wait_until(told, "the path MTU") == [1500]
        assert scraped(lab)["pcg_tunnel_endpoints_narrow",] >= 1
    finally:
        ns.ip(f"link set br-{h5.zone} mtu 9001", vpc)
