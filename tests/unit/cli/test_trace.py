"""trace, explain and the story they tell."""

import json

import click
import pytest

from pcg.cli import story
from pcg.datapath.pack import TraceFilter
from tests.unit.cli.fake import event, ip

SEEN = {"src": "10.1.0.10", "dst": "8.8.8.8", "sport": 5000, "dport": 80, "protocol": "tcp"}


def packet(number, **end):
    return [
        event(packet=number, stage="parse_outer", verdict="next", outer_src="10.99.0.2", vni=7),
        event(packet=number, stage="session_lookup", session=4, nat_id=2, **SEEN)
        | {"verdict": "next", "note": "new session"},
        event(packet=number, stage="egress", **SEEN) | end,
    ]


def test_events_of_several_packets_alternate():
    one, two = packet(1, verdict="sent"), packet(2, verdict="sent")
    mixed = [e for pair in zip(one, two, strict=True) for e in pair]
    packets = story.Packets()
    assert list(packets.feed(mixed[:3])) == []
    assert list(packets.feed(mixed[3:])) == [one, two]
    assert packets.rest() == []


def test_a_packet_that_is_sent(look):
    text = "\n".join(
        story.lines(look, packet(3, verdict="sent", next="10.99.1.1", nic_out="uplink"))
    )
    assert "packet 3: tcp 10.1.0.10:5000 -> 8.8.8.8:80" in text
    assert "from TEP 10.99.0.2 VNI 7" in text
    assert "new session, number 4, NAT rule snat-all" in text
    assert text.endswith("=> sent by the uplink to 10.99.1.1")


def test_a_packet_that_is_dropped_says_what_to_conclude(look):
    text = "\n".join(story.lines(look, packet(3, verdict="dropped", reason="NO_ROUTE")))
    assert text.endswith("=> dropped: NO_ROUTE: no route for it")


def test_trace_asks_for_what_was_said_and_ends_with_the_count(pcgctl, look):
    look.client.events = packet(1, verdict="sent") + packet(2, verdict="sent")
    args = ("--address", "10.1.0.10", "--port", "80", "--protocol", "tcp", "--drops")
    text = pcgctl("trace", "--count", "2", *args)
    assert text.count("=> sent") == 2
    assert look.client.asked == [(TraceFilter(ip("10.1.0.10"), bytes(4), 0, 80, 6, 1), 2)]


def test_trace_without_packets_fails_when_time_is_up(pcgctl):
    assert pcgctl("trace", "--timeout", "0", code=1) == ""


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "soon"])
def test_trace_wants_a_time_that_ends(pcgctl, look, text):
    with pytest.raises(click.BadParameter, match=f"{text} is no number of seconds"):
        pcgctl("trace", "--timeout", text)
    assert look.client.asked == []


def test_trace_shows_a_packet_whose_end_is_missing(pcgctl, look):
    look.client.events = packet(1, verdict="sent")[:2]
    assert "session_lookup" in pcgctl("trace", "--timeout", "0")


def test_trace_for_programs_is_one_packet_a_line(pcgctl, look):
    look.client.events = packet(1, verdict="sent") + packet(2, verdict="sent")
    lines = pcgctl("trace", "--count", "2", "--json").splitlines()
    assert [len(json.loads(line)) for line in lines] == [3, 3]


def test_explain_tells_the_story(pcgctl, look):
    text = pcgctl("explain", "--src", "10.1.0.9", "--dst", "8.8.8.8")
    assert text.startswith("by the downlink: ")
    assert "=> dropped: NO_ROUTE" in text
    ((role, frame),) = look.client.asked
    assert role == "downlink"
    told = pcgctl("explain", "--src", "10.1.0.9", "--dst", "8.8.8.8", as_json=True)
    assert told["frame"] == frame.hex()
    assert told["sent"] is None
