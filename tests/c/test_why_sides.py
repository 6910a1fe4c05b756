"""pcgctl why: what comes back carries other addresses than the flow that was asked about."""

import contextlib
import shlex
import threading

from pcg.cli import bpf
from pcg.cli.capture import capture
from pcg.datapath.pack import CaptureWanted
from pcg.reconcile import records as r
from tests.c import wire
from tests.c.packets import answer, udp
from tests.c.places import NET, SERVER, A, B, C, R
from tests.c.test_why import asked
from tests.c.world import over


def dying(packet):
    packet.ttl = 1
    return packet


def watch_by_command(world, ask, *args: str) -> None:
    """Capture as the command says that `why` gives."""
    words = shlex.split(asked(ask, *args)["capture"])
    given = capture.make_context("capture", words[2:]).params
    program = bpf.compiled(" ".join(given["expression"]))
    world.dp.capture_start(CaptureWanted(inner=1, only_drops=1), program)


def test_answers_dropped_on_their_way_back_are_its(ask, world):
    (out,) = world.down(C, udp(C.address))
    (other,) = world.down(A, udp(A.address))
    for one in (out, out, other):
        world.up(dying(answer(one)))
    told = asked(ask, C.address, NET, "udp", "53")
    (drop,) = told["drops"]
    assert (drop["reason"], drop["packets"], drop["where"]) == ("TTL_EXPIRED", 2, "uplink")
    assert drop["destination"] == f"{out.ip.src}:{out.ip.sport}"


def test_the_command_shows_them(ask, world):
    (out,) = world.down(C, udp(C.address))
    watch_by_command(world, ask, C.address, NET, "udp", "53")
    world.up(dying(answer(out)))
    world.up(udp(NET, out.ip.src, sport=54, dport=out.ip.sport, ttl=1))
    world.down(C, udp(C.address, ttl=1))
    assert {c.role for c in world.dp.capture_read()} == {"uplink", "downlink"}


def test_the_command_shows_them_before_there_is_a_session(ask, world):
    watch_by_command(world, ask, R.address, NET, "udp", "53")
    (out,) = world.down(R, udp(R.address))
    world.up(dying(answer(out)))
    (seen,) = world.dp.capture_read()
    assert (seen.role, seen.reason) == ("uplink", "TTL_EXPIRED")


def test_without_a_session_whose_they_are_is_known_where_no_port_is_drawn(ask, world):
    """The one of a REFLEXIVE rule; those to a pool's address may be another's."""
    world.policy.firewall.append(r.Firewall(9, 0, 1, 1, 0, r.Match(), "closed"))
    world.commit()
    told = {}
    for vm, public in (R, "10.99.1.13"), (C, "10.99.1.10"):
        world.up(udp(NET, public, sport=53, dport=40000))
        told[vm] = asked(ask, vm.address, NET, "udp", "53")
        assert told[vm]["sessions"] == []
    assert [d["rule"] for d in told[R]["drops"]] == ["closed"]
    assert told[C]["drops"] == []
    assert [d["reason"] for d in told[C]["near"]] == ["NO_DNAT"]


def test_what_is_most_likely_its_own_comes_before_what_is_more(ask, world):
    for dport in (51, 52, 53):
        world.down(C, udp(C.address, dst="198.51.100.66", dport=dport))
    world.up(udp(NET, "10.99.1.10", sport=53, dport=40000))
    near = asked(ask, C.address, NET, "udp", "53")["near"]
    assert [(d["reason"], d["packets"]) for d in near] == [("NO_DNAT", 1), ("FIREWALL_DENIED", 3)]


def test_from_behind_a_dnat_rule(ask, world):
    (inside,) = world.up(udp(NET, SERVER.secondary, dport=7003))
    watch_by_command(world, ask, NET, SERVER.elastic, "udp", "7003")
    for _ in range(2):
        world.down(B, dying(answer(inside)))
    (drop,) = asked(ask, NET, SERVER.elastic, "udp", "7003")["drops"]
    assert (drop["source"], drop["packets"]) == (f"{B.address}:9003", 2)
    assert len(world.dp.capture_read()) == 2


def test_of_what_is_turned_round_both_sessions_are_its(ask, world):
    (inside,) = world.down(C, udp(C.address, SERVER.elastic, dport=7000))
    told = asked(ask, C.address, SERVER.elastic, "udp", "7000")
    assert [s["fwd_from_uplink"] for s in told["sessions"]] == [False, True]
    watch_by_command(world, ask, C.address, SERVER.elastic, "udp", "7000")
    world.down(B, dying(answer(inside)))
    (drop,) = asked(ask, C.address, SERVER.elastic, "udp", "7000")["drops"]
    assert (drop["reason"], drop["source"]) == ("TTL_EXPIRED", f"{B.address}:9000")
    assert len(world.dp.capture_read()) == 1


def test_what_ends_once_it_is_turned_round(ask, world):
    world.policy.firewall.append(r.Firewall(9, 0, 1, 1, 0, r.Match(), "closed"))
    world.commit()
    world.down(C, udp(C.address, SERVER.elastic, dport=7000))
    told = asked(ask, C.address, SERVER.elastic, "udp", "7000")
    assert [d["rule"] for d in told["drops"]] == ["closed"]


def test_watching_counts_both_ways_and_nobody_elses(ask, world):
    done = threading.Event()
    (out,), (other,) = (world.down(vm, udp(vm.address)) for vm in (C, A))
    frames = [wire.plain(answer(out)), wire.plain(answer(other))]

    def send() -> None:
        while not done.is_set():
            world.dp.inject("downlink", [over(C, udp(C.address))])
            world.dp.inject("uplink", frames)

    thread = threading.Thread(target=send)
    thread.start()
    with contextlib.ExitStack() as stack:
        stack.callback(thread.join)
        stack.callback(done.set)
        told = asked(ask, C.address, NET, "udp", "53", "--watch", "0.3")
    (session,) = told["sessions"]
    assert told["watched"]["sent"] == told["watched"]["came"] > 0
    assert session["rev_packets"] > 0
