"""events.c: every session that begins and ends is told once, or counted as lost."""

import pytest

from pcg.datapath import views
from pcg.model.errors import BackendError
from pcg.reconcile import records as r
from tests.c.packets import answer, ping, tcp, udp
from tests.c.places import NET, PLAIN, SERVER, A, B, ip
from tests.c.world import numbered, over

KEEP = 1024


@pytest.fixture
def events(world):
    """Ask for them: the first time begins it."""
    world.dp.events(KEEP)
    return lambda: world.dp.events(KEEP)


def of(event, *fields):
    return tuple(event[field] for field in fields)


ENDS = ("inside", "inside_port", "outside", "outside_port", "peer", "peer_port")


def test_one_that_begins_and_ends(world, events):
    (out,) = world.down(A, udp())
    world.now_s += 7
    world.up(answer(out))
    (began,) = events()
    (session,) = world.dp.sessions()
    assert of(began, "kind", "protocol", "vrf") == ("began", "udp", 0)
    outside = session["rev_dst"], session["rev_dport"]
    assert of(began, *ENDS) == (A.address, 1000, *outside, NET, 53)
    assert of(began, "session", "nat_id", "fw_id") == (session["index"], 9, 0)
    assert of(began, "from_uplink", "continued", "out_packets") == (False, False, 0)
    assert began["at_ns"] == world.now_ns - 7e9
    assert began["outside"].startswith("10.99.1.1")
    world.sweep(400)
    (ended,) = events()
    assert of(ended, "kind", *ENDS) == ("ended", *of(began, *ENDS))
    assert of(ended, "out_packets", "in_packets") == (1, 1)
    assert of(ended, "lasted_s", "idle_s") == (7, 400)  # to its last packet (IANA's 161); since
    assert (began["end"], ended["end"]) == ("none", "idle")
    counted = (session["fwd_bytes"], session["rev_bytes"])
    assert of(ended, "out_bytes", "in_bytes") == counted
    assert min(counted) > 20
    assert events() == []


def test_one_that_the_peer_opened_is_told_from_the_workload_too(world, events):
    world.up(udp(NET, SERVER.secondary, dport=7000))
    (began,) = events()
    assert of(began, *ENDS) == (B.address, 9000, SERVER.secondary, 7000, NET, 1000)
    assert began["from_uplink"]
    world.sweep(400)
    (ended,) = events()
    assert of(ended, "in_packets", "out_packets") == (1, 0)


def test_one_that_is_not_translated_is_outside_what_it_is_inside(world, events):
    world.down(PLAIN, udp(src=PLAIN.address))
    (began,) = events()
    assert of(began, *ENDS) == (PLAIN.address, 1000, PLAIN.address, 1000, NET, 53)


def test_pings_and_the_next_packets_of_a_session(world, events):
    world.down(A, ping())
    world.down(A, ping(seq=2))
    (began,) = events()
    assert of(began, "protocol", "inside_port") == ("icmp", 7)


def test_what_needs_no_session_is_no_event(world, events):
    world.down(A, udp(dst=B.address))
    world.down(A, udp(ttl=1))
    world.dp.explain("downlink", b"")
    assert events() == []


def test_one_that_goes_another_way_continues(world, events):
    world.down(A, tcp("S"))
    events()
    world.dp.put("nexthops", [r.Nexthops(ip("10.99.1.9"), bytes.fromhex("0e0000000009"), 1)])
    world.policy.routes["default"] = r.Routes(0, bytes(4), 0, 0, ip("10.99.1.9"), 0)
    world.commit()
    world.now_s += 30
    world.dp.inject("downlink", [over(A, tcp("A"))], world.now_ns)
    world.sweep()
    began, ended = events()
    assert of(began, "kind", "continued") == ("began", True)
    assert of(ended, "kind", "session") != of(began, "kind", "session")
    assert ended["end"] == "decided_again"
    assert of(ended, *ENDS) == of(began, *ENDS)
    world.sweep(400)
    assert [of(e, "lasted_s", "idle_s") for e in events()] == [(30, 400)]  # of the whole


def test_an_end_that_is_noted_by_an_older_clock(world, events):
    """Housekeeping reads the time once, before it meets a session that a worker has just used."""
    before = world.now_ns
    world.now_s += 1
    world.down(A, udp())
    world.policy.nat = {}
    world.dp.commit(world.policy.tables(), 1, None)
    world.dp.sweep(before)
    ended = events()[-1]
    assert of(ended, "kind", "lasted_s", "idle_s") == ("ended", 0, 0)


def test_one_that_tcp_said_is_over(world, events):
    (out,) = world.down(A, tcp("S"))
    world.up(answer(out, flags="R"))
    world.sweep(300)
    assert [e["end"] for e in events()] == ["none", "closed"]


def test_one_whose_workload_is_gone(world, events):
    world.down(A, udp())
    world.dp.delete("ports", [A.record])
    world.sweep()
    assert [e["end"] for e in events()] == ["none", "port_gone"]


def test_a_rules_log_is_in_it(world, events):
    world.policy.nat["snat"] = world.policy.nat["snat"]._replace(log=1)
    world.commit()
    world.down(A, udp())
    assert [e["log"] for e in events()] == [True]


def test_who_does_not_read_loses_and_the_count_says_how_many(world):
    world.dp.events(16)
    world.inject("downlink", *numbered([(n, 53) for n in range(1, 101)]))
    data, lost = world.dp.events_raw(16)
    assert len(world.dp.events(16)) == 0
    size = len(data) // 16
    assert len(data) == 16 * size
    assert lost == 84
    assert world.dp.totals()["sessions"] == 100, "the path does not wait"
    world.sweep(400)
    data, lost = world.dp.events_raw(16)
    assert (len(data), lost) == (16 * size, 84 + 84)


def test_a_page_at_a_time_in_order(world):
    """Of one burst the sessions are made in no promised order; bursts follow each other."""
    world.dp.events(256)
    for at in range(1, 3001, 100):
        world.inject("downlink", *numbered([(n, 53) for n in range(at, at + 100)]))
        seen, (data, lost) = [], world.dp.events_raw(256, 30)
        while data:
            assert lost == 0
            seen += [e["inside_port"] for e in views.views("event", data)]
            data, lost = world.dp.events_raw(256, 30)
        assert sorted(seen) == list(range(at, at + 100))


def test_ends_have_their_turn_while_sessions_begin(world):
    """More begin all the time than a page holds."""
    world.dp.events(16)
    kinds = []
    for at in range(1, 81, 20):
        world.inject("downlink", *numbered([(n, 53) for n in range(at, at + 20)]))
        world.sweep(400)
        data, _ = world.dp.events_raw(16, 8)
        kinds += [e["kind"] for e in views.views("event", data)]
    assert kinds.count("began") == kinds.count("ended") == 16


def test_off_is_off_and_another_size_begins_anew(world):
    world.down(A, udp())
    assert world.dp.events(64) == []
    world.down(A, udp(sport=2))
    assert world.dp.events(128) == []
    world.down(A, udp(sport=3))
    assert len(world.dp.events(128)) == 1
    assert world.dp.events(0) == []
    world.down(A, udp(sport=4))
    assert world.dp.events(128) == []


@pytest.mark.parametrize("keep", [3, 1000, 1 << 25])
def test_sizes_that_are_none(world, keep):
    with pytest.raises(BackendError):
        world.dp.events(keep)


def logged(world, **given) -> r.Firewall:
    rule = r.Firewall(7, 0, 1, 3, 1, r.Match(dport_first=53, dport_last=53), "told")
    world.policy.firewall = [rule._replace(**given)]
    world.commit()
    return rule


def test_a_denied_packet_is_told_where_its_rule_says_log(world, events):
    logged(world, log=0)
    world.down(A, udp())
    assert events() == []
    logged(world)
    world.down(A, udp())
    (told,) = events()
    assert of(told, "kind", "log", "fw_id", "from_uplink") == ("denied", True, 7, False)
    assert of(told, "inside", "inside_port", "peer", "peer_port") == (A.address, 1000, NET, 53)
    assert told["outside"].startswith("10.99.1.1")
    assert of(told, "outside_port", "session") == (0, 0xFFFFFFFF)


def test_one_denied_on_its_way_in_is_told_from_the_workload(world, events):
    logged(world, match=r.Match())
    world.up(udp(NET, SERVER.secondary, dport=7000))
    (told,) = events()
    assert of(told, "kind", *ENDS) == (
        *("denied", B.address, 9000),
        *(SERVER.secondary, 7000, NET, 1000),
    )
    assert told["from_uplink"]


def test_each_packet_by_a_stateless_rule_is_told(world, events):
    logged(world, action=0, stateless=1)
    for _ in range(2):
        world.down(PLAIN, udp(PLAIN.address))
    told = events()
    assert [of(e, "kind", "fw_id") for e in told] == [("passed", 7)] * 2
    assert of(told[0], *ENDS) == (PLAIN.address, 1000, PLAIN.address, 1000, NET, 53)


def test_explain_tells_nobody(world, events):
    logged(world)
    world.dp.explain("downlink", over(A, udp()))
    assert events() == []


def test_single_packets_have_a_rate(world):
    """1,000 at once, then one a millisecond; what is more counts as lost."""
    world.dp.events(4096)
    logged(world, match=r.Match())
    frames = numbered((port, 53) for port in range(1, 1201))
    for at in range(0, 1200, 100):
        world.inject("downlink", *frames[at : at + 100])
    data, lost = world.dp.events_raw(4096)
    assert (len(views.views("event", data)), lost) == (1000, 200)
    world.sweep(0.5)
    world.inject("downlink", *frames[:600])
    data, lost = world.dp.events_raw(4096)
    assert (len(views.views("event", data)), lost) == (500, 300)
    assert world.drops() == {"FIREWALL_DENIED": 1800}


RULE, DEFAULT = 1, 2  # enum pcgdp_log


@pytest.mark.parametrize("way", ["log_in", "log_out"])
def test_what_a_default_decides_is_told_where_it_says_log(world, events, way):
    """Of its direction alone; what a rule decides is the rule's to tell."""
    rule = r.Firewall(7, 0, 0, 3, 0, r.Match(dport_first=7001, dport_last=7001), "rule")
    world.policy.firewall = [rule]
    world.policy.default_logs = (int(way == "log_in"), int(way == "log_out"))
    world.commit()
    inwards = [udp(NET, SERVER.secondary, dport=port) for port in (7000, 7001)]
    outwards = [udp(dport=port) for port in (7000, 7001)]
    for packet in inwards:
        world.up(packet)
    for packet in outwards:
        world.down(A, packet)
    told = {(e["from_uplink"], e["fw_id"]): e["log"] for e in events()}
    other, wanted = (False, True) if way == "log_in" else (True, False)
    assert told == {(wanted, 0): DEFAULT, (wanted, 7): 0, (other, 0): 0, (other, 7): 0}


def test_a_default_that_denies_is_told(world, events):
    world.policy.defaults, world.policy.default_logs = (1, 0), (1, 1)
    world.commit()
    world.up(udp(NET, SERVER.secondary, dport=7000))
    (told,) = events()
    assert of(told, "kind", "log", "fw_id") == ("denied", DEFAULT, 0)


def test_a_rule_of_nat_and_the_default_both_say_log(world, events):
    world.policy.default_logs = (0, 1)
    world.policy.nat["snat"] = world.policy.nat["snat"]._replace(log=1)
    world.commit()
    world.down(A, udp())
    (told,) = events()
    assert told["log"] == RULE | DEFAULT
    world.commit()
    world.down(A, udp())
    assert events() == []  # the same session, not one that takes over
