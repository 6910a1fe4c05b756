"""The arena in a file: what a second process finds, whatever the first one died of."""

import os
import signal
import subprocess
import sys
import tempfile

import pytest

from pcg.datapath.lib import Datapath
from pcg.reconcile import records as r
from pcg.reconcile.touches import NOTHING
from tests.c.conftest import assert_accounted
from tests.c.packets import answer, flow, prohibited, tcp, udp
from tests.c.places import FEW, NET, OTHER_NET, SERVER, TEP2, TINY, VMS, A, B, ip, mac
from tests.c.world import NEXTHOPS, TEPS, World, over
from tests.waiting import wait_until

SIZES = {"sessions": 4096, "workload_addresses": 1024}


@pytest.fixture
def path(tmp_path) -> str:
    return str(tmp_path / "arena")


class Life:
    """One process's life: a datapath on the arena; `policy` False: nobody has committed yet."""

    def __init__(self, path: str, policy: bool = True, **given) -> None:
        self.dp = Datapath(arena=path, **{**SIZES, **given})
        self.dp.nic_add("up0", "uplink")
        self.dp.nic_add("down0", "downlink")
        self.world = World(self.dp, program=False)
        if policy:
            self.world.commit()

    def __enter__(self) -> World:
        return self.world

    def __exit__(self, *_exc) -> None:
        assert_accounted(self.dp)
        self.dp.close()


def program(w: World) -> None:
    w.dp.put("teps", TEPS)
    w.dp.put("nexthops", NEXTHOPS)
    w.dp.put("ports", [vm.record for vm in VMS])
    w.commit()


@pytest.fixture
def talking(built, path):
    """A first life that had A talk to NET by TCP, and NET to B by UDP: what left then."""
    with Life(path, fresh=True) as w:
        program(w)
        (out,) = w.down(A, tcp("S"))
        w.up(answer(out, "SA", b""))
        w.down(A, tcp("A"))
        (got,) = w.up(udp(NET, SERVER.secondary, dport=7000))
    return out, got


def test_sessions_go_on(talking, path):
    out, got = talking
    with Life(path) as w:
        assert w.dp.totals()["sessions"] == 2
        (back,) = w.up(answer(out, "A"))
        assert (back.ip.dst, back.tep) == (A.address, A.tep)
        assert flow(w.down(A, tcp("A"))[0]) == flow(out)
        assert flow(w.down(B, answer(got))[0])[0] == SERVER.secondary
        assert w.drops() == {}
        assert w.dp.totals()["sessions_made"] == 0


def test_mappings_and_their_ports_too(built, path):
    with Life(path, fresh=True) as w:
        program(w)
        held = [w.down(TINY, udp(TINY.address, sport=s))[0].ip.sport for s in (1, 2, 3)]
    with Life(path) as w:
        assert w.dp.totals()["mappings"] == 3
        (fourth,) = w.down(TINY, udp(TINY.address, sport=4))
        assert {*held, fourth.ip.sport} == {2000, 2001, 2002, 2003}
        assert prohibited(w.down(TINY, udp(TINY.address, sport=5)))
        w.drops()
        again = w.down(TINY, udp(TINY.address, OTHER_NET, sport=1))[0]
        assert (again.ip.src, again.ip.sport) == (FEW.secondary, held[0])
        w.sweep(after_s=301)
        assert w.dp.totals()["mappings"] == 0
        assert w.down(TINY, udp(TINY.address, sport=5))


def test_so_are_the_peers_that_it_is_open_to(built, path):
    """RFC 4787 REQ-11."""
    peers = [NET, OTHER_NET, "198.51.100.12"]
    with Life(path, fresh=True) as w:
        program(w)
        for peer in peers:
            (out,) = w.down(A, udp(dst=peer))
    with Life(path) as w:
        assert (w.dp.totals()["mappings"], w.dp.totals()["peers"]) == (1, 2)
        for peer in peers:
            assert w.up(udp(peer, out.ip.src, sport=999, dport=out.ip.sport))
        assert not w.up(udp("198.51.100.13", out.ip.src, sport=999, dport=out.ip.sport))
        assert w.drops() == {"NAT_FILTERED": 1}
        w.sweep(after_s=301)
        assert (w.dp.totals()["mappings"], w.dp.totals()["peers"]) == (0, 0)


def test_nothing_is_forwarded_before_somebody_says_what_is_allowed(talking, path):
    out, _ = talking
    with Life(path, policy=False) as w:
        assert not w.up(answer(out, "A"))
        assert not w.down(A, tcp("A"))
        assert w.drops() == {"NOT_OWNED": 1, "OUTER_NOT_TUNNEL": 1}
        w.commit()
        assert w.up(answer(out, "A"))


def test_what_is_no_longer_allowed_ends(talking, path):
    out, _ = talking
    with Life(path, policy=False) as w:
        del w.policy.nat["snat"]
        w.commit()
        assert not w.up(answer(out, "A"))
        assert prohibited(w.down(A, tcp("A")))
        assert w.drops() == {"NO_DNAT": 1, "NO_NAT": 1}


class TestMarks:
    """What a process finds is decided again: by its next packet, or by the next round of ageing."""

    @pytest.fixture
    def found(self, talking, path):
        """A second life whose housekeeping has not been there since its first commit."""
        with Life(path, policy=False) as w:
            yield w, *talking

    def publish(self, w: World) -> None:
        w.dp.commit(w.policy.tables(), 1, [NOTHING])

    def test_by_a_packet(self, found):
        w, out, got = found
        self.publish(w)
        assert [s["marked"] for s in w.dp.sessions()] == [True, True]
        assert flow(w.down(A, tcp("A"))[0]) == flow(out)
        assert flow(w.down(B, answer(got))[0])[0] == SERVER.secondary
        assert [s["marked"] for s in w.dp.sessions()] == [False, False]
        assert w.dp.totals()["sessions_made"] == 0

    def test_by_packets_of_one_burst(self, found):
        w, *_ = found
        self.publish(w)
        assert len(w.inject("downlink", *[over(A, tcp("A", seq=n)) for n in range(32)])) == 32
        assert w.dp.totals()["decisions"] == 1

    def test_by_a_packet_that_ends_it(self, found):
        """Its rule is gone, and with it what it said of resets: it ends in silence."""
        w, out, _ = found
        del w.policy.nat["snat"]
        self.publish(w)
        assert not w.up(answer(out, "A"))
        assert (w.dp.totals()["sessions_cut"], w.drops()) == (1, {"NO_DNAT": 1})

    def test_by_a_packet_that_resets_both_ends(self, found):
        w, *_ = found
        w.policy.nat["snat"] = w.policy.nat["snat"]._replace(reset=1)
        deny = r.Firewall(5, 0, 1, 2, 0, r.Match(dst_be=ip(NET), dst_len=32), "no")
        w.policy.firewall.insert(0, deny)
        self.publish(w)
        assert len(w.down(A, tcp("A", seq=5, ack=9))) == 2
        assert (w.dp.totals()["sessions_cut"], w.dp.totals()["made"]) == (1, 2)

    def test_by_ageing(self, found):
        w, _, _ = found
        self.publish(w)
        w.sweep()
        assert [s["marked"] for s in w.dp.sessions()] == [False, False]

    def test_by_ageing_that_ends_it(self, found):
        w, _, _ = found
        del w.policy.nat["snat"]
        self.publish(w)
        w.sweep()
        assert [s["protocol"] for s in w.dp.sessions()] == ["udp"]
        assert w.dp.totals()["sessions_cut"] == 1

    def test_nothing_ends_before_somebody_says_what_is_allowed(self, found):
        w, out, _ = found
        for _ in range(3):
            w.sweep()
        assert w.dp.totals()["sessions"] == 2
        w.commit()
        assert flow(w.down(A, tcp("A"))[0]) == flow(out)


def test_changes_reach_what_was_found(talking, path):
    out, _ = talking
    with Life(path) as w:
        w.dp.put("ports", [A._replace(tep=TEP2).record])
        assert w.up(answer(out, "A"))[0].tep == TEP2
        w.dp.put("nexthops", [r.Nexthops(ip("10.99.1.1"), mac("0e:00:00:00:00:77"), 1)])
        (sent,) = w.dp.inject("downlink", [over(A, tcp("A"), tep=TEP2)], w.now_ns)
        assert sent.frame[:6] == mac("0e:00:00:00:00:77")


OTHER_SIZES = [{"sessions": 8192}, {"workload_addresses": 2048}, {"mappings": 99}]


@pytest.mark.parametrize("given", OTHER_SIZES, ids=lambda given: next(iter(given)))
def test_other_sizes_start_fresh(talking, path, given):
    with Life(path, **given) as w:
        totals = w.dp.totals()
        assert totals["sessions"] == totals["mappings"] == totals["ports"] == 0
        program(w)
        assert w.down(A, udp())


@pytest.mark.parametrize("damage", ["half", "zeros", "noise"])
def test_a_damaged_file_starts_fresh(talking, path, damage):
    size = os.path.getsize(path)
    with open(path, "r+b") as file:
        if damage == "half":
            file.truncate(size // 2)
        else:
            file.write(bytes(4096) if damage == "zeros" else os.urandom(4096))
    with Life(path) as w:
        assert w.dp.totals()["sessions"] == 0
        program(w)
        assert w.down(A, udp())


def child(path: str, work: str) -> subprocess.Popen:
    """A process that works on the arena until it is killed; says `on` when it has begun."""
    argv = [sys.executable, "-m", "tests.c.busy", path, work]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)


def kill_in_the_middle(path: str, work: str) -> None:
    """SIGKILL while sessions (or ports) come and go: nothing is tidied up."""
    process = child(path, work)
    try:
        assert process.stdout.readline() == "on\n"
        wait_until(lambda: process.stdout.readline() == "round\n", f"{work} are under way")
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("attempt", range(3))
def test_killed_while_sessions_come_and_go(built, path, attempt):
    kill_in_the_middle(path, "sessions")
    with Life(path) as w:
        totals, sessions = w.dp.totals(), w.dp.sessions()
        assert totals["sessions"] == len(sessions) > 0
        outside = {(s["rev_dst"], s["rev_dport"]) for s in sessions}
        assert len(outside) == len(sessions) == totals["mappings"]  # one endpoint each
        for s in sessions[:60]:
            packet = udp(dst=s["fwd_dst"], sport=s["fwd_sport"], dport=s["fwd_dport"])
            (out,) = w.down(A, packet)
            assert (out.ip.src, out.ip.sport) == (s["rev_dst"], s["rev_dport"])
            assert w.up(answer(out))[0].ip.dst == A.address
        assert w.dp.totals()["sessions_made"] == 0
        w.sweep(after_s=100_000)
        after = w.dp.totals()
        assert after["sessions"] == after["mappings"] == 0


@pytest.mark.parametrize("attempt", range(3))
def test_killed_while_mappings_open_to_peers_and_close(built, path, attempt):
    kill_in_the_middle(path, "peers")
    with Life(path) as w:
        totals, sessions = w.dp.totals(), w.dp.sessions()
        outside = {(s["rev_dst"], s["rev_dport"]) for s in sessions}
        peers = {(s["rev_dst"], s["rev_dport"], s["fwd_dst"]) for s in sessions}
        assert len(outside) == totals["mappings"] > 0
        assert totals["peers"] in range(len(peers) - len(outside), len(peers) + 1)
        for address, port, peer in sorted(peers)[:60]:
            assert w.up(udp(peer, address, sport=999, dport=port))
            assert not w.up(udp("198.51.100.13", address, sport=999, dport=port))
        w.sweep(after_s=100_000)
        after = w.dp.totals()
        assert after["sessions"] == after["mappings"] == after["peers"] == 0
        w.drops()


@pytest.mark.parametrize("attempt", range(3))
def test_killed_while_ports_come_and_go(built, path, attempt):
    """What reads as being there is there: a loop that compares would not write it again."""
    kill_in_the_middle(path, "ports")
    with Life(path) as w:
        rows = w.dp.read("ports")
        assert w.dp.totals()["ports"] == len(rows)
        w.dp.put("ports", [A.record])
        for row in rows[:100]:
            dst = ".".join(map(str, row.address_be))
            if dst != A.address:
                assert w.down(A, udp(dst=dst))[0].ip.dst == dst
        w.dp.delete("ports", rows)
        assert w.dp.read("ports") == []


def test_in_memory_its_pages_are_huge_from_the_start_and_for_who_attaches(built):
    """Though /dev/shm gives small ones (Linux 6.1 collapses them)."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        for attached in (False, True):
            with Datapath(**SIZES, arena=f"{folder}/arena") as dp:
                seen = dp.arena_pages()
                assert seen["huge"] == seen["resident"] > 0
                assert attached or seen["resident"] == seen["bytes"]
