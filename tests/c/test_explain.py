"""explain and trace: they tell what happens and change nothing."""

import pytest

from pcg.datapath.pack import TraceFilter
from pcg.reconcile import records as r
from tests.c import wire
from tests.c.packets import answer, flow, ping, tcp, udp
from tests.c.places import GATEWAY, LONE, LOST, NET, OTHER_NET, RED, SERVER, TEP3, WEB, A, B, ip
from tests.c.world import NEXTHOPS, over

DOWN, UP = "downlink", "uplink"
PATH_DOWN = ["parse_outer", "geneve_decap", "parse_inner", "session_lookup", "rewrite", "egress"]
PATH_UP = ["parse_uplink", "parse_inner", "session_lookup", "rewrite", "egress"]


def everything(w) -> tuple:
    """All that may be read of a datapath."""
    dp = w.dp
    counts = dp.totals(), dp.drops(), dp.stages(), dp.nics()
    return *counts, dp.counters("segments"), dp.counters("nat"), dp.sessions(), dp.read("ports")


def stages(events) -> list[str]:
    return [event["stage"] for event in events]


ASKED = {
    "new session": ("downlink", over(A, tcp("S"))),
    "between segments": ("downlink", over(A, udp(dst=B.address))),
    "ping of the gateway": ("downlink", over(A, ping(dst=GATEWAY[WEB][0]))),
    "spoofed": ("downlink", over(A, udp(src="192.168.99.250"))),
    "TTL": ("downlink", over(A, udp(ttl=1))),
    "no route": ("downlink", over(RED, udp(RED.address, "192.0.2.1"))),
    "nobody there": ("downlink", over(A, udp(dst="192.168.100.99"))),
    "no NAT rule": ("downlink", over(LONE, udp(LONE.address))),
    "blackhole": ("downlink", over(A, udp(dst="192.168.100.200"))),
    "no session": ("downlink", over(A, tcp("A"))),
    "too big": ("downlink", over(A, udp(flags="DF", data=bytes(1480)))),
    "hairpin": ("downlink", over(A, udp(dst=SERVER.elastic, dport=7000))),
    "DNAT": ("uplink", wire.plain(udp(NET, SERVER.secondary, dport=7000))),
    "no door": ("uplink", wire.plain(udp(NET, SERVER.secondary, dport=9))),
    "nonsense": ("uplink", bytes(20)),
    "nothing": ("downlink", b""),
}


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
def test_explain_changes_nothing_and_tells_the_truth(world, asked):
    before = everything(world)
    told, out = world.dp.explain(*asked)
    assert everything(world) == before
    world.dp.trace_start(1)
    sent = world.dp.inject(*asked[:1], [asked[1]], world.now_ns)
    seen = world.dp.trace_read()
    assert stages(told) == stages(seen) != []
    for what in ("verdict", "reason", "nat_id", "fw_id", "src", "dst", "next"):
        assert [event[what] for event in told] == [event[what] for event in seen], what
    if told[-1]["verdict"] == "dropped":
        assert told[-1]["note"] == seen[-1]["note"]  # with it what the sender is told
    if told[-1]["verdict"] == "sent":
        assert len(out) == len(sent[-1].frame)


# fmt: off
TOLD = [
    (DOWN, over(RED, udp(RED.address, "192.0.2.1")), "NO_ROUTE", "ICMP 3/0"),
    (DOWN, over(A, udp(dst="192.168.100.99")), "PORT_UNKNOWN", "ICMP 3/1"),
    (DOWN, over(A, udp(dst=LOST.address)), "NEIGHBOUR_UNRESOLVED", "ICMP 3/1"),
    (DOWN, over(LONE, udp(LONE.address)), "NO_NAT", "ICMP 3/13"),
    (DOWN, over(A, udp(flags="DF", data=bytes(1480))), "TOO_BIG", "ICMP 3/4"),
    (DOWN, over(A, udp(ttl=1)), "TTL_EXPIRED", "ICMP 11/0"),
    (DOWN, over(A, udp(dst="198.51.100.67")), "FIREWALL_DENIED", "ICMP 3/13"),
    (DOWN, over(A, tcp("S", dst="198.51.100.67")), "FIREWALL_DENIED", "RST"),
    (DOWN, over(A, tcp("A")), "TCP_NO_SESSION", "RST"),
    (DOWN, over(A, udp(dst="192.168.100.200")), "BLACKHOLE", ""),
    (DOWN, over(A, udp(dst="192.168.100.255")), "PORT_UNKNOWN", ""),
    (UP, wire.plain(udp(NET, "198.18.7.99")), "PORT_UNKNOWN", ""),
]
# fmt: on


@pytest.mark.parametrize("role, frame, why, said", TOLD, ids=[f"{row[2]} {row[3]}" for row in TOLD])
def test_explain_says_what_the_sender_is_told(world, role, frame, why, said):
    world.dp.put("teps", [r.Teps(ip(TEP3), bytes(6), 0, 1, 9001, silent=1)])
    events, _ = world.dp.explain(role, frame)
    assert events[-1]["reason"] == why
    assert events[-1]["note"] == (f"its sender is told by {said}" if said else "")
    assert world.dp.totals()["made"] == 0


def test_explain_says_what_a_spent_quota_tells(world):
    world.policy.quota = {"sessions_each": 1}
    world.commit()
    world.down(A, udp(sport=1))
    events, _ = world.dp.explain("downlink", over(A, udp(sport=2)))
    assert events[-1]["reason"] == "QUOTA_SESSIONS"
    assert events[-1]["note"] == "its sender is told by ICMP 3/13"
    assert world.dp.totals()["made"] == 0
    assert not any(row.refused for row in world.dp.read("usage"))


def test_explain_of_errors_that_are_switched_off(world):
    world.policy.quota = {"made_all": 0}
    world.commit()
    events, _ = world.dp.explain("downlink", over(A, udp(dst="192.168.100.99")))
    assert events[-1]["note"] == ""


def test_explain_of_a_marked_session(world):
    (out,) = world.down(A, tcp("S"))
    world.dp.delete("nexthops", NEXTHOPS)
    world.commit()
    before = everything(world)
    assert world.dp.sessions()[0]["marked"]
    world.dp.explain("downlink", over(A, tcp("A")))
    world.dp.explain("uplink", wire.plain(answer(out)))
    assert before[-2] == everything(world)[-2]  # the session is still there, and still marked


def test_explain_of_a_session_that_will_go_another_way(world):
    (out,) = world.down(A, tcp("S"))
    world.dp.put("nexthops", [r.Nexthops(ip("10.99.1.9"), bytes(6), 1)])
    world.policy.routes["default"] = r.Routes(0, bytes(4), 0, 0, ip("10.99.1.9"), 0)
    world.commit()
    told, _ = world.dp.explain("downlink", over(A, tcp("A")))
    assert told[-1]["next"] == "10.99.1.9"
    told, _ = world.dp.explain("uplink", wire.plain(answer(out)))
    assert (told[-1]["verdict"], told[-1]["next"]) == ("sent", A.tep)
    assert [s["marked"] for s in world.dp.sessions()] == [1]


# The first port that is free is 1024: drawn or not, that it is its own too says nothing.
ENDPOINTS = {
    "udp": lambda **to: udp(sport=1024, **to),
    "tcp": lambda **to: tcp("S", sport=1024, **to),
    "icmp": lambda **to: ping(id_=1024, **to),
}


def rewritten(told) -> tuple[str, int]:
    """What the rewriting stage says, and the port that it names."""
    (event,) = [event for event in told if event["stage"] == "rewrite"]
    return event["note"], event["new_port"]


@pytest.mark.parametrize("packet", ENDPOINTS.values(), ids=ENDPOINTS)
class TestPort:
    """RFC 4787 REQ-1: an endpoint keeps its port, whomever it talks to."""

    def test_of_a_new_mapping_is_not_known(self, world, packet):
        told, _ = world.dp.explain("downlink", over(A, packet()))
        (out,) = world.down(A, packet())
        assert rewritten(told) == (f"port drawn at random, source becomes {out.ip.src}", 0)

    def test_of_the_mapping_that_it_has_is_told(self, world, packet):
        (has,) = world.down(A, packet())
        told, shown = world.dp.explain("downlink", over(A, packet(dst=OTHER_NET)))
        source, _, port, _ = flow(has)
        assert rewritten(told) == (f"source becomes {source}:{port}", port)
        (out,) = world.down(A, packet(dst=OTHER_NET))
        assert flow(out)[::2] == flow(has)[::2]
        assert shown[14:] == bytes(out.ip)

    def test_of_a_mapping_that_its_rule_no_longer_fits(self, world, packet):
        world.down(A, packet())
        world.policy.nat["snat"] = world.policy.nat["snat"]._replace(port_first=1, port_last=1023)
        world.commit()
        told, _ = world.dp.explain("downlink", over(A, packet(dst=OTHER_NET)))
        assert rewritten(told)[0].startswith("port drawn at random")


def test_the_stages_of_a_packet(world):
    told, _ = world.dp.explain("downlink", over(A, tcp("S")))
    assert stages(told) == PATH_DOWN
    assert [event["verdict"] for event in told] == ["next"] * 5 + ["sent"]
    told, _ = world.dp.explain("uplink", wire.plain(udp(NET, SERVER.secondary, dport=7000)))
    assert stages(told) == PATH_UP
    assert told[-1]["nat_id"] == 5


def test_stages_count_what_entered_them(world):
    world.down(A, udp())
    world.down(A, udp(ttl=1, sport=2))
    counted = world.dp.stages()
    assert [counted[stage] for stage in PATH_DOWN] == [2, 2, 2, 2, 1, 1]


class TestTrace:
    def traced(self, w, packets: int = 99, **wanted) -> set[int]:
        """Which packets (by the order of their sending) a trace with this filter notes."""
        w.dp.trace_start(packets, TraceFilter(**wanted))
        w.down(A, udp(sport=1, dport=53))
        w.down(A, tcp("A", sport=2))  # dropped
        w.down(B, udp(B.address, A.address, sport=3))
        w.up(udp(NET, SERVER.secondary, sport=4, dport=7000))
        return {event["sport"] for event in w.dp.trace_read()}

    @pytest.mark.parametrize(
        "wanted, noted",
        [
            ({}, {1, 2, 3, 4}),
            ({"packets": 2}, {1, 2}),
            ({"protocol": 6}, {2}),
            ({"port": 7000}, {4}),
            ({"port": 53}, {1, 3}),
            ({"address_be": ip(B.address)}, {3}),
            ({"address_be": ip(NET), "peer_be": ip(A.address)}, {1, 2}),
            ({"vni": 9000}, {1, 2, 3}),
            ({"only_drops": 1}, {2}),
            ({"only_drops": 1, "protocol": 17}, set()),
        ],
        ids=str,
    )
    def test_filter(self, world, wanted, noted):
        seen = self.traced(world, **wanted)
        assert seen - {0} == noted

    def test_ends_by_itself(self, world):
        world.dp.trace_start(1)
        world.down(A, udp())
        assert len(world.dp.trace_read()) == len(PATH_DOWN)
        world.down(A, udp())
        assert world.dp.trace_read() == []

    def test_nobody_reads(self, world):
        """The oldest events go; the path does not wait."""
        world.dp.trace_start(10_000)
        world.inject("downlink", *[over(A, udp(dst=B.address))] * 1000)
        events = 0
        while got := world.dp.trace_read():
            events += len(got)
        assert 4000 < events < 6000
