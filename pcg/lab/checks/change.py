"""Point 5: what changes at the controller takes effect within a second, and only there."""

import contextlib
from collections.abc import Iterator

from msgspec.structs import replace

from pcg.lab.checks.check import check, expect
from pcg.lab.clients import Beat, Ping, Stream
from pcg.lab.lab import Lab
from pcg.lab.layout import HTTP, INTERNET, INTERNET_OTHER
from pcg.lab.programs import until
from pcg.model.desired import Desired, Match, Nat, NatAction, Route

PATIENCE_S = 15.0  # how long we look for an effect before we call it none


@contextlib.contextmanager
def others_undisturbed(lab: Lab, stream_of: str) -> Iterator[None]:
    """Meanwhile a ping of t2 loses nothing, and a download of `stream_of` goes on."""
    space = lab.layout.workload_ns(stream_of)
    ping = Ping(lab.layout.workload_ns("t2-web1"), INTERNET)
    with ping, Stream(space, f"http://{INTERNET}:{HTTP}/stream") as stream:
        yield
        expect(stream.goes_on(), f"the download of {stream_of} {stream.broken}")
    expect(not ping.lost, f"another VRF lost {len(ping.lost)} of {ping.sent} pings")


@contextlib.contextmanager
def put_back(lab: Lab) -> Iterator[None]:
    """Also a check that fails leaves the lab as it found it."""
    found = lab.desired
    try:
        yield
    finally:
        for was, port in zip(found.ports, lab.desired.ports, strict=True):
            if port.tep != was.tep:
                lab.move(port.id, lab.layout.site_of(was).name)
        if lab.desired != found:
            lab.publish(lambda _: found)


def in_time(lab: Lab, what: str, took_s: float) -> float:
    limit = lab.effect_limit_s
    expect(took_s <= limit, f"{what} took {took_s * 1000:.0f} ms, more than {limit:.0f} s")
    return took_s


def _seen_as(lab: Lab, beat: Beat, since: float, address: str) -> float:
    """Seconds until the internet saw `address`."""
    answer = until(f"being seen as {address}", lambda: beat.first(since, address), PATIENCE_S)
    return in_time(lab, f"being seen as {address}", answer.got_at - since)


@check(5, "NAT rule added and removed: new sessions leave by another Elastic IP")
def nat_rule_changes(lab: Lab) -> str:
    spare, _ = lab.layout.public("eip-spare")
    usual, _ = lab.layout.public("eip-t1")
    rule = Nat(
        id="web-out",
        vrf="t1",
        action=NatAction.SNAT,
        priority=150,
        match=Match(source=lab.layout.port("web1").addresses),
        translated=("eip-spare",),
    )

    def add(desired: Desired) -> Desired:
        return replace(desired, nat=(*desired.nat, rule))

    def remove(desired: Desired) -> Desired:
        return replace(desired, nat=tuple(n for n in desired.nat if n.id != rule.id))

    beat = Beat(lab.layout.workload_ns("web1"), INTERNET, fresh=True)
    with put_back(lab), others_undisturbed(lab, "app1"), beat:
        until("the usual address", lambda: beat.first(0.0, usual))
        added = _seen_as(lab, beat, lab.publish(add), spare)
        removed = _seen_as(lab, beat, lab.publish(remove), usual)
    return f"added in {added * 1000:.0f} ms, removed in {removed * 1000:.0f} ms; others undisturbed"


@check(5, "route added and removed: a live session stops and goes on")
def route_changes(lab: Lab) -> str:
    route = Route(vrf="t1", prefix=f"{INTERNET_OTHER}/32", blackhole=True)

    def add(desired: Desired) -> Desired:
        return replace(desired, routes=(*desired.routes, route))

    def remove(desired: Desired) -> Desired:
        return replace(desired, routes=tuple(r for r in desired.routes if r != route))

    beat = Beat(lab.layout.workload_ns("web1"), INTERNET_OTHER, fresh=False)
    with put_back(lab), others_undisturbed(lab, "app1"), beat:
        until("an answer", lambda: beat.first(0.0))
        since = lab.publish(add)
        until("silence", lambda: beat.silent_for(0.3), PATIENCE_S)
        stopped = in_time(lab, "the blackhole", beat.answers[-1].sent_at - since)
        since = lab.publish(remove)
        answer = until("an answer again", lambda: beat.first(since), PATIENCE_S)
        resumed = in_time(lab, "its removal", answer.got_at - since)
    stopped_ms = max(0.0, stopped * 1000)
    return f"stopped in {stopped_ms:.0f} ms, resumed in {resumed * 1000:.0f} ms; others undisturbed"


@check(5, "workload moves to another TEP in another zone, and back, its session with it")
def workload_moves(lab: Lab) -> str:
    home = lab.layout.site_of(lab.layout.port("app1")).name
    space = lab.layout.workload_ns("app1")
    with (
        put_back(lab),
        others_undisturbed(lab, "web1"),
        Stream(space, f"http://{INTERNET}:{HTTP}/stream") as stream,
        Beat(space, INTERNET, fresh=False) as beat,
    ):
        there = _move(lab, beat, stream, "h3")
        back = _move(lab, beat, stream, home)
    return f"reached in {there * 1000:.0f} ms, back in {back * 1000:.0f} ms; its download went on"


def _move(lab: Lab, beat: Beat, stream: Stream, to: str) -> float:
    """Seconds from the controller's word to the first answer at the new place."""
    told = lab.move("app1", to)
    answer = until(f"an answer on {to}", lambda: beat.first(told), PATIENCE_S)
    took = in_time(lab, f"the move to {to}", answer.got_at - told)
    expect(stream.goes_on(), f"the moved download {stream.broken}")
    return took
