"""tap.c and capture.c: frames as they came and as they left, with what became of them."""

import pytest

from pcg.cli import bpf
from pcg.datapath import captured
from pcg.datapath.pack import CaptureWanted
from pcg.model.errors import BackendError
from tests.c import wire
from tests.c.packets import answer, ping, tcp, udp
from tests.c.places import GATEWAY, NET, SERVER, WEB, A, B
from tests.c.world import over

RING = 65_536  # the smallest


@pytest.fixture
def capture(world):
    """Begin one: capture("tcp", inner=1); then .read()."""

    def begin(expression="", **wanted):
        world.dp.capture_start(CaptureWanted(**wanted), bpf.compiled(expression))
        return world.dp.capture_read

    return begin


def places(frames) -> list[tuple[str, str]]:
    return [(c.role, "in" if c.incoming else "out") for c in frames]


THROUGH = [("downlink", "in"), ("uplink", "out")]


def test_a_frame_as_it_came_and_as_it_left(world, capture):
    read = capture()
    sent_in = over(A, udp())
    (out,) = world.inject("downlink", sent_in)
    came, left = read()
    assert (came.frame, left.frame) == (sent_in, out.frame)
    assert (came.length, left.length) == (len(sent_in), len(out.frame))
    assert places([came, left]) == THROUGH
    assert came.packet == left.packet
    (session,) = world.dp.sessions()
    for c in (came, left):
        assert (c.verdict, c.reason, c.stage) == ("sent", "", "egress")
        assert (c.session, c.nat_id, c.new, c.lost) == (session["index"], 9, True, 0)
        assert c.at_ns == world.now_ns
    assert (came.inner, left.inner) == (sent_in.index(bytes.fromhex(A.mac.replace(":", ""))) - 6, 0)
    assert read() == []


def test_the_answer_belongs_to_the_same_session(world, capture):
    (out,) = world.down(A, tcp("S"))
    read = capture()
    world.up(answer(out))
    came, left = read()
    assert places([came, left]) == [("uplink", "in"), ("downlink", "out")]
    assert (came.new, came.session) == (False, left.session)
    assert came.inner == 0 < left.inner


def test_a_dropped_one_says_why_and_by_which_rule(world, capture):
    read = capture()
    world.down(A, udp(dst="198.51.100.66"))
    (c,) = read()
    assert (c.verdict, c.reason, c.stage) == ("dropped", "FIREWALL_DENIED", "session_lookup")
    assert (c.fw_id, c.session, c.incoming) == (1, None, True)


def test_what_the_gateway_makes(world, capture):
    read = capture()
    world.down(A, udp(ttl=1))
    told, dropped = sorted(read(), key=lambda c: c.incoming)
    assert (dropped.reason, dropped.made) == ("TTL_EXPIRED", False)
    assert (told.made, told.role, told.verdict) == (True, "downlink", "sent")
    assert told.packet != dropped.packet


def test_what_the_gateway_answers(world, capture):
    read = capture()
    world.down(A, ping(dst=GATEWAY[WEB][0]))
    frames = read()
    assert places(frames) == [("downlink", "in"), ("downlink", "out")]
    assert all(c.answer and c.session is None for c in frames)


def test_what_is_turned_round_inside_is_one_packet(world, capture):
    read = capture()
    world.down(A, udp(dst=SERVER.elastic, dport=7000))
    frames = read()
    assert places(frames) == [("downlink", "in"), ("downlink", "out")]
    assert len({c.packet for c in frames}) == 1


THERE_AND_BACK = [*THROUGH, ("uplink", "in"), ("downlink", "out")]
FILTERS = [
    # expression                  wanted                       frames of A -> NET and back
    ("", {}, THERE_AND_BACK),
    ("udp port 6081", {}, [("downlink", "in"), ("downlink", "out")]),
    ("host 192.168.99.9", {}, []),
    ("host 192.168.99.9", {"inner": 1}, [("downlink", "in"), ("downlink", "out")]),
    (
        "host 192.168.99.9",
        {"inner": 1, "both": 1},
        THERE_AND_BACK,
    ),
    ("udp port 6081", {"inner": 1}, []),
    ("udp port 53", {"inner": 1}, THERE_AND_BACK),
    ("udp dst port 53", {"inner": 1}, THROUGH),
    ("udp dst port 53", {"both": 1}, THROUGH),
    ("", {"roles": 1}, [("downlink", "in"), ("downlink", "out")]),
    ("", {"roles": 2}, [("uplink", "out"), ("uplink", "in")]),
    ("", {"directions": 1}, [("downlink", "in"), ("uplink", "in")]),
    ("", {"directions": 2}, [("uplink", "out"), ("downlink", "out")]),
    ("udp src port 53", {"inner": 1, "roles": 2, "directions": 1}, [("uplink", "in")]),
    ("", {"only_drops": 1}, []),
]


@pytest.mark.parametrize("expression, wanted, taken", FILTERS, ids=str)
def test_filters(world, capture, expression, wanted, taken):
    read = capture(expression, **wanted)
    (out,) = world.down(A, udp())
    world.up(answer(out))
    assert places(read()) == taken


def test_only_drops(world, capture):
    read = capture(only_drops=1)
    world.down(A, udp())
    world.down(A, udp(ttl=1))
    world.up(udp(NET, SERVER.secondary, dport=9))
    assert [c.reason for c in read()] == ["TTL_EXPIRED", "NO_DNAT"]


def test_drops_that_a_filter_fits(world, capture):
    read = capture("icmp or udp port 9", only_drops=1, inner=1)
    world.down(A, udp(ttl=1))
    world.up(udp(NET, SERVER.secondary, dport=9))
    assert [c.reason for c in read()] == ["NO_DNAT"]


def test_a_frame_that_the_path_cannot_read(world, capture):
    read = capture()
    frames = [b"", bytes(5), bytes(64)]
    world.inject("uplink", *frames)
    assert [c.frame for c in read()] == frames


def test_snaplen_keeps_the_length(world, capture):
    read = capture(snaplen=60)
    (out,) = world.down(A, udp(data=bytes(500)))
    came, left = read()
    assert (len(came.frame), len(left.frame)) == (60, 60)
    assert left.length == len(out.frame) > 500
    assert out.frame.startswith(left.frame)


def test_the_filter_reads_what_snaplen_cuts_off(world, capture):
    read = capture("udp port 53", inner=1, snaplen=14)
    world.down(A, udp())
    assert len(read()) == 2


def test_a_ring_that_nobody_reads_loses_and_says_so(world, capture):
    frames = [over(A, udp(sport=n, dst=B.address, data=bytes(900))) for n in range(101, 201)]
    capture(ring_bytes=RING)
    before = world.dp.totals()["tx"]
    world.inject("downlink", *frames)
    assert world.dp.totals()["tx"] == before + len(frames), "the path does not wait"
    data, flow = world.dp.capture_raw()
    first = list(captured.split(data))
    assert flow.seen[0] == 2 * len(frames)
    assert flow.taken[0] == len(first) < 66
    assert flow.taken[0] + flow.lost[0] == flow.seen[0]
    world.inject("downlink", frames[0])
    data, flow = world.dp.capture_raw()
    second = list(captured.split(data))
    assert [c.lost for c in second] == [flow.lost[0], 0]
    assert all(c.lost == 0 for c in first)


def test_a_ring_read_in_time_loses_nothing_however_often_it_goes_round(world, capture):
    read, seen = capture(ring_bytes=RING), []
    frames = [over(A, udp(dst=B.address, data=bytes([n % 256]) * n)) for n in range(0, 1200, 3)]
    for at in range(0, len(frames), 20):
        world.inject("downlink", *frames[at : at + 20])
        seen += read()
    assert [c.frame for c in seen if c.incoming] == frames
    assert sum(len(f) for f in frames) > 3 * RING


def test_one_that_begins_ends_the_one_before(world, capture):
    read = capture()
    world.down(A, udp())
    capture("tcp")
    world.down(A, udp())
    assert read() == []
    world.down(A, tcp("S"))
    assert places(read()) == [("uplink", "out")]  # in its tunnel it is UDP


def test_ended_is_ended(world, capture):
    read = capture()
    world.dp.capture_stop()
    world.down(A, udp())
    with pytest.raises(BackendError):
        read()
    world.dp.capture_stop()


@pytest.mark.parametrize("ring", [0, 4096, 65_537, 1 << 31])
def test_sizes_that_are_none(world, ring):
    with pytest.raises(BackendError):
        world.dp.capture_start(CaptureWanted(ring_bytes=ring))


def test_explain_is_not_captured(world, capture):
    read = capture()
    world.dp.explain("downlink", over(A, udp()))
    assert read() == []


def test_trace_and_capture_do_not_disturb_each_other(world, capture):
    read = capture()
    world.down(A, udp())
    world.dp.trace_start(1)
    world.down(A, udp())
    traced = world.dp.trace_read()
    assert [e["stage"] for e in traced][-1] == "egress"
    assert len(traced) == 6
    world.down(A, udp())
    assert world.dp.trace_read() == []
    assert len(read()) == 6
    world.dp.trace_start(1)
    world.dp.capture_stop()
    world.down(A, udp())
    assert len(world.dp.trace_read()) == 6


def test_the_path_is_the_same_with_and_without(world, capture):
    frames = [over(A, tcp("S")), over(A, udp(ttl=1)), over(A, ping()), wire.plain(bytes(40))]
    before = [s.frame for s in world.inject("downlink", *frames)]
    capture()
    after = [s.frame for s in world.inject("downlink", *frames)]
    assert [len(f) for f in before] == [len(f) for f in after]
    assert before[0] == after[0]
