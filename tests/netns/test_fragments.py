"""Fragments on real interfaces: workers that share a port, and the timer while nothing comes."""

import pytest
from scapy.layers.inet import IP, UDP

from tests.c.packets import udp
from tests.c.places import NET, SERVER, THIN, A
from tests.c.world import over
from tests.netns.ports import at_work, first, prepare
from tests.oracle.fragments import cut, joined
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("built")
N, DATA = 60, bytes(i % 251 for i in range(4000))


def tunnelled(bench, pieces, sport) -> list[bytes]:
    """As Open vSwitch sends them: only the first has ports, so the outer source ports differ."""
    given = {"inner": {"type": 0x0800}, "eth": {"dst": bench.macs["downlink"]}}
    return [over(A, p, udp={"sport": sport + 97 * i}, **given) for i, p in enumerate(pieces)]


def packets(frames, at) -> dict[int, IP]:
    """By UDP source port, of the fragments that came."""
    found = {}
    for frame in frames:
        ip = IP(frame[at:])
        found.setdefault((ip.src, ip.id), []).append(frame[at:])
    wholes = [IP(joined(pieces)) for pieces in found.values()]
    return {whole[UDP].sport: whole for whole in wholes}


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_all_of_a_datagram_meet_at_one_worker(inside, workers):
    """Whichever queue each piece comes by: the kernel spreads them by the outer ports."""
    prepare(inside, mtu=9000)
    with at_work(inside, "af_packet", workers) as bench:
        for i in range(N):
            whole = bytes(udp(dst=THIN.address, sport=2000 + i, data=DATA, id=i))
            for frame in tunnelled(bench, cut(whole, 1400), 50000 + i):
                bench.down.send(frame)
        got = []
        wait_until(lambda: got.extend(bench.down.received()) or len(got) == 3 * N, "all leave")
        seen = packets(got, 64)
        assert sorted(seen) == [2000 + i for i in range(N)]
        assert {bytes(p[UDP].payload) for p in seen.values()} == {DATA}
        totals = bench.dp.totals()
        assert (totals["rx"], totals["joined"], totals["held"]) == (3 * N, 2 * N, 0)
        assert bench.dp.drops() == {}
        rows = [p["packets"] for p in bench.dp.performance()]
        assert workers == 1 or sum(n > 0 for n in rows) > 1, "one worker had them all"
        counted = {row["id"]: row["in_packets"] for row in bench.dp.counters("segments")}
        assert sum(counted.values()) == 3 * N


def test_from_the_uplink_with_two_workers(inside):
    prepare(inside, mtu=9000)
    with at_work(inside, "af_packet", 2) as bench:
        whole = bytes(udp(NET, SERVER.secondary, dport=7000, data=DATA))
        for piece in cut(whole, 1400)[::-1]:
            bench.up.send(bench.from_net(piece)[:12] + b"\x08\0" + piece)
        first(bench.down)
        assert bench.dp.totals()["held"] == 0


def test_an_incomplete_one_is_held_by_its_worker(inside):
    prepare(inside, mtu=9000)
    with at_work(inside, "af_packet", 2) as bench:
        whole = bytes(udp(dst=THIN.address, data=DATA))
        pieces = tunnelled(bench, cut(whole, 1400), 50000)
        for frame in pieces[1:]:
            bench.down.send(frame)
        wait_until(lambda: bench.dp.totals()["held"] == 2, "both are held")
        bench.down.send(pieces[0])
        first(bench.down)
        assert bench.dp.totals()["held"] == 0
