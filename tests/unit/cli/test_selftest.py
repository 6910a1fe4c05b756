"""`pcgctl test mtu`: what it asks of each tunnel endpoint, and what it concludes."""

import struct
from socket import inet_aton

import pytest
from scapy.contrib.geneve import GENEVE
from scapy.layers.inet import ICMP, IP

from pcg.cli import probe, selftest
from pcg.cli.probe import Search, UnderlayProber, checksum, echo
from pcg.cli.tunnel_probe import TunnelProber, doors
from pcg.model.errors import BackendError
from tests.unit.cli import fake
from tests.unit.cli.fake import captured

PASSES, TOLD = "10.99.0.2", "10.99.0.3"  # fake.py: the underlay told 1500 of the second


def pretended(kind, limits: dict[str, int]):
    """A network that silently loses what is longer than the endpoint's limit."""

    class Prober(kind):
        def __init__(self, *given):
            probe.Prober.__init__(self)
            assert "10.99.0.1" in given
            self.doors = given[-1] if kind is TunnelProber else {}

        def __exit__(self, *_exc):
            pass

        def round(self, sizes):
            return {a for a, size in sizes.items() if size <= limits[a]}

    return Prober


@pytest.fixture
def run(pcgctl, monkeypatch):
    def call(code=0, *, first=9001, second=9001, first_in=9001, second_in=9001):
        outer, inner = {PASSES: first, TOLD: second}, {PASSES: first_in, TOLD: second_in}
        monkeypatch.setattr(selftest, "UnderlayProber", pretended(UnderlayProber, outer))
        monkeypatch.setattr(selftest, "TunnelProber", pretended(TunnelProber, inner))
        return {r["address"]: r for r in pcgctl("test", "mtu", as_json=True, code=code)}

    return call


def test_each_at_its_own_mtu(run):
    """The tunnel's is no more than what its segments' longest packets make."""
    keys = ("mtu", "underlay", "underlay_largest", "tunnel_mtu", "tunnel", "tunnel_largest")
    assert {a: tuple(r[key] for key in keys) for a, r in run().items()} == {
        PASSES: (9001, "passes", 9001, 9001, "passes", 9001),
        TOLD: (9001, "passes", 9001, 8993, "passes", 8993),
    }


def test_what_the_underlay_has_told_hides_no_loss(run):
    """Asked at what was told, everything would pass."""
    row = run(code=1, second=1500, second_in=1500)[TOLD]
    assert (row["mtu"], row["told"], row["underlay"], row["tunnel"]) == (9001, 1500, *["loses"] * 2)
    assert 1500 - probe.STEP < row["underlay_largest"] <= 1500
    assert row["conclude"].startswith("the underlay or a route here says that 1500 bytes pass")


def test_what_the_underlay_told_of_and_no_longer_loses_is_no_fault(run):
    row = run()[TOLD]
    assert (row["told"], row["conclude"]) == (1500, "")


def test_what_our_kernel_was_told_counts_as_well(run, monkeypatch):
    """It learns from the pings on the underlay, and the gateway goes by it."""
    teps = [t._replace(mtu=1400) for t in fake.TABLES["teps"]]
    monkeypatch.setitem(fake.TABLES, "teps", teps)
    rows = run(code=1, first=1400)
    assert {a: (r["mtu"], r["told"], r["underlay"]) for a, r in rows.items()} == {
        PASSES: (9001, 1400, "loses"),
        TOLD: (9001, 1400, "passes"),
    }


def test_one_that_loses_large_packets_is_named(run):
    rows = run(code=1, first=4000, first_in=4000)
    assert rows[PASSES]["underlay"] == rows[PASSES]["tunnel"] == "loses"
    assert 4000 - probe.STEP < rows[PASSES]["underlay_largest"] <= 4000
    assert "underlay" in rows[PASSES]["conclude"]
    assert rows[TOLD]["conclude"] == ""


def test_what_only_the_tunnel_loses(run):
    rows = run(code=1, first_in=1558)
    assert (rows[PASSES]["underlay"], rows[PASSES]["tunnel"]) == ("passes", "loses")
    assert "in the tunnel" in rows[PASSES]["conclude"]


def test_silence_is_not_called_loss(run):
    rows = run(first=0, second_in=0)
    assert (rows[PASSES]["underlay"], rows[PASSES]["underlay_largest"]) == ("silent", 0)
    assert "security group" in rows[PASSES]["conclude"]
    assert (rows[TOLD]["tunnel"], rows[TOLD]["workload"]) == ("silent", "")
    assert "workload's firewall" in rows[TOLD]["conclude"]


def test_nobody_behind_it(run, look, monkeypatch):
    monkeypatch.setitem(fake.TABLES, "ports", [])
    rows = run()
    assert {row["tunnel"] for row in rows.values()} == {"nobody"}


@pytest.mark.parametrize("prober", ["UnderlayProber", "TunnelProber"])
def test_where_it_may_not_ping(pcgctl, monkeypatch, prober):
    def refused(*_given):
        raise PermissionError(1, "Operation not permitted")

    limits = dict.fromkeys([PASSES, TOLD], 9001)
    monkeypatch.setattr(selftest, "UnderlayProber", pretended(UnderlayProber, limits))
    monkeypatch.setattr(selftest, prober, refused)
    with pytest.raises(BackendError, match="not permitted"):
        pcgctl("test", "mtu")


def test_who_is_asked(look):
    """The widest ones only, each as the segment's gateway and as our TEP."""
    found = doors(look, {PASSES: 9001, TOLD: 9001})
    asked = {tep: {(d.workload, d.sender) for d in some} for tep, some in found.items()}
    assert asked[PASSES] == {("10.1.0.10", "10.1.0.1"), ("10.1.0.10", "10.99.0.1")}
    assert {d.mtu for d in found[PASSES]} == {8943 + 58}
    assert {d.mtu for d in found[TOLD]} == {8943 + 50}  # no option towards it


@pytest.mark.parametrize("size", [128, 129, 1500, 9001])
def test_a_probe_is_a_packet_of_the_datapaths(look, size):
    """scapy reads it, and finds every length and checksum right."""
    (door, _) = doors(look, {PASSES: 9001})[PASSES]
    data = door.packet(size, 7, 9, 3)
    assert len(data) == size - 28  # IP and UDP are the kernel's
    tunnel = GENEVE(data)
    assert (tunnel.vni, tunnel.critical, tunnel.options[0].type) == (1001, 1, 0x80)
    seen = tunnel[IP]
    assert (seen.src, seen.dst, seen.len) == (door.sender, door.workload, size - 58)
    assert checksum(bytes(seen)[:20]) == checksum(bytes(seen[ICMP])) == 0


def test_answers_are_found_in_the_capture(look):
    reply = b"\x45" + bytes(19) + struct.pack("!BBHHHI", 0, 0, 0, 7, 1, 1)
    frame = bytes(26) + inet_aton(PASSES) + bytes(20) + bytes(14) + reply
    late = frame.replace(struct.pack("!HHI", 7, 1, 1), struct.pack("!HHI", 7, 0, 1))
    seen = [captured(role="downlink", inner=50, frame=one) for one in (late, frame, frame)]
    look.client.reads = [seen]
    with TunnelProber(look, "127.0.0.1", doors(look, {PASSES: 9001})) as prober:
        asked = prober.doors[PASSES][1]
        prober.sequence = 1
        assert prober.collect({PASSES}) == {PASSES}
        assert prober.doors[PASSES] == [asked]
    assert look.client.captures[-1] == "token ended"


@pytest.mark.parametrize("limit", [68, 69, 575, 1499, 1500, 8992, 9000])
def test_the_search_ends_close_below_the_limit(limit):
    search, steps = Search(9001), 0
    while size := search.next():
        search.told(size <= limit)
        steps += 1
    assert limit - probe.STEP < search.passed <= limit
    assert search.lost > limit
    assert steps < 14


@pytest.mark.parametrize("size", [68, 69, 1500, 9001])
def test_an_echo_is_as_long_as_asked_and_its_checksum_right(size):
    packet = echo(7, 9, size, b"ours")
    assert len(packet) == size - 20  # the IP header is the kernel's
    assert checksum(packet) == 0
