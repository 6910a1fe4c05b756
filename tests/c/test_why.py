"""pcgctl why, and the rules that explain names, asked of a path that really decides."""

import contextlib
import json
import shlex
import threading

import pytest

from pcg.cli import bpf, tables
from pcg.cli.capture import capture
from pcg.cli.explain import explain
from pcg.cli.why import why
from pcg.datapath.pack import CaptureWanted
from pcg.model.errors import BackendError
from pcg.reconcile import records as r
from tests.c import dhcp
from tests.c.packets import answer, tcp, udp
from tests.c.places import (
    GATEWAY,
    LONE,
    LOST,
    NET,
    PLAIN,
    POOL_A,
    RED,
    SERVER,
    THIN,
    TWIN,
    WEB,
    WHOLE,
    A,
    B,
    C,
    R,
    ip,
)
from tests.c.world import NO_SNAT, nat, over, source


def asked(ask, *args: str) -> dict:
    return json.loads(ask(why, *args, "--json"))


SNAT = "rule rule-9 (SNAT)"
ALLOWED = "no rule, the VRF's default (ALLOW)"
HOP = "router 10.99.1.1, MAC 0e:00:00:00:00:01"
RULINGS = [
    # from, to, dport             what the rules say
    (
        (C.address, NET, "53"),
        {
            "route": "0.0.0.0/0, by the uplink to 10.99.1.1",
            "NAT": f"{SNAT}, puts 10.99.1.10 (Elastic IP, 203.0.113.10)",
            "firewall": ALLOWED,
            "next hop": HOP,
            "MTU": "IP packets up to 1500 bytes",
        },
        "sent",
    ),
    (
        (C.address, B.address, "53"),
        {
            "route": "192.168.100.0/24, segment app",
            "NAT": "not asked within the overlay",
            "firewall": "not asked within the overlay",
            "next hop": "TEP 10.99.3.12, MAC 06:00:00:00:00:12",
            "MTU": "IP packets up to 8943 bytes",
        },
        "sent",
    ),
    (
        (R.address, NET, "53"),
        {"NAT": "rule rule-2 (REFLEXIVE), puts 10.99.1.13:40000 (Elastic IP, 203.0.113.13)"},
        "sent",
    ),
    (
        (NET, SERVER.elastic, "7000"),
        {
            "NAT": "rule rule-5 (DNAT), puts 192.168.100.3:9000",
            "route": "192.168.100.0/24, segment app",
            "next hop": "TEP 10.99.3.12, MAC 06:00:00:00:00:12",
        },
        "sent",
    ),
    ((PLAIN.address, NET, "53"), {"NAT": "not translated", "firewall": ALLOWED}, "sent"),
    ((LONE.address, NET, "53"), {"NAT": "no rule", "firewall": None}, "NO_NAT"),
    (
        (C.address, "198.51.100.66", "53"),
        {"NAT": SNAT, "firewall": "rule silent (DROP)"},
        "FIREWALL_DENIED",
    ),
    (
        (C.address, "100.64.0.9", "53"),
        {
            "route": "100.64.0.0/10, by the uplink to 10.99.1.2",
            "next hop": "router 10.99.1.2, MAC not known",
        },
        "NEIGHBOUR_UNRESOLVED",
    ),
    (
        (C.address, "100.127.0.9", "53"),
        {"next hop": "10.99.1.3, not among the next hops"},
        "NEIGHBOUR_UNRESOLVED",
    ),
    (
        (C.address, LOST.address, "53"),
        {"next hop": "TEP 10.99.3.13, MAC not known"},
        "NEIGHBOUR_UNRESOLVED",
    ),
    ((C.address, "192.168.100.200", "53"), {"route": "192.168.100.200/32, blackhole"}, "BLACKHOLE"),
    (
        (C.address, "192.168.100.99", "53"),
        {"route": "192.168.100.0/24, segment app"},
        "PORT_UNKNOWN",
    ),
    ((NET, SERVER.elastic, "9"), {"NAT": "no rule", "firewall": None}, "NO_DNAT"),
]


@pytest.mark.parametrize("flow, says, ends", RULINGS, ids=lambda v: str(v)[:50])
def test_what_the_rules_say(ask, flow, says, ends):
    source, destination, port = flow
    told = asked(ask, source, destination, "udp", port)
    said = dict(told["rules"])
    assert {what: said.get(what) for what in says} == says
    assert (told["reason"] or told["verdict"]) == ends


def test_turned_round_inside_is_decided_twice(ask):
    told = asked(ask, C.address, SERVER.elastic, "udp", "7000")
    assert [what for what, _ in told["rules"]].count("NAT") == 2
    texts = [text for _, text in told["rules"]]
    assert "203.0.113.12 is a public address of ours: turned round here" in texts
    assert "rule rule-5 (DNAT), puts 192.168.100.3:9000" in texts
    assert "192.168.100.0/24, segment app" in texts


def test_a_firewalls_default_and_a_rule_that_goes_round_it(ask, world):
    world.policy.defaults = (1, 1)
    world.policy.nat["snat"] = world.policy.nat["snat"]._replace(fw_match=2)
    world.commit()
    told = dict(asked(ask, C.address, NET, "udp", "53")["rules"])
    assert told["firewall"] == "bypassed by NAT rule rule-9"
    told = asked(ask, PLAIN.address, NET, "udp", "53")
    assert dict(told["rules"])["firewall"] == "no rule, the VRF's default (DROP)"
    assert told["reason"] == "FIREWALL_DENIED"


def test_explain_says_the_rules_and_the_mtu(ask):
    text = ask(explain, "--src", C.address, "--dst", NET, "--protocol", "udp", "--length", "1501")
    assert "=> dropped: TOO_BIG" in text
    assert "  MTU      IP packets up to 1500 bytes" in text
    assert f"  NAT      {SNAT}, puts" in text


def test_explain_of_what_may_be_cut(ask):
    args = (
        "--src",
        C.address,
        "--dst",
        NET,
        "--protocol",
        "udp",
        "--length",
        "1600",
        "--tos",
        "40",
    )
    text = ask(explain, *args, "--no-df")
    assert "=> sent by the uplink to 10.99.1.1" in text
    assert text.splitlines()[-1].startswith("as it would leave (its port will be another: it is ")
    assert text.splitlines()[-1].endswith(" ttl 63 length 1500, more pieces follow")
    assert "TOO_BIG" in ask(explain, *args, "--df")


def test_explain_of_the_gateway_itself_names_no_rules(ask):
    args = ("--src", C.address, "--dst", GATEWAY[WEB][0], "--protocol", "icmp", "--json")
    assert json.loads(ask(explain, *args))["rules"] == []


def test_a_session_by_any_of_its_addresses(ask, world):
    (out,) = world.down(C, tcp("S", src=C.address))
    world.up(answer(out))
    (session,) = world.dp.sessions()
    for one, other in ((C.address, NET), (NET, C.address), (out.ip.src, NET)):
        port = "80" if other == NET else str(session["fwd_sport"])
        told = asked(ask, one, other, "tcp", port)
        assert [s["index"] for s in told["sessions"]] == [session["index"]], one
    assert asked(ask, C.address, NET, "tcp", "81")["sessions"] == []
    assert asked(ask, C.address, NET, "udp", "80")["sessions"] == []
    assert asked(ask, B.address, NET, "tcp", "80")["sessions"] == []
    assert len(asked(ask, C.address, NET)["sessions"]) == 1


def test_the_same_address_in_another_vrf_is_another_flow(ask, world):
    world.down(A, tcp("S"))
    assert len(asked(ask, A.address, NET, "tcp", "80", "--vrf", "blue")["sessions"]) == 1
    assert asked(ask, A.address, NET, "tcp", "80", "--vrf", "red")["sessions"] == []


def test_a_drop_of_it_says_when_why_and_what_to_do(ask, look, world):
    for sport in (1, 2):
        world.down(C, udp(C.address, dst="198.51.100.66", sport=sport))
    text = ask(why, C.address, "198.51.100.66", "udp", "53")
    assert (
        "dropped     2 packets, the last 0 s ago, in 0 s: FIREWALL_DENIED, by rule silent: " in text
    )
    assert (
        "udp 192.168.99.8:2 -> 198.51.100.66:53 from TEP 10.99.3.12 VNI 9000, by the downlink: "
        in text
    )
    told = asked(ask, C.address, "198.51.100.66", "udp", "53")
    (drop,) = told["drops"]
    assert (drop["reason"], drop["rule"], drop["packets"]) == ("FIREWALL_DENIED", "silent", 2)
    assert text.splitlines()[-1] == f"do          {told['advice']}"
    assert told["advice"] == look.client.advice()["FIREWALL_DENIED"]


def test_each_flow_that_a_rule_refused_is_found(ask, world):
    """Not only the one that is the example of its kind."""
    for dport in range(1, 30):
        world.down(C, udp(C.address, dst="198.51.100.66", dport=dport))
    for dport in (1, 17, 29):
        (drop,) = asked(ask, C.address, "198.51.100.66", "udp", str(dport))["drops"]
        assert drop["destination"] == f"198.51.100.66:{dport}"
    text = ask(why, C.address, "198.51.100.66")
    assert text.count(": FIREWALL_DENIED, by rule silent: ") == 5
    assert "and 24 more" in text


def test_who_is_refused_on_the_way_back_is_found_by_the_port_it_came_from(ask, world):
    """A server's answers to many of its client's ports are one."""
    for sport in range(40_000, 40_020):
        world.up(tcp("SA", src=NET, dst=POOL_A.secondary, sport=443, dport=sport))
    told = asked(ask, POOL_A.elastic, NET, "tcp", "443")
    ((reason, packets),) = [(d["reason"], d["packets"]) for d in told["drops"]]
    assert (reason, packets) == ("NO_DNAT", 20)
    assert asked(ask, POOL_A.elastic, NET, "tcp", "444")["drops"] == []


def test_a_drop_on_the_other_side_of_its_session_is_its(ask, world):
    """By translated addresses: the answer that ends here for its size."""
    (out,) = world.down(THIN, udp(THIN.address))
    back = answer(out, data=bytes(1440))
    back.flags = "DF"
    world.up(back)
    (drop,) = asked(ask, THIN.address, NET, "udp", "53")["drops"]
    assert (drop["reason"], drop["destination"].split(":")[0]) == ("TOO_BIG", out.ip.src)


def test_of_a_session_that_goes_on_some_may_be_dropped(ask, look, world):
    (out,) = world.down(C, udp(C.address))
    world.up(answer(out))
    world.down(C, udp(C.address, ttl=1))
    advice = asked(ask, C.address, NET, "udp", "53")["advice"]
    texts = look.client.advice()
    assert advice == f"some of it passes, some is dropped: {texts['TTL_EXPIRED']}"


def test_a_drop_of_another_flow_of_its_ends_is_told_apart(ask, world):
    world.down(C, udp(C.address, dst="198.51.100.66"))
    told = asked(ask, C.address, NET, "udp", "53")
    assert told["drops"] == []
    assert [d["reason"] for d in told["near"]] == ["FIREWALL_DENIED"]
    text = ask(why, C.address, NET, "udp", "53")
    assert "dropped     none of it lately" in text
    assert "of its ends 1 packet, the last 0 s ago: FIREWALL_DENIED" in text


def test_what_of_its_host_could_not_be_read_is_near(ask, world):
    world.inject("downlink", over(C, udp(C.address))[:60])
    told = asked(ask, C.address, NET, "udp", "53")
    assert told["drops"] == []
    assert [(d["reason"], d["tep"]) for d in told["near"]] == [("OUTER_IP_BAD", C.tep)]
    text = ask(why, C.address, NET, "udp", "53")
    assert "OUTER_IP_BAD: 60 bytes that could not be read from TEP 10.99.3.12" in text


def test_a_workload_behind_an_unknown_endpoint_is_found(ask, world):
    world.down(C._replace(tep="10.99.3.99"), udp(C.address))
    text = ask(why, C.address, NET, "udp", "53")
    assert "TEP_UNKNOWN: udp 192.168.99.8:1000 -> 198.51.100.9:53 from TEP 10.99.3.99" in text


def test_without_a_drop_it_says_how_to_see_every_one(ask, world):
    args = C.address, "198.51.100.66", "udp", "52"
    last = ask(why, *args).splitlines()[-1]
    head, command = last.strip().split(": ", 1)
    assert head == "each drop of it from now on"
    assert command == asked(ask, *args)["capture"]
    pcgctl, name, *given = shlex.split(command)
    assert (pcgctl, name) == ("pcgctl", capture.name)
    given = capture.make_context(name, given).params
    assert given["drops"]
    assert given["inner"]
    program = bpf.compiled(" ".join(given["expression"]))
    world.dp.capture_start(CaptureWanted(inner=1, only_drops=1), program)
    for dport in (51, 52, 53):
        world.down(C, udp(C.address, dst="198.51.100.66", dport=dport))
    (seen,) = world.dp.capture_read()
    assert seen.reason == "FIREWALL_DENIED"


def test_on_a_terminal_lines_end_between_words_and_the_command_is_whole(ask, world, monkeypatch):
    for dport in (51, 52, 53):
        world.down(C, udp(C.address, dst="198.51.100.66", dport=dport))
    wide = ask(why, C.address, NET)
    monkeypatch.setattr(tables, "console", lambda: tables.Terminal(width=60))
    lines = ask(why, C.address, NET).splitlines()
    command = [line for line in lines if "pcgctl capture" in line]
    assert len(command) == 1
    assert command[0] in wide.splitlines()
    assert all(len(line) <= 60 for line in lines if line not in command)
    assert " ".join(" ".join(lines).split()) == " ".join(wide.split())


def test_drops_near_it_are_told_with_how_many_flows(ask, world):
    for dport in (51, 52, 53):
        world.down(C, udp(C.address, dst="198.51.100.66", dport=dport))
    assert "of its ends 3 packets of 3 flows, the last 0 s ago" in ask(why, C.address, NET)


NAMED = {
    "segments": [{"id": "web", "vrf": "blue"}, {"id": "red-web", "vrf": "red"}],
    "ports": [
        {"id": "c", "segment": "web", "addresses": [C.address]},
        {"id": "red", "segment": "red-web", "addresses": [RED.address]},
    ],
    "public_addresses": [{"id": "door", "vrf": "red", "address": SERVER.elastic}],
}


def test_names_are_taken_for_addresses(ask, look, monkeypatch):
    monkeypatch.setattr(look, "ask_gateway", lambda op: NAMED if op == "desired" else [])
    told = asked(ask, "c", NET, "udp", "53")
    assert told["flow"] == f"udp {C.address} -> {NET} port 53"
    assert asked(ask, "c", "door", "udp", "7000")["verdict"] == "sent"
    text = ask(explain, "--src", "c", "--dst", NET, "--protocol", "udp", "--dport", "53")
    assert f"udp {C.address}:40000 -> {NET}:53" in text
    with pytest.raises(BackendError, match="is in VRF red, not in blue as c is.*name one"):
        ask(why, "c", "red", "tcp", "80")


def test_what_found_no_place_is_said(ask, world):
    flood = [over(A, udp(dst="198.51.100.66", dport=1 + i)) for i in range(80)]
    world.inject("downlink", *flood)
    told = asked(ask, C.address, "198.51.100.66", "udp", "53")
    assert told["unlisted"] == {"FIREWALL_DENIED": 16}
    text = ask(why, C.address, "198.51.100.66", "udp", "53")
    assert "not listed, as too many flows came at once: 16 packets FIREWALL_DENIED" in text


DOORS = [
    # to, port: inside            as it comes from outside
    ((B.address, "tcp", "8080"), f"{SERVER.elastic} port 80 (by NAT rule rule-4, ", "sent"),
    ((B.address, "udp", "9003"), f"{SERVER.elastic} port 7003 (by NAT rule rule-5, ", "sent"),
    ((B.address, "udp", "9010"), f"{B.address} port 9010", "NOT_OWNED"),
    ((C.address, "tcp", "22"), f"{WHOLE.elastic} port 22 (by NAT rule rule-6, ", "sent"),
    ((PLAIN.address, "tcp", "22"), f"{PLAIN.address} port 22", "sent"),
    ((LONE.address, "tcp", "22"), f"{LONE.address} port 22", "NOT_OWNED"),
]


def test_where_nothing_leads_to_a_workload_that_is_said(ask):
    assert "no NAT rule leads from outside to this" in asked(ask, NET, LONE.address)["advice"]
    assert "add the public address" in asked(ask, NET, "10.99.1.250")["advice"]


@pytest.mark.parametrize("to, words, ends", DOORS, ids=lambda v: str(v)[:50])
def test_from_outside_a_workload_is_asked_about_by_the_rule_that_leads_to_it(ask, to, words, ends):
    told = asked(ask, NET, *to)
    assert words in told["flow"]
    assert (told["reason"] or told["verdict"]) == ends


def test_from_inside_no_rule_is_looked_for(ask):
    assert asked(ask, A.address, B.address, "tcp", "8080")["flow"].endswith(
        f"{B.address} port 8080"
    )


def test_what_a_rule_leads_in_is_found_by_either_address(ask, world):
    world.up(tcp("S", src=NET, dst=SERVER.secondary, dport=80))
    for to, port in ((B.address, "8080"), (SERVER.elastic, "80"), (SERVER.secondary, "80")):
        assert len(asked(ask, NET, to, "tcp", port)["sessions"]) == 1
    world.policy.firewall.append(r.Firewall(9, 0, 1, 1, 0, r.Match(), "closed"))
    world.commit()
    world.up(tcp("S", src=NET, dst=SERVER.secondary, dport=80))
    for to, port in ((B.address, "8080"), (SERVER.elastic, "80")):
        told = asked(ask, NET, to, "tcp", port)
        assert [d["rule"] for d in told["drops"]] == ["closed"]
        assert dict(told["rules"])["firewall"] == "rule closed (DROP)"


UNDECIDED = [
    # from, to, dport, options                        rules asked
    ((NET, SERVER.elastic, "9"), ["NAT"]),
    ((C.address, "192.168.100.200", "53"), ["route"]),
    ((C.address, "192.168.100.99", "53"), ["route"]),
]


WHOLLY = [
    # from, to, dport                                      all that is said, why it ends
    (
        ("198.51.100.68", SERVER.elastic, "7000"),
        [
            ("route", "192.168.100.0/24, segment app"),
            ("NAT", "rule rule-5 (DNAT), leads to 192.168.100.3"),
            ("firewall", "rule said-in (REJECT)"),
        ],
        "FIREWALL_DENIED",
    ),
    (
        ("198.51.100.68", TWIN.elastic, "22"),
        [
            ("route", "192.168.100.0/24, segment app"),
            ("NAT", "rule rule-2 (REFLEXIVE), leads to 192.168.100.4"),
            ("firewall", "rule said-in (REJECT)"),
        ],
        "FIREWALL_DENIED",
    ),
    ((NET, SERVER.elastic, "9"), [("NAT", "no rule")], "NO_DNAT"),
    ((NET, "198.18.7.99", "9"), [("route", "198.18.7.0/24, segment routed")], "PORT_UNKNOWN"),
    (
        ("100.127.0.9", SERVER.elastic, "7000"),
        [
            ("route", "192.168.100.0/24, segment app"),
            ("NAT", "rule rule-5 (DNAT), leads to 192.168.100.3"),
            (
                "way back",
                "100.127.0.0/16, by the uplink to 10.99.1.3; 10.99.1.3, not among the next hops",
            ),
        ],
        "NEIGHBOUR_UNRESOLVED",
    ),
]


@pytest.mark.parametrize("flow, says, ends", WHOLLY, ids=lambda v: str(v)[:50])
def test_what_ends_before_it_is_translated_is_routed_as_its_rule_leads(ask, flow, says, ends):
    told = asked(ask, *flow[:2], "udp", flow[2])
    assert [tuple(line) for line in told["rules"]] == says
    assert told["reason"] == ends


def test_a_stranger_to_a_mapping_is_told_of_no_route(ask, world):
    """Whom it stands for is nobody's to know but the path's."""
    (out,) = world.down(C, udp(C.address, sport=7))
    told = asked(ask, "198.51.100.11", out.ip.src, "udp", str(out.ip.sport))
    assert told["reason"] == "NAT_FILTERED"
    assert told["rules"] == [["NAT", SNAT]]


def test_an_answer_is_let_in_by_its_session(ask, world):
    world.policy.defaults = (1, 0)
    world.commit()
    (out,) = world.down(R, udp(R.address, sport=7))
    args = ("--src", NET, "--dst", TWIN.elastic, "--protocol", "udp", "--sport", "53")
    told = json.loads(ask(explain, *args, "--dport", str(out.ip.sport), "--json"))
    assert told["events"][-1]["verdict"] == "sent"
    assert dict(told["rules"])["firewall"] == "no rule, when its session was made"


def test_an_elastic_ip_that_is_routed_away_is_not_turned_round(ask, world):
    world.policy.routes["away"] = r.Routes(0, ip("203.0.113.12"), 32, 2, bytes(4), 0)
    world.commit()
    told = asked(ask, C.address, SERVER.elastic, "udp", "7000")
    assert told["reason"] == "BLACKHOLE"
    assert told["rules"] == [["route", "203.0.113.12/32, blackhole"]]


@pytest.mark.parametrize("flow, parts", UNDECIDED, ids=str)
def test_what_was_not_asked_is_not_told(ask, flow, parts):
    told = asked(ask, *flow[:2], "udp", flow[2])
    assert [what for what, _ in told["rules"]] == parts


def test_of_who_pretends_to_be_somebody_no_rule_is_told(ask):
    args = ("--src", C.address, "--dst", NET, "--from", "10.99.3.11", "--json")
    told = json.loads(ask(explain, *args))
    assert told["events"][-1]["reason"] == "SOURCE_SPOOFED"
    assert told["rules"] == []


def test_drops_of_a_host_out_there_with_others_are_not_near(ask, world):
    world.up(udp(NET, SERVER.secondary, dport=9))
    assert asked(ask, C.address, NET, "udp", "53")["near"] == []
    assert len(asked(ask, "203.0.113.77", SERVER.elastic, "udp", "9")["near"]) == 1


def test_advice_follows_what_is_found(ask, world):
    args = (C.address, NET, "tcp", "80")
    assert "look at the sender" in asked(ask, *args)["advice"]
    (out,) = world.down(C, tcp("S", src=C.address))
    assert "look behind the gateway" in asked(ask, *args)["advice"]
    world.up(answer(out))
    assert "look at the two ends" in asked(ask, *args)["advice"]
    world.policy.nat.pop("snat")
    world.commit()
    told = asked(ask, *args)
    assert told["reason"] == "NO_NAT"
    assert told["sessions"] == []
    assert told["advice"] not in ("", "look at the two ends")


def test_answers_to_an_address_of_a_segment_that_is_not_routed_do_not_come(ask, world):
    for vm, address in (C, "192.168.99.0"), (PLAIN, "198.18.7.0"):
        world.policy.nat = {"as it is": nat(21, NO_SNAT, source(address, 24))}
        world.commit()
        world.down(vm, udp(vm.address))
        advice = asked(ask, vm.address, NET, "udp", "53")["advice"]
        assert ("only for a segment that is `routed`" in advice) == (vm is C)
        assert ("look behind the gateway" in advice) == (vm is PLAIN)


def test_a_drop_that_would_not_be_one_any_more(ask, world):
    world.down(C, udp(C.address, dst="198.51.100.66"))
    world.policy.firewall = []
    world.commit()
    told = asked(ask, C.address, "198.51.100.66", "udp", "53")
    assert (told["reason"], told["verdict"]) == ("", "sent")
    assert told["advice"].startswith("the rules would let it pass now; if it is still dropped: ")


def test_watching_counts_what_comes_meanwhile(ask, world):
    done = threading.Event()

    def send() -> None:
        while not done.is_set():
            world.dp.inject("downlink", frames)

    frames = [over(C, udp(C.address, ttl=1)), over(C, udp(C.address)), over(B, udp(src=B.address))]
    thread = threading.Thread(target=send)
    thread.start()
    with contextlib.ExitStack() as stack:
        stack.callback(thread.join)
        stack.callback(done.set)
        seen = asked(ask, C.address, NET, "udp", "53", "--watch", "0.3")["watched"]
    assert seen["sent"] > 0
    ((fate, n),) = seen["dropped"].items()
    assert fate.startswith("dropped: TTL_EXPIRED")
    assert seen["came"] == seen["sent"] + n


WRONG = [
    (("1.2.3.4", "5.6.7.8", "tcp"), "needs a port"),
    (("1.2.3.4", "5.6.7.8", "icmp", "7"), "has no ports"),
    (("1.2.3.4", "5.6.7"), "is no IPv4 address"),
    (("0.0.0.0", "255.255.255.255", "udp", "67"), "explain --dhcp MAC"),
    (("web1", "1.2.3.4"), "web1.*names are the gateway's to know"),
    (("web1", "1.2.3.4", "--vrf", "nix"), "vrf nix: does not exist; there are: "),
]


@pytest.mark.parametrize("args, words", WRONG, ids=str)
def test_what_cannot_be_asked(ask, args, words):
    with pytest.raises(Exception, match=words):
        ask(why, *args)


class TestDhcp:
    def test_a_renewal_goes_by_its_segment_to_the_relay(self, world, ask):
        dhcp.Relay(dhcp.serve(world).dp)
        seen = asked(ask, C.address, GATEWAY[WEB][0], "udp", "67")
        assert (seen["verdict"], seen["reason"]) == ("punted", "")
        assert "pcgctl show leases" in seen["advice"]
        told = ask(explain, "--src", C.address, "--dst", GATEWAY[WEB][0], "--protocol", "udp",
                   "--dport", "67")  # fmt: skip
        assert "=> handed to the gateway's DHCP relay" in told

    def test_where_it_is_not_served_that_is_said(self, ask):
        seen = asked(ask, C.address, GATEWAY[WEB][0], "udp", "67")
        assert seen["reason"] == "DHCP_NOT_SERVED"
        assert "scope" in seen["advice"]

    def test_to_another_server_it_is_a_flow_like_any(self, world, ask):
        dhcp.serve(world)
        assert asked(ask, C.address, B.address, "udp", "67")["verdict"] == "sent"
