"""explain --fragment and --error: what it says of a piece, of the whole, and of an ICMP error about
a flow is what the path then does with that very frame."""

import json

import click
import pytest
from scapy.layers.inet import ICMP, IP

from pcg.cli.explain import explain
from pcg.cli.inner import ERRORS
from pcg.model.errors import BackendError
from tests.c.packets import inside
from tests.c.places import (
    GATEWAY,
    LONE,
    NET,
    PLAIN,
    POOL_A,
    SERVER,
    TEP1,
    THIN,
    TWIN,
    WEB,
    WHOLE,
    A,
    B,
    C,
    R,
)

ROUTER = "198.51.100.254"  # between us and NET
FLOWS = {
    "SNAT tcp": (C.address, NET),
    "SNAT udp": (C.address, NET, "--protocol", "udp"),
    "SNAT icmp": (C.address, NET, "--protocol", "icmp"),
    "1:1 tcp": (R.address, NET),
    "1:1 gre": (R.address, NET, "--protocol", "gre"),
    "1:1 inwards": (NET, TWIN.elastic),
    "SNAT esp, no port to draw": (A.address, NET, "--vrf", "blue", "--protocol", "esp"),
    "a door": (NET, SERVER.elastic, "--dport", "80"),
    "a range of ports": (NET, SERVER.elastic, "--protocol", "udp", "--dport", "7003"),
    "every port of an address": (NET, WHOLE.elastic, "--protocol", "esp"),
    "no door": (NET, SERVER.elastic, "--dport", "9"),
    "no rule": (LONE.address, NET),
    "routed": (PLAIN.address, NET, "--protocol", "udp"),
    "routed inwards": (NET, PLAIN.address, "--protocol", "udp"),
    "in the overlay": (C.address, B.address),
    "to a narrow TEP": (C.address, THIN.address, "--length", "1442"),
    "cut on its way": (C.address, THIN.address, "--length", "3000", "--no-df"),
    "turned round": (C.address, SERVER.elastic, "--dport", "80"),
    "of another host": (C.address, NET, "--from", TEP1),
    "DHCP to its gateway": (C.address, GATEWAY[WEB][0], "--protocol", "udp", "--dport", "67"),
    "its last hop": (C.address, NET, "--ttl", "1"),
}
flows = pytest.mark.parametrize("flow", FLOWS.values(), ids=FLOWS)
begun = pytest.mark.parametrize("begun", [True, False], ids=["begun", "not begun"])


@pytest.fixture
def told(ask):
    def call(flow, *more: str) -> dict:
        source, destination, *rest = flow
        ends = ("--src", source, "--dst", destination)
        return json.loads(ask(explain, *ends, *rest, *more, "--json"))

    return call


def really(world, *asked: dict) -> tuple[list[bytes], list[str]]:
    """What the path does with these frames: what leaves, and why each ends that does not."""
    world.drops()
    frames = [bytes.fromhex(one["frame"]) for one in asked]
    sent = world.inject(asked[0]["role"], *frames)
    return [seen.frame for seen in sent], sorted(world.drops())


def ending(said: dict) -> str:
    return said["events"][-1]["reason"] or said["events"][-1]["verdict"]


@begun
@flows
@pytest.mark.parametrize("error", ERRORS)
def test_an_error_ends_as_was_said(told, world, flow, error, begun):
    plain = told(flow)
    if begun:
        really(world, plain)
    if ending(plain) != "sent":
        with pytest.raises(BackendError, match=r"nobody else tells of it"):
            told(flow, "--error", error)
        return
    said = told(flow, "--error", error)
    sent, why = really(world, said)
    if said["sent"]:
        assert (bytes.fromhex(said["sent"]), []) == (sent[0], why)
    else:
        assert ([], [ending(said)]) == (sent, why)


@begun
@flows
def test_pieces_end_as_was_said(told, world, flow, begun):
    if begun:
        really(world, told(flow))
    first, later = told(flow, "--fragment", "first"), told(flow, "--fragment", "later")
    assert first["frame"] != later["frame"]
    if begun or "whole" not in first:  # else a port is drawn
        hold_pieces(world, first, later)


def same(one: dict, other: dict) -> dict:
    assert (one["frame"], one["sent"]) == (other["frame"], other["sent"])
    return one


def hold_pieces(world, first: dict, later: dict) -> None:
    sent, why = really(world, later, first)
    if "whole" not in first:
        assert ({ending(first), ending(later)}, []) == (set(why), sent)
    elif whole := same(first["whole"], later["whole"])["sent"]:
        assert (bytes.fromhex(whole), []) == (sent[0], why)
    else:
        assert ending(first["whole"]) in why


def test_a_router_s_too_big(told, world):
    """As the workload hears it: its own addresses, and the size."""
    (out,) = world.inject("downlink", bytes.fromhex(told(FLOWS["SNAT tcp"])["frame"]))
    about = ("--error", "too-big", "--mtu", "1400")
    said = told(FLOWS["SNAT tcp"], *about, "--by", ROUTER)
    assert (said["role"], ending(said)) == ("uplink", "sent")
    asked = IP(bytes.fromhex(said["frame"])[14:])
    assert (asked.src, asked.dst, asked[ICMP].nexthopmtu) == (ROUTER, POOL_A.secondary, 1400)
    (heard,) = world.inject("uplink", bytes.fromhex(said["frame"]))
    assert (heard.ip.src, heard.ip.dst, heard.ip[ICMP].nexthopmtu) == (ROUTER, C.address, 1400)
    quoted = inside(heard)
    assert (quoted.src, quoted.dst, quoted.sport) == (C.address, NET, 40000)
    assert out.ip.src == POOL_A.secondary


def test_a_router_behind_a_workload_s_host(told, world):
    door = FLOWS["a door"]
    really(world, told(door))
    said = told(door, "--error", "time-exceeded", "--by", "172.17.0.1")
    assert (said["events"][0]["outer_src"], said["events"][0]["note"]) == (
        B.tep,
        f"from TEP {B.tep}",
    )
    sent, why = really(world, said)
    assert (bool(said["sent"]), ending(said)) == (bool(sent), why[0] if why else "sent")


def test_in_words(ask):
    ends = ("--src", C.address, "--dst", NET)
    text = ask(explain, *ends, "--fragment", "later")
    assert "=> held until its other pieces are here, too; then the whole goes on" in text
    piece, whole = text.split("put together: ")
    assert "frag:61" in piece
    assert "=> sent by the uplink to 10.99.1.1" in whole
    text = ask(explain, *ends, "--error", "unreachable")
    assert text.startswith("by the uplink: Ether / IP / ICMP")
    assert "=> dropped: NO_DNAT" in text
    assert text.splitlines()[-1].startswith("that flow has no session now, and an error is taken")


def test_an_error_about_a_session_s_packet_has_no_remark(told, world):
    flow = FLOWS["SNAT tcp"]
    assert told(flow, "--error", "unreachable")["remark"]
    really(world, told(flow))
    assert not told(flow, "--error", "unreachable")["remark"]


WRONG = [
    (("--by", ROUTER), click.UsageError, "--by is of an ICMP error: say --error"),
    (("--error", "too-big", "--fragment", "first"), click.UsageError, "exclude each other"),
    (("--fragment", "first", "--length", "51"), BackendError, "say 52 or more"),
    (("--error", "late"), click.UsageError, "'late' is not one of"),
]


@pytest.mark.parametrize("more, kind, words", WRONG, ids=[" ".join(row[0]) for row in WRONG])
def test_what_cannot_be_asked(told, more, kind, words):
    with pytest.raises(kind, match=words):
        told(FLOWS["SNAT udp"], *more)


def test_who_answers_himself_hears_no_error(told):
    flow = (C.address, "192.168.99.1", "--protocol", "icmp")
    with pytest.raises(BackendError, match="that packet: is answered here"):
        told(flow, "--error", "unreachable")


def test_the_shortest_in_pieces(told, world):
    flow = (*FLOWS["SNAT tcp"], "--length", "52")
    really(world, told(flow))
    first, later = (told(flow, "--fragment", which) for which in ("first", "later"))
    lengths = [one["events"][-1]["length"] for one in (first, later)]
    assert lengths[0] > lengths[1]
    hold_pieces(world, first, later)
