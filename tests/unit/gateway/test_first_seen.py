"""The log of first-seen destinations: what is told, what is kept, what is said to be missing."""

import contextlib
import json
import resource
from collections import namedtuple
from ipaddress import IPv4Address
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcg.gateway import json_log, session_log
from pcg.gateway.destinations import Destinations
from pcg.gateway.facts import Facts
from pcg.gateway.first_seen import FirstSeen
from pcg.gateway.json_log import JsonLog
from pcg.gateway.names import Names
from pcg.gateway.session_log import SessionLog
from pcg.model.errors import BackendError
from pcg.reconcile import records as r
from pcg.reconcile.numbers import Numbers

FIELDS = "at_ns kind protocol from_uplink continued vrf inside_be outside_be"
FIELDS += " peer_be peer_port nat_id"
Event = namedtuple("Event", FIELDS)
OFFSET_S = 1_700_000_000.0
T1 = SimpleNamespace(
    segments=[SimpleNamespace(id="web", vrf="t1")],
    ports=[SimpleNamespace(id="web1", segment="web", addresses=("10.1.0.10",))],
)
FACTS = Facts(
    desired=T1,
    policy={"publics": [r.Publics(0, 4, bytes([203, 0, 113, 11]), bytes([10, 99, 1, 11]), "eip")]},
    numbers=Numbers(vrfs={"t1": 4}, nat={"out-t1": 7}),
)


def ip(text: str) -> bytes:
    return IPv4Address(text).packed


def event(peer="8.8.8.8", port=443, **given) -> Event:
    made = Event(2_500_000_000, 1, 6, 0, 0, 4, ip("10.1.0.10"), ip("10.99.1.11"), ip(peer), port, 7)
    return made._replace(**given)


def made_with(names: Names, per_second=100) -> FirstSeen:
    return FirstSeen("gw-a", Destinations(100, 10), per_second, names)


@pytest.fixture
def first_seen() -> FirstSeen:
    return made_with(Names(lambda: FACTS))


def told(first_seen, *events) -> list[tuple]:
    lines = first_seen.lines(events, 0.0, OFFSET_S)
    return [(line["destination"], line["protocol"], line["port"]) for line in lines]


def test_a_line_has_names(first_seen):
    (line,) = first_seen.lines([event()], 0.0, OFFSET_S)
    assert line == {
        "time": "2023-11-14T22:13:22.500+00:00",
        "gateway": "gw-a",
        "event": "first seen",
        "vrf": "t1",
        "workload": "web1",
        "address": "10.1.0.10",
        "destination": "8.8.8.8",
        "protocol": "tcp",
        "port": 443,
        "as": "203.0.113.11",
        "nat": "out-t1",
    }


def test_what_has_no_name_is_told_all_the_same():
    first_seen = made_with(Names(Facts))
    (line,) = first_seen.lines([event(protocol=99)], 0.0, OFFSET_S)
    assert (line["vrf"], line["workload"], line["as"], line["nat"]) == ("4", "", "10.99.1.11", "7")
    assert (line["protocol"], line["port"]) == ("99", 0)


def test_a_leased_address_has_its_ports_name_and_another_one_later():
    facts = FACTS._replace(leased=(("t1", "10.1.0.77", "vm-1"),))
    names = Names(lambda: facts)
    seen = event(inside_be=ip("10.1.0.77"))
    first_seen = made_with(names)
    (line,) = first_seen.lines([seen], 0.0, OFFSET_S)
    assert line["workload"] == "vm-1"
    facts = facts._replace(leased=(("t1", "10.1.0.77", "vm-2"),))
    (line,) = first_seen.lines([seen._replace(peer_be=ip("9.9.9.9"))], 60.0, OFFSET_S)
    assert line["workload"] == "vm-2"


def test_once_each(first_seen):
    assert told(first_seen, event(), event()) == [("8.8.8.8", "tcp", 443)]
    assert told(first_seen, event()) == []
    others = event(port=80), event("9.9.9.9"), event(protocol=17), event(inside_be=ip("10.1.0.11"))
    assert len(told(first_seen, *others, event(vrf=5))) == 5


def test_a_pings_identifier_is_no_port(first_seen):
    pings = event(protocol=1, port=7), event(protocol=1, port=8)
    assert told(first_seen, *pings) == [("8.8.8.8", "icmp", 0)]


@pytest.mark.parametrize("given", [{"kind": 2}, {"from_uplink": 1}, {"continued": 1}], ids=str)
def test_what_is_no_first_word_of_a_workload(first_seen, given):
    assert told(first_seen, event(**given)) == []
    assert told(first_seen, event()) != []


def test_names_follow_the_desired_state_but_not_at_every_turn():
    facts = [FACTS]
    first_seen = made_with(Names(lambda: facts[0]))
    first_seen.lines([event()], 0.0, OFFSET_S)
    renamed = SimpleNamespace(**vars(T1) | {"ports": [SimpleNamespace(**vars(T1.ports[0]))]})
    renamed.ports[0].id = "web2"
    facts[0] = FACTS._replace(desired=renamed)
    (line,) = first_seen.lines([event("1.1.1.1")], 1.0, OFFSET_S)
    assert line["workload"] == "web1"
    (line,) = first_seen.lines([event("1.1.1.2")], 6.0, OFFSET_S)
    assert line["workload"] == "web2"


class SlowTwin:
    """Lists, as the text has it."""

    def __init__(self, total, each):
        self.total, self.each, self.used = total, each, []  # (workload, destination), oldest first

    def is_new(self, workload, destination):
        new = (workload, destination) not in self.used
        self.used = [u for u in self.used if u != (workload, destination)]
        self.used.append((workload, destination))
        own = [u for u in self.used if u[0] == workload]
        if len(own) > self.each:
            self.used.remove(own[0])
        elif len(self.used) > self.total:
            last = {w: i for i, (w, _) in enumerate(self.used)}
            oldest = min(last, key=last.get)
            self.used.remove(next(u for u in self.used if u[0] == oldest))
        return new


STEPS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 6)))


@given(STEPS, st.integers(1, 8), st.integers(1, 4))
def test_what_is_kept_and_what_goes(steps, total, each):
    known, twin, new = Destinations(total, each), SlowTwin(total, each), 0
    for workload, destination in steps:
        wanted = twin.is_new(workload, destination)
        assert known.is_new(workload, destination) is wanted
        new += wanted
        assert known.held == len(twin.used) <= total
        assert known.forgotten == new - known.held


def test_shortfalls_are_said_once(first_seen):
    assert first_seen.shortfall(0, 0.0) == []
    first_seen.lines([event(port=n) for n in range(1, 14)], 0.0, OFFSET_S)
    (line,) = first_seen.shortfall(5, 0.0)
    assert (line["events_lost"], line["forgotten"], line["held"]) == (5, 3, 10)
    assert first_seen.shortfall(5, 0.0) == []
    assert first_seen.shortfall(7, 0.0)[0]["events_lost"] == 2


SCAN = [event(port=n) for n in range(1, 9)]


def events_told(first_seen, events, now) -> list[tuple]:
    lines = first_seen.lines(events, now, OFFSET_S)
    return [(li["event"], li["address"], li.get("port", li.get("starts"))) for li in lines]


def test_a_scanner_has_its_own_limit_and_nobody_elses():
    log, web, other = made_with(Names(lambda: FACTS), per_second=3), "10.1.0.10", "10.1.0.11"
    others = [event(port=n, inside_be=ip(other)) for n in (1, 2)]
    told = [("first seen", web, 1), ("first seen", web, 2), ("first seen", web, 3)]
    told += [("first seen", other, 1), ("first seen", other, 2), ("left out", web, 5)]
    assert events_told(log, [*SCAN, *others], 0.0) == told
    assert log.known.held == 5, "a scan pushes out nothing that is remembered"
    assert log.counts() == {"first_seen_rate": 5}


def test_what_was_left_out_is_told_when_it_is_dialled_again():
    log = made_with(Names(lambda: FACTS), per_second=3)
    told = [port for now in range(4) for _, _, port in events_told(log, SCAN, now)]
    assert told == [1, 2, 3, 5, 4, 5, 6, 7, 8]  # the second 5: how many the line before left out
    assert log.counts()["first_seen_rate"] == 5 + 2


def test_what_is_left_out_is_said_by_workload_and_now_and_then(caplog):
    log, said = made_with(Names(lambda: FACTS), per_second=1), {}
    for turn in range(122):
        new = [event(port=1 + 3 * turn + n) for n in range(3)]
        for line in log.lines(new, float(turn), OFFSET_S):
            if line["event"] == "left out":
                said[turn] = line["starts"]
                assert (line["workload"], line["vrf"]) == ("web1", "t1")
    assert said == {0: 2} | dict.fromkeys(range(10, 121, 10), 20)
    assert [r.args for r in caplog.records] == [(2,), (120,), (120,)]
    assert caplog.messages[0].startswith("first-seen log: 2 sessions to new destinations left out")


def read(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_file_grows_to_its_limit_and_one_more_is_kept(tmp_path):
    path = tmp_path / "logs" / "x.jsonl"
    log = JsonLog(str(path), 100)
    for n in range(30):
        log.write([{"n": n}, {"text": "x" * 20}])
        assert path.stat().st_size <= 100
    old = path.with_name("x.jsonl.1")
    assert {p.name for p in path.parent.iterdir()} == {path.name, old.name}
    numbers = [line["n"] for line in read(old) + read(path) if "n" in line]
    assert numbers == list(range(numbers[0], 30))
    assert path.stat().st_mode & 0o007 == 0


def test_a_file_that_somebody_moved_away_begins_anew(tmp_path):
    log = JsonLog(str(tmp_path / "x"), 1000)
    log.write([{"n": 1}])
    (tmp_path / "x").rename(tmp_path / "y")
    log.write([{"n": 2}])
    assert read(tmp_path / "x") == [{"n": 2}]


@contextlib.contextmanager
def room(size: int):
    """No file of this process may become larger: a write takes what fits."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_line_that_did_not_fit_leaves_nothing_and_is_written_whole_later(tmp_path):
    path = tmp_path / "x"
    log = JsonLog(str(path), 1 << 20)
    log.put([{"n": 0}])
    log.flush()
    log.put([{"n": n} for n in range(1, 9)])
    with room(30), pytest.raises(BackendError, match="No space left"):
        log.flush()
    assert path.read_text() == '{"n":0}\n'
    log.flush()
    assert [line["n"] for line in read(path)] == list(range(9))


def test_a_file_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BackendError, match=r"log .*file/x: Not a directory; mend"):
        JsonLog(str(tmp_path / "file" / "x"), 1000).write([{}])


class FakeClient:
    def __init__(self):
        self.pages, self.lost, self.asked = [], 0, []

    def events(self, keep):
        self.asked.append(keep)
        page = self.pages.pop(0) if self.pages else []
        if isinstance(page, Exception):
            raise page
        return page, self.lost


@pytest.fixture
def made(first_seen, tmp_path):
    client, path = FakeClient(), tmp_path / "x.jsonl"
    part = session_log.Part(first_seen, JsonLog(str(path), 1 << 20))
    return SessionLog(client, part), client, path


def test_a_turn_reads_all_there_is(made):
    log, client, path = made
    client.pages = [[event(), event()], [event(port=80)]]
    log.turn(0.0)
    assert [line["event"] for line in read(path)] == ["began", "first seen", "first seen"]
    log.turn(1.0)
    assert len(read(path)) == 3
    assert client.asked == [session_log.KEEP] * 4


def test_a_datapath_that_is_away_loses_nothing_that_was_read(made):
    log, client, path = made
    client.pages = [[event()], BackendError("datapath", "is away")]
    with pytest.raises(BackendError):
        log.turn(0.0)
    log.turn(1.0)
    assert [line["event"] for line in read(path)] == ["began", "first seen"]


def test_a_disk_that_takes_nothing_costs_lines_only_beyond_a_limit(made, monkeypatch):
    monkeypatch.setattr(json_log, "WAITING_MAX", 3)
    log, client, path = made
    path.mkdir()
    client.pages = [[event(port=n) for n in range(1, 6)]]
    with pytest.raises(BackendError):
        log.turn(0.0)
    path.rmdir()
    log.turn(10**9)
    lines = read(path)
    assert [line.get("port") for line in lines] == [None, 1, 2, None]
    assert lines[-1] == {**lines[-1], "event": "shortfall", "events_lost": 3}


def test_its_end_switches_the_events_off(made):
    log, client, _ = made
    log.start()
    log.close()
    assert client.asked[-1] == 0
