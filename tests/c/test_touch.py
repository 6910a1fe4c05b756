"""touch.c, marks.c: which sessions a commit concerns, as a slow twin says that asks one by one.

They are decided again while their next hop is gone, so that each keeps a mark."""

import random
import time

import pytest

from bench import path, world
from bench.path import Shape
from bench.world import World
from pcg.datapath.lib import Datapath
from pcg.reconcile.records import Touch
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("built")
PLACE, SESSIONS = World(64), 512
SHAPE = Shape(passes=2, more={"realtime": 0, "keeper": 0})
NOBODY = Touch(0xFFFFFFFF, b"\xff" * 4, b"\xff" * 4, 32, 32)


@pytest.fixture(scope="module")
def made(built):
    """Sessions of both directions."""
    with path.opened(PLACE, SESSIONS) as dp:
        array, _ = path.flows(PLACE, "mixed", SESSIONS)
        path.make_sessions(dp, array, SHAPE)
        assert dp.totals()["sessions"] == SESSIONS
        yield dp


def marked_by(dp: Datapath, touches: list[Touch]) -> set[int]:
    unmark(dp)
    dp.commit(PLACE.policy(), 2, touches)
    dp.sweep(time.monotonic_ns())
    return marked(dp)


def unmark(dp: Datapath) -> None:
    dp.put("nexthops", [world.NEXTHOP])
    dp.commit(PLACE.policy(), 1)
    dp.sweep(time.monotonic_ns())
    assert not marked(dp)
    dp.delete("nexthops", [world.NEXTHOP])


def marked(dp: Datapath) -> set[int]:
    return {s["index"] for s in dp.sessions() if s["marked"]}


def first_bits(address: bytes, length: int) -> tuple[int, int]:
    """They, and how far an address is shifted to be compared with them."""
    return int.from_bytes(address) >> (32 - length), 32 - length


def ends(session: dict) -> list[tuple[bytes, bytes]]:
    """As the initiator sent it, as the other side sees it, and the reply."""
    at = {name: address_of(session[name]) for name in ("fwd_src", "fwd_dst", "rev_src", "rev_dst")}
    there, back = (at["fwd_src"], at["fwd_dst"]), (at["rev_src"], at["rev_dst"])
    return [there, back[::-1], back]


def address_of(value) -> bytes:
    return bytes(int(part) for part in value.split("."))


def twin(sessions: list[dict], touches: list[Touch]) -> set[int]:
    wanted = [
        (t.vrf, *first_bits(t.src_be, t.src_len), *first_bits(t.dst_be, t.dst_len)) for t in touches
    ]
    return {
        s["index"]
        for s in sessions
        for src, dst in [map(int.from_bytes, way) for way in ends(s)]
        for vrf, near, near_shift, far, far_shift in wanted
        if vrf == s["vrf"] and src >> near_shift == near and dst >> far_shift == far
    }


def some(rng: random.Random, sessions: list[dict], lengths: list[tuple[int, int]]) -> list[Touch]:
    """Near what there is: prefixes of real addresses, some with a bit changed, of two VRFs."""
    touches = []
    for _ in range(rng.randrange(1, 40)):
        src, dst = rng.choice(ends(rng.choice(sessions)))
        flipped = int.from_bytes(dst) ^ rng.choice((0, 0, 1 << rng.randrange(32)))
        vrf = rng.choice((0, 0, 0, 1))
        touches.append(Touch(vrf, src, flipped.to_bytes(4), *rng.choice(lengths)))
    return touches


@pytest.mark.parametrize("seed", range(30))
def test_marks_what_the_twin_marks(made, seed):
    dp = made
    rng = random.Random(seed)
    every = [(a, b) for a in range(33) for b in range(33)]
    touches = some(rng, dp.sessions(), rng.sample(every, rng.randrange(1, 32)))
    assert marked_by(dp, touches) == twin(dp.sessions(), touches)


@pytest.mark.parametrize("seed", range(5))
def test_of_more_lengths_than_are_kept_none_is_missed(made, seed):
    """Rounded to whole bytes, a touch may mark too many, never too few, and no other VRF's."""
    dp = made
    rng = random.Random(seed)
    touches = []
    while len({t[3:] for t in touches}) <= 40:
        touches += some(rng, dp.sessions(), [(rng.randrange(16, 33), rng.randrange(16, 33))])
    rounded = [t._replace(src_len=t.src_len & ~7, dst_len=t.dst_len & ~7) for t in touches]
    got = marked_by(dp, touches)
    assert twin(dp.sessions(), touches) <= got == twin(dp.sessions(), rounded)


def test_one_that_concerns_nobody(made):
    dp = made
    assert marked_by(dp, [NOBODY]) == set()


def test_none_at_all_concerns_everybody(made):
    dp = made
    assert len(marked_by(dp, [])) == SESSIONS


def test_beside_housekeeping_every_commit_reaches_its_sessions(made):
    """Commits faster than walks: what comes during one is marked by the next."""
    dp = made
    unmark(dp)
    touches = [Touch(0, world.workload(w), bytes(4), 32, 0) for w in range(PLACE.workloads)]
    concerned = twin(dp.sessions(), touches)
    dp.start()
    try:
        for number, touch in enumerate(touches):
            dp.commit(PLACE.policy(), number, [touch])
        wait_until(lambda: marked(dp) == concerned, "all that were touched are marked")
    finally:
        dp.stop()


def test_in_a_large_table_ageing_decides_what_the_walk_left():
    """DIRECT_MAX of marks.c: beyond it sessions are only marked."""
    many, place = (1 << 17) + 5000, World(64)
    with path.opened(place, many) as dp:
        array, _ = path.flows(place, "north", many)
        path.make_sessions(dp, array, SHAPE)
        assert dp.totals()["sessions"] == many
        before = dp.totals()["decisions"]
        dp.commit(place.policy() | {"nat": []}, 2)
        for _ in range(2):  # the second takes apart what ageing has ended
            dp.sweep(time.monotonic_ns())
        totals = dp.totals()
        assert (totals["sessions"], totals["sessions_cut"]) == (0, many)
        assert totals["decisions"] == before + many
