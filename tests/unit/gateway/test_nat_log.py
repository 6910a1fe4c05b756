"""The NAT log: which sessions, how many, what is told; and the thread that reads for all logs."""

import json
from collections import namedtuple
from types import SimpleNamespace

import pytest

from pcg.gateway import ipfix, nat_log, session_log
from pcg.gateway.facts import Facts
from pcg.gateway.json_log import JsonLog
from pcg.gateway.names import Names
from pcg.gateway.nat_log import NatLog, NatLogWriter, Rate
from pcg.gateway.session_log import SessionLog
from pcg.model.errors import BackendError
from pcg.model.settings import Ipfix
from pcg.model.settings import NatLog as Settings
from pcg.reconcile.numbers import Numbers
from tests.unit.gateway.test_first_seen import FACTS, OFFSET_S, FakeClient, ip, read

FIELDS = "at_ns kind end protocol from_uplink continued log vrf inside_be inside_port outside_be"
FIELDS += " outside_port peer_be peer_port nat_id fw_id lasted_s idle_s out_packets out_bytes"
Event = namedtuple("Event", FIELDS + " in_packets in_bytes")
ENDS = ip("10.1.0.10"), 1000, ip("10.99.1.11"), 40_000, ip("198.51.100.9"), 443
STARTED = Event(2_500_000_000, 1, 0, 6, 0, 0, 1, 4, *ENDS, 7, 0, 0, 0, 0, 0, 0, 0)
ENDED = STARTED._replace(
    kind=2, end=1, lasted_s=9, idle_s=60, out_packets=3, out_bytes=300, in_packets=2, in_bytes=2000
)


def made(per_s=100, every=False, facts=lambda: FACTS) -> NatLog:
    return NatLog("gw-a", per_s, every, Names(facts))


def test_a_line_of_a_start_and_of_an_end():
    log = made()
    start, end = (log.line(e, OFFSET_S) for e in log.choose([STARTED, ENDED], 0.0))
    both = {
        "time": "2023-11-14T22:13:22.500+00:00",
        "gateway": "gw-a",
        "vrf": "t1",
        "protocol": "tcp",
        "workload": "web1",
        "inside": "10.1.0.10",
        "inside_port": 1000,
        "outside": "203.0.113.11",
        "outside_port": 40_000,
        "secondary": "10.99.1.11",
        "destination": "198.51.100.9",
        "destination_port": 443,
        "opened_by": "workload",
        "nat": "out-t1",
        "nat_number": 7,
        "firewall": "",
    }
    assert start == {**both, "event": "start", "continued": False}
    carried = {"out_packets": 3, "out_bytes": 300, "in_packets": 2, "in_bytes": 2000}
    assert end == {**both, "event": "end", **carried, "seconds": 9, "reason": "idle"}


def test_the_end_of_a_session_whose_rule_was_removed_has_its_name():
    facts = [FACTS]
    log = made(facts=lambda: facts[0])
    log.choose([STARTED], 0.0)
    facts[0] = FACTS._replace(numbers=Numbers(vrfs={"t1": 4}), gone=Numbers(nat={"out-t1": 7}))
    (end,) = log.choose([ENDED._replace(end=4)], 0.1)
    assert log.line(end, OFFSET_S)["nat"] == "out-t1"
    assert log.record(end, OFFSET_S).data.endswith(b"\x02t1\x06out-t1")


def test_a_record_says_the_same():
    log = made()
    start, end = (log.record(e, OFFSET_S) for e in log.choose([STARTED, ENDED], 0.0))
    at_ms = 1_700_000_002_500
    values = (*[at_ms] * 3, 4, 1, 6, ENDS[0], 1000, ip("203.0.113.11"), *ENDS[3:])
    assert start == ipfix.record(ipfix.STARTED, values, ("t1", "out-t1"))
    first_ms, last_ms = at_ms - 69_000, at_ms - 60_000
    values = (at_ms, first_ms, last_ms, 5, *values[4:], 1, 9000, 300, 2000, 3, 2, 300, 3)
    assert end == ipfix.record(ipfix.ENDED, values, ("t1", "out-t1"))


def test_the_initiator_is_who_opened_it():
    log = made()
    (e,) = log.choose([ENDED._replace(from_uplink=1)], 0.0)
    values = ipfix.CODECS[ipfix.ENDED].unpack_from(log.record(e, OFFSET_S).data)
    assert values[4] == ipfix.PUBLIC
    assert values[-6:] == (2000, 300, 2, 3, 300, 3), "the last two: from source to destination"
    assert log.line(e, OFFSET_S)["opened_by"] == "destination"


@pytest.mark.parametrize(
    "end, reason, number",
    [(1, "idle", 1), (2, "closed", 3), (3, "port gone", 4), (4, "decided again", 4)],
)
def test_why_it_ended(end, reason, number):
    log, e = made(), ENDED._replace(end=end)
    assert log.line(e, OFFSET_S)["reason"] == reason
    assert ipfix.CODECS[ipfix.ENDED].unpack_from(log.record(e, OFFSET_S).data)[-8] == number


def test_a_pings_identifier_is_the_workloads():
    log, e = made(), STARTED._replace(protocol=1, inside_port=7, outside_port=8, peer_port=8)
    line = log.line(e, OFFSET_S)
    ports = line["inside_port"], line["outside_port"], line["destination_port"]
    values = ipfix.CODECS[ipfix.STARTED].unpack_from(log.record(e, OFFSET_S).data)
    assert ports == (values[7], values[9], values[11]) == (7, 8, 0)


def test_which_sessions():
    quiet, routed = STARTED._replace(log=0), STARTED._replace(outside_be=ENDS[0], outside_port=1000)
    assert made().choose([STARTED, quiet, routed], 0.0) == [STARTED]
    assert made(every=True).choose([STARTED, quiet, routed], 0.0) == [STARTED, quiet]


def test_a_packet_without_a_session_is_not_for_it():
    assert made(every=True).choose([STARTED._replace(kind=kind) for kind in (3, 4)], 0.0) == []


def test_what_has_no_name_is_told_all_the_same():
    line = made(facts=Facts).line(STARTED._replace(protocol=99, fw_id=3), OFFSET_S)
    assert (line["vrf"], line["workload"], line["protocol"]) == ("4", "", "99")
    assert (line["outside"], line["nat"], line["firewall"]) == ("10.99.1.11", "7", "3")


def test_an_end_has_the_name_of_a_workload_that_is_gone():
    facts = [FACTS]
    log = made(facts=lambda: facts[0])
    log.choose([STARTED], 0.0)
    facts[0] = FACTS._replace(desired=SimpleNamespace(segments=[], ports=[]))
    (e,) = log.choose([ENDED], 6.0)
    assert log.line(e, OFFSET_S)["workload"] == "web1"
    facts[0] = FACTS._replace(desired=SimpleNamespace(segments=[], ports=[]))
    (e,) = log.choose([ENDED], 12.0)
    assert log.line(e, OFFSET_S)["workload"] == ""


def test_a_flood_of_starts_does_not_hide_the_ends():
    log = made(per_s=10)
    chosen = log.choose([STARTED] * 50 + [ENDED] * 4, 0.0)
    assert (chosen.count(STARTED), chosen.count(ENDED)) == (10, 4)
    assert log.left_out == {"start": 40, "end": 0}
    assert len(log.choose([STARTED] * 50, 0.5)) == 5
    assert len(log.choose([STARTED] * 50, 100.0)) == 10
    (line,) = log.shortfall(3, 0.0, 0.0)
    assert (line["event"], line["starts"], line["ends"], line["events_lost"]) == (
        "left out",
        125,
        0,
        3,
    )
    assert log.shortfall(3, 0.0, 0.0) == []


def test_no_window_has_more_than_the_rate_and_one_seconds_silence():
    rate, taken = Rate(7), []
    for step in range(400):
        rate.follow(step / 20)
        taken.append(sum(rate.take() for _ in range(step % 5)))
    for n in (1, 20, 100):
        assert max(sum(taken[at : at + n]) for at in range(400 - n)) <= 7 * (n / 20 + 1)
    assert sum(taken) >= 7 * 18
    assert sum(taken) + rate.left_out == sum(step % 5 for step in range(400))


class FakeExporter:
    def __init__(self):
        self.records, self.error, self.unsent, self.closed = [], None, 0, False

    def put(self, records):
        self.records += records

    def flush(self, now, at_s):
        if self.error:
            raise self.error

    def close(self):
        self.closed = True


@pytest.fixture
def running(tmp_path):
    client, exporter, path = FakeClient(), FakeExporter(), tmp_path / "nat.jsonl"
    writer = NatLogWriter(made(per_s=2), JsonLog(str(path), 1 << 20), exporter)
    return SimpleNamespace(
        log=SessionLog(client, writer), client=client, exporter=exporter, path=path
    )


def test_both_forms_tell_the_same_sessions(running):
    running.client.pages = [[STARTED] * 5]
    running.log.turn(0.0)
    assert [line["event"] for line in read(running.path)] == ["start", "start", "left out"]
    assert len(running.exporter.records) == 2
    assert read(running.path)[-1]["starts"] == 3
    assert running.log.counts() == {
        "unread": 0,
        "nat_log_start_rate": 3,
        "nat_log_end_rate": 0,
        "nat_log_unwritten": 0,
        "nat_log_ipfix_unsent": 0,
    }


def test_what_is_left_out_is_said_now_and_then(running):
    for turn in range(40):
        running.client.pages = [[STARTED] * 5]
        running.log.turn(turn / 2)
    said = [line["starts"] for line in read(running.path) if line["event"] == "left out"]
    assert len(said) == 2
    told = sum(line["event"] == "start" for line in read(running.path))
    running.log.turn(30.0)
    assert told + sum(li["starts"] for li in read(running.path) if li["event"] == "left out") == 200


def test_it_is_said_in_the_gateways_log_too_once_a_minute(caplog):
    """With IPFIX alone nothing else says it."""
    writer = NatLogWriter(made(per_s=2), None, FakeExporter())
    for second in range(0, 121, 2):
        writer.take([STARTED] * 5 + [ENDED] * 3, float(second), OFFSET_S)
        writer.settle(float(second), 0.0, 0)
    said = [tuple(r.args) for r in caplog.records]
    assert said == [(3, 1), (30 * 3, 30 * 1), (30 * 3, 30 * 1)]
    assert caplog.messages[0].startswith("NAT log: 3 starts and 1 ends left out")


def test_a_collector_that_is_away_keeps_nothing_out_of_the_file(running):
    running.exporter.error = BackendError("IPFIX collector", "is away")
    running.client.pages = [[STARTED]]
    with pytest.raises(BackendError, match="is away"):
        running.log.turn(0.0)
    assert [line["event"] for line in read(running.path)] == ["start"]
    running.log.close()
    assert running.exporter.closed


def test_a_collector_that_is_away_is_said_once(running, caplog):
    """Only the message after the next hears that one was refused: every other turn is well."""
    assert session_log.AGAIN_S > ipfix.RESEND_S + session_log.EVERY_S, "it is sent to meanwhile"
    for turn in range(40):
        running.log.say("IPFIX collector: refused" if turn % 2 else "", turn / 2)
    assert [r.getMessage() for r in caplog.records] == ["session log: IPFIX collector: refused"]
    for wait_s in (-0.1, 0.1, 5.0):
        running.log.say("", 19.5 + session_log.AGAIN_S + wait_s)
    running.log.say("IPFIX collector: refused", 200.0)
    said = [r.getMessage().removeprefix("session log: ") for r in caplog.records]
    assert said == ["IPFIX collector: refused", "is written again", "IPFIX collector: refused"]


def test_events_lost_are_said_also_by_a_datapath_that_began_again(running, caplog):
    running.client.lost = 5
    running.log.turn(0.0)
    running.client.lost = 2
    running.log.turn(100.0)
    assert running.log.lost == 7
    assert [line["events_lost"] for line in read(running.path)] == [5, 2]
    said = [r.getMessage() for r in caplog.records]
    assert said == [f"session log: {n} events came too fast and are lost" for n in (5, 2)]


def test_one_logs_trouble_is_not_anothers(tmp_path):
    (tmp_path / "full").mkdir()
    client = FakeClient()
    client.pages = [[STARTED]]
    logs = [JsonLog(str(tmp_path / name), 1 << 20) for name in ("full", "fine")]
    with pytest.raises(BackendError, match="full"):
        SessionLog(client, *(NatLogWriter(made(), log, None) for log in logs)).turn(0.0)
    assert [line["event"] for line in read(tmp_path / "fine")] == ["start"]


def test_it_is_made_as_the_settings_say(tmp_path):
    writer = nat_log.made(Settings(log=str(tmp_path / "x")), "gw-a", Names(lambda: FACTS))
    writer.take([STARTED, STARTED._replace(log=0)], 0.0, OFFSET_S)
    writer.settle(0.0, 0.0, 0)
    assert [json.loads(li)["event"] for li in (tmp_path / "x").read_text().splitlines()] == [
        "start"
    ]
    assert "nat_log_ipfix_unsent" not in writer.counts()
    writer = nat_log.made(Settings(ipfix=Ipfix(address="::1")), "gw-a", Names(lambda: FACTS))
    assert "nat_log_unwritten" not in writer.counts()
