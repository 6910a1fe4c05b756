"""cuts.c: however many sessions end at once, each is reset at both ends whose rule asks for it."""

import struct
from collections import Counter
from socket import inet_ntoa

import pytest
from scapy.layers.inet import TCP

from pcg.datapath.lib import Datapath
from tests.c import wire
from tests.c.conftest import assert_accounted
from tests.c.packets import answer, tcp
from tests.c.places import NET, SERVER, A, B
from tests.c.test_rule_change import one
from tests.c.test_silent import CHANGE, ESTABLISHED_S, IDLE, by_rule
from tests.c.world import World, over

MANY = 3000  # sessions
ROOM = 1 << 17  # CUTS_MAX of cuts.h
PORTS = 60_000
RST, ACK = 4, 16


def numbered(frame: bytes, sport: int, dport: int, seq: int = 0, ack: int = 0) -> bytes:
    """The frame with other ports and numbers, its checksum left as it is: the path mends it by
    what it changes, and no test here reads it.
    """
    at = len(frame) - 20
    return frame[:at] + struct.pack("!HHII", sport, dport, seq, ack) + frame[at + 12 :]


def flow(n: int) -> tuple[int, int]:
    """Ports of the n-th connection of A to NET."""
    return 1 + n % PORTS, 80 + n // PORTS


class Crowd:
    """Established connections of A to NET, thousands of them, as plain bytes."""

    def __init__(self, w, n: int) -> None:
        self.w, self.n, self.outside = w, n, []
        no_sum = {"udp": {"chksum": 0}}  # of the tunnel
        self.out = {flags: over(A, tcp(flags), **no_sum) for flags in ("S", "A", "R")}
        for role, frame in self.send("downlink", self.outwards("S")):
            assert role == "uplink"
            self.outside.append(struct.unpack("!H", frame[34:36])[0])
        back = wire.plain(tcp("SA", NET, inet_ntoa(frame[26:30])))
        inwards = [numbered(back, flow(i)[1], self.outside[i]) for i in range(n)]
        assert len(self.send("uplink", inwards)) == n
        assert len(self.send("downlink", self.outwards("A"))) == n

    def send(self, role: str, frames: list[bytes]):
        return self.w.dp.inject(role, frames, self.w.now_ns)

    def outwards(self, flags: str):
        return [
            numbered(self.out[flags], *flow(i), seq=1_000_000 + i, ack=2_000_000 + i)
            for i in range(self.n)
        ]

    def resets(self, sent) -> dict[str, Counter]:
        """By role, what each RST says: its ports and numbers."""
        found = {"downlink": Counter(), "uplink": Counter()}
        for role, frame in sent:
            sport, dport, seq, ack, _, flags = struct.unpack("!HHIIBB", frame[-20:-6])
            assert flags & RST
            found[role][sport, dport, seq, ack, flags] += 1
        return found


def expected(crowd: Crowd) -> dict[str, Counter]:
    """To each end one, with the numbers that the workload's ACK said (RFC 9293 section 3.5.2)."""
    inside, outside = Counter(), Counter()
    for i in range(crowd.n):
        sport, dport = flow(i)
        inside[dport, sport, 2_000_000 + i, 0, RST] = 1
        outside[crowd.outside[i], dport, 1_000_000 + i, 2_000_000 + i, RST | ACK] = 1
    return {"downlink": inside, "uplink": outside}


def end(w, why: int) -> None:
    by_rule(w, why)
    if why == IDLE:
        w.sweep(after_s=ESTABLISHED_S + 2)
        return
    del w.policy.nat["snat"]
    w.commit()


@pytest.mark.parametrize("why", [CHANGE, IDLE], ids=["changed", "idle"])
def test_of_thousands_each_is_reset_at_both_ends(world, why):
    """No rate of errors holds for it: the rule asked for it, and each session is reset once."""
    crowd = Crowd(world, MANY)
    end(world, why)
    totals = world.dp.totals()
    assert (totals["resets_waiting"], totals["sessions"]) == (MANY, MANY)
    world.dp.inject("uplink", [], world.now_ns)
    totals = world.dp.totals()
    assert (totals["resets_waiting"], totals["made"]) == (0, 2 * MANY)
    assert crowd.resets(crowd.send("downlink", crowd.outwards("A"))) == expected(crowd)
    world.sweep()
    totals = world.dp.totals()
    assert (totals["sessions"], totals["made"], totals["unmade"]) == (0, 4 * MANY, 0)
    assert (totals["resets_late"], totals["resets_unheard"]) == (0, 0)
    assert totals["sessions_cut"] == (MANY if why == CHANGE else 0)


def test_who_does_not_answer_is_counted(world):
    crowd = Crowd(world, 100)
    end(world, IDLE)
    world.dp.inject("uplink", [], world.now_ns)
    sent = crowd.send("downlink", crowd.outwards("A")[:60])
    assert sum(map(len, crowd.resets(sent).values())) == 120
    world.sweep(after_s=0.6)
    totals = world.dp.totals()
    assert (totals["sessions"], totals["resets_unheard"]) == (0, 40)


def test_half_a_second_begins_when_they_are_asked(world):
    Crowd(world, 10)
    end(world, IDLE)
    world.sweep(after_s=5)
    assert world.dp.totals()["sessions"] == 10
    world.dp.inject("uplink", [], world.now_ns)
    world.sweep(after_s=0.6)
    assert world.dp.totals()["sessions"] == 0


def test_a_full_burst_of_hairpins_loses_none(world):
    """MADE_MAX of worker.h: two RST for each packet, of which one is turned round inside. A
    workload and who dialled it by its Elastic IP are both reset, though both halves end at once."""
    for sport in range(1, 33):
        there = one(world.down(A, tcp("S", dst=SERVER.elastic, dport=80, sport=sport)))
        world.down(B, answer(there, "SA", b""))
        world.down(A, tcp("A", dst=SERVER.elastic, dport=80, sport=sport))
    for name in ("web", "snat"):
        by_rule(world, IDLE, name)
    world.sweep(after_s=ESTABLISHED_S + 2)
    asked = [seen for seen in world.inject("uplink") if str(seen.ip[TCP].flags) == "A"]
    assert Counter(seen.ip.dst for seen in asked) == {A.address: 32, B.address: 32}
    for vm in (A, B):
        answers = [over(vm, answer(seen, "A", b"")) for seen in asked if seen.ip.dst == vm.address]
        found = world.inject("downlink", *answers)
        assert Counter(seen.ip.dst for seen in found) == {vm.address: 32}
        assert all(seen.ip[TCP].flags & RST for seen in found)
    world.sweep()
    assert (world.dp.totals()["sessions"], world.dp.totals()["unmade"]) == (0, 0)


@pytest.fixture(scope="module")
def large():
    """More connections than can be asked for their numbers at a time."""
    with Datapath(sessions=2 * ROOM, workload_addresses=1024, fresh=True) as path:
        path.nic_add("up0", "uplink")
        path.nic_add("down0", "downlink")
        yield World(path)
        assert_accounted(path)


def test_what_there_is_no_room_for_waits_and_forwards_nothing(large):
    w, more = large, 500
    crowd = Crowd(w, ROOM + more)
    end(w, CHANGE)
    totals = w.dp.totals()
    assert (totals["resets_waiting"], totals["resets_late"]) == (ROOM, more)
    assert totals["sessions"] == ROOM + more
    w.dp.inject("uplink", [], w.now_ns)
    assert w.dp.totals()["made"] == 2 * ROOM
    late = crowd.outwards("A")[-more:]
    rst = numbered(crowd.out["R"], *flow(ROOM + 1))
    assert w.dp.inject("downlink", [rst], w.now_ns) == []  # it says no numbers, and ends nothing
    found = crowd.resets(w.dp.inject("downlink", late[: more // 2], w.now_ns))
    wanted = expected(crowd)
    assert found["downlink"] <= wanted["downlink"]
    assert found["uplink"] <= wanted["uplink"]
    assert sum(found["downlink"].values()) == sum(found["uplink"].values()) == more // 2
    w.sweep(after_s=0.6)
    assert w.dp.totals()["resets_unheard"] == ROOM
    assert w.dp.totals()["resets_waiting"] == more // 2
    made = w.dp.totals()["made"]
    w.dp.inject("uplink", [], w.now_ns)
    assert w.dp.totals()["made"] == made + more
    w.sweep(after_s=0.6)
    w.sweep()
    totals = w.dp.totals()
    assert (totals["sessions"], totals["sessions_cut"]) == (0, ROOM + more)
