"""Whatever the network does, the gateway ends with the controller's state, and never with half."""

from hypothesis import given, settings
from hypothesis import strategies as st

from pcg.model.errors import Problem
from pcg.proto.link_table import Changed, State, Synced
from pcg.proto.serve import Reported
from pcg.wire import limits
from pcg.wire import messages as m
from pcg.wire.changes import ordered
from tests.unit.proto.fake_net import Flaws, World
from tests.unit.wire.desired_states import STATES, state

FLAWS = st.builds(
    Flaws,
    lost=st.sampled_from([0.0, 0.1, 0.4]),
    twice=st.sampled_from([0.0, 0.2]),
    late=st.sampled_from([0.0, 0.3]),
)
ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("step"), st.integers(1, 30)),
        st.tuples(st.just("ask"), STATES),
        st.tuples(st.just("ask"), st.integers(1, 40).map(lambda n: state(50 * n))),
        st.tuples(st.just("restart"), st.none()),
        st.tuples(st.just("report"), st.none()),
    ),
    max_size=25,
)


def play(world, acts):
    for act, value in acts:
        match act:
            case "step":
                for _ in range(value):
                    world.step()
            case "ask":
                world.ask_for(value)
            case "restart":
                world.start_controller()
                if world.asked:
                    world.ask_for(world.asked[-1])
            case "report":
                link = world.link
                link.report(m.Realised(epoch=link.epoch, revision=link.revision))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), FLAWS, ACTS)
def test_ends_with_the_controllers_state_and_never_holds_half(seed, flaws, acts):
    limits_before = limits.CHUNK_BYTES
    limits.CHUNK_BYTES = 256  # many chunks even of a small state
    try:
        world = World(seed, flaws)
        play(world, acts)
        world.settle()
    finally:
        limits.CHUNK_BYTES = limits_before
    whole = [ordered(d) for d in world.asked]
    seen = [e.desired for e in world.events if isinstance(e, Synced | Changed)]
    assert all(s in whole for s in seen)
    if whole:
        assert world.link.state is State.LIVE
        assert world.link.held == whole[-1]
        assert (world.link.epoch, world.link.revision) == (world.epoch, world.offer.revision)
    else:
        assert world.link.state is State.BEHIND
    assert world.peer.heard == world.link.reports.number


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), ACTS)
def test_on_a_good_network_neither_end_says_what_the_other_refuses(seed, acts):
    world = World(seed, Flaws())
    play(world, acts)
    world.settle()
    assert world.refused == []


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), FLAWS, ACTS, st.lists(STATES, min_size=1, max_size=3))
def test_what_the_gateway_finds_invalid_is_refused_whole_and_reported(seed, flaws, acts, last):
    def judge(desired):
        return [Problem("gateway.zone", "b", "is bad")] if desired.gateway.zone == "b" else []

    world = World(seed, flaws, judge)
    play(world, acts)
    for desired in last:
        world.ask_for(desired)
    world.settle()
    held = [e.desired for e in world.events if isinstance(e, Synced | Changed)]
    assert not [h for h in held if h.gateway.zone == "b"]
    if last[-1].gateway.zone == "b":
        assert world.link.state is State.BEHIND
        said = [e.realised for e in world.reports if isinstance(e, Reported)][-1]
        assert said.refused == world.offer.revision
        assert "is bad" in said.errors[0].text
        assert world.link.held == (held[-1] if held else None)
    else:
        assert world.link.held == ordered(last[-1])
