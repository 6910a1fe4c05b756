"""Random frames against the packet path: no crash, none vanishes. `make fuzz` runs FRAMES of them.

Worth its while on the sanitized build; everything else that is asserted here holds on any. After
each batch: the ledger's equation; at times a commit, a moved port, a sweep; at the end all that was
made goes.
"""

import os
from collections.abc import Callable

import pytest

from pcg.datapath.lib import Datapath
from tests.c import dhcp
from tests.c.conftest import assert_accounted
from tests.c.places import TEP1, TEP2, A, B
from tests.c.world import World
from tests.fuzz.frames import LONGEST, Mutator

FRAMES = int(os.environ.get("FRAMES", "200000"))
SEED = int(os.environ.get("SEED", "1"))
SMALL = {"sessions": 1024, "workload_addresses": 1024, "mappings": 512, "fresh": True}


def disturb(w: World, round_: int) -> None:
    """What the control loop may do in between."""
    w.now_s += 7
    if round_ % 3 == 0:
        w.dp.put("ports", [A._replace(tep=(TEP1, TEP2)[round_ % 2]).record])
    if round_ % 5 == 0:
        (w.dp.delete if round_ % 2 else w.dp.put)("ports", [B.record])
    if round_ % 7 == 0:
        w.policy.udp_checksum ^= 1
        w.commit()
    if round_ % 2 == 0:
        w.sweep()


def relayed(w: World, round_: int) -> None:
    """The relay answers each request by itself; at times it is gone, or asks for them again."""
    if round_ % 11 == 0:
        w.dp.punts_close(gone=bool(round_ % 2))
        return
    room = bytearray(1 << 16)
    n = w.dp.punts_raw(room, gone=bool(round_ % 3))
    w.dp.send_raw(bytes(room[:n]))
    if round_ % 13 == 0:
        (w.dp.delete if round_ % 2 else w.dp.put)("clients", [dhcp.client(A)])


def errors_of(w: World, change: Callable[[], None]) -> int:
    """What the path sends by itself meanwhile: that a datagram's rest did not come (ICMP 11/1)."""
    before = w.dp.totals()
    change()
    after = w.dp.totals()
    sent = after["tx"] - before["tx"]
    assert sent <= min(after["made"] - before["made"], before["held"] - after["held"])
    return sent


def settle(w: World) -> None:
    w.dp.punts_close()
    w.dp.inject("downlink", [])
    w.dp.put("ports", [A.record, B.record])
    w.sweep(after_s=100_000)
    totals = w.dp.totals()
    assert totals["sessions"] == totals["mappings"] == 0


@pytest.mark.timeout(1800)
def test_no_frame_crashes_the_path_or_vanishes(built):
    mutator, sent, told = Mutator(SEED), 0, 0
    with Datapath(**SMALL) as dp:
        dp.nic_add("up0", "uplink")
        dp.nic_add("down0", "downlink")
        w = dhcp.serve(World(dp))
        for round_, (role, frames) in enumerate(mutator.batches(FRAMES)):
            out = dp.inject(role, frames, w.now_ns)
            assert all(14 <= len(one.frame) <= LONGEST for one in out)
            sent += len(out)
            if round_ % 50 == 0:
                dp.explain(role, frames[0])
            assert_accounted(dp)
            relayed(w, round_)
            told += errors_of(w, lambda at=round_: disturb(w, at))
        assert dp.totals()["rx"] == FRAMES
        assert sent + told == dp.totals()["tx"]
        assert sent > FRAMES // 20  # it is not all noise
        assert len(dp.drops()) > (30 if FRAMES >= 20_000 else 15)  # all parsers were reached
        settle(w)
        assert_accounted(dp)
