"""What is around Kea, without one: its socket, its files, its leases, its statistics."""

import errno
import json
import os
import socket
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcg.drivers import kea, kea_files, kea_leases, patience
from pcg.drivers.kea import Fleet
from pcg.drivers.kea_config import Place, digest, document
from pcg.drivers.kea_control import Control
from pcg.drivers.kea_keeper import Keeper
from pcg.drivers.kea_shortage import Shortage
from pcg.model.errors import AbsentError, BackendError
from pcg.model.settings import Dhcp
from pcg.reconcile.compile_dhcp import Served, Server, compile_dhcp
from tests.netns.dhcp import desired, scope
from tests.waiting import wait_until

THING = "DHCP server of VRF t1"
SERVED = {7: Served("web", 600)}
SERVING = desired(scope())


class Kea:
    """A socket that answers one request with these bytes, or keeps silent."""

    def __init__(self, path: Path, answer: bytes | None) -> None:
        self.heard = b""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen()
        self._answer, self._done = answer, threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with self._socket.accept()[0] as client:
            while piece := client.recv(4096):
                self.heard += piece
            if self._answer is None:
                self._done.wait()
            else:
                client.sendall(self._answer)

    def close(self) -> None:
        self._done.set()
        self._thread.join()
        self._socket.close()


@pytest.fixture(name="kea")
def answering(tmp_path):
    made = []

    def make(answer) -> tuple[Kea, Control]:
        data = json.dumps(answer).encode() if isinstance(answer, dict) else answer
        made.append(Kea(tmp_path / "control", data))
        return made[0], Control(tmp_path / "control", THING)

    yield make
    for one in made:
        one.close()


def test_a_command_and_its_answer(kea):
    server, control = kea({"result": 0, "arguments": {"pid": 7}})
    assert control.ask("status-get", {"a": 1}) == {"pid": 7}
    assert json.loads(server.heard) == {"command": "status-get", "arguments": {"a": 1}}


def test_nothing_to_do_it_to_is_no_error(kea):
    assert kea({"result": 3, "text": "0 IPv4 lease(s) found."})[1].ask("lease4-get") == {}


def test_a_refusal_is_said_without_the_place_in_a_document_that_nobody_sees(kea):
    _, control = kea({"result": 1, "text": "bad pool (<wire>:0:483)"})
    with pytest.raises(BackendError, match=r"refused config-set: bad pool$"):
        control.ask("config-set", {})


@pytest.mark.parametrize("answer", [b"", b'{"result": ', b"\xff\xfe"])
def test_an_answer_broken_off_is_an_error(kea, answer):
    with pytest.raises(BackendError, match="broke off its answer"):
        kea(answer)[1].ask("status-get")


def test_one_that_hangs_is_told_from_one_that_is_away(kea, tmp_path):
    _, control = kea(None)
    with pytest.raises(BackendError, match=r"does not answer within 0\.1 s") as told:
        control.ask("status-get", timeout_s=0.1)
    assert not isinstance(told.value, AbsentError)
    with pytest.raises(AbsentError, match="does not run"):
        Control(tmp_path / "nobody", THING).ask("status-get")


def test_who_listens_is_known(tmp_path):
    """Also of one that never answers."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "control"))
        sock.listen()
        assert Control(tmp_path / "control", THING).listener() == os.getpid()
    assert Control(tmp_path / "nobody", THING).listener() is None


# ---- configuration and files ----


def server(**more) -> Server:
    return Server(**({"subnets": [], "served": {}, "holds": False, "ports": frozenset()} | more))


def test_the_digest_says_all_that_kea_is_told(tmp_path):
    place = Place(tmp_path, "t1")
    plain = document(place, server())
    assert digest(plain) == digest(document(place, server()))
    others = [
        document(place, server(subnets=[{"id": 7}])),
        document(place, server(holds=True)),
        document(Place(tmp_path, "t2"), server()),
    ]
    assert len({digest(d) for d in (plain, *others)}) == 4
    assert digest({"Dhcp4": {}}) == digest({}) == ""


def test_no_vrf_shares_a_file_with_another(tmp_path):
    names = ("a", "a.json", "a.out", "a.json.out")
    places = [Place(tmp_path, name) for name in names]
    files = [path for p in places for path in (p.own, p.config, p.output, p.socket, p.leases)]
    assert len(set(files)) == len(files)


def test_what_was_accepted_is_found_again(tmp_path):
    place = Place(tmp_path, "t1")
    kea_files.prepare(place, "")
    assert kea_files.accepted(place) == ""
    made = document(place, server())
    kea_files.write(place.config, made)
    assert kea_files.accepted(place) == digest(made)
    place.config.write_text("{")
    assert kea_files.accepted(place) == ""
    assert [p.name for p in place.config.parent.iterdir()] == ["t1.json"]


@given(st.binary(max_size=200), st.sampled_from([1, 3, 4096]))
def test_a_torn_line_is_cut_off_and_nothing_else(tmp_path_factory, data, block):
    place = Place(tmp_path_factory.mktemp("torn"), "t1")
    kea_files.prepare(place, "")
    place.leases.write_bytes(data)
    before, kea_files.BLOCK = kea_files.BLOCK, block
    try:
        kea_files.mend(place)
    finally:
        kea_files.BLOCK = before
    assert place.leases.read_bytes() == data[: data.rfind(b"\n") + 1]


def test_no_link_is_followed_out_of_keas_folder(tmp_path):
    """The folder is its user's: what lies there may be anything."""
    place = Place(tmp_path, "t1")
    kea_files.prepare(place, "")
    kea_files.mend(place)
    victim = tmp_path / "victim"
    victim.write_bytes(b"no line break")
    place.leases.symlink_to(victim)
    for work in (kea_files.mend, kea_files.commit):
        with pytest.raises(BackendError, match="lease file"):
            work(place)
    assert victim.read_bytes() == b"no line break"


# ---- who keeps it ----


def refusing(*_):
    raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize(
    ("call", "work"),
    [
        ("statvfs", kea_files.has_room),
        ("pread", kea_files.mend),
        ("ftruncate", kea_files.mend),
        ("fdatasync", kea_files.commit),
    ],
)
def test_what_the_system_refuses_is_told_with_its_path(tmp_path, monkeypatch, call, work):
    place = Place(tmp_path, "t1")
    kea_files.prepare(place, "")
    place.leases.write_bytes(b"torn")
    monkeypatch.setattr(os, call, refusing)
    with pytest.raises(BackendError, match=f"{place.own}.*Input/output error; correct"):
        work(place)


def test_a_configuration_that_cannot_be_removed_is_told(tmp_path):
    place = Place(tmp_path, "t1")
    kea_files.prepare(place, "")
    kea_files.forget(place)
    place.config.mkdir()
    with pytest.raises(BackendError, match="correct `dhcp.folder`"):
        kea_files.forget(place)


def test_without_a_lease_file_nothing_is_stored(tmp_path):
    """Kea writes on to the one that was removed; the file before the last clean-up is older."""
    place = Place(tmp_path, "t1")
    kea_files.prepare(place, "")
    place.leases.with_name("leases.csv.1").write_bytes(b"")
    with pytest.raises(BackendError, match="is gone"):
        kea_files.commit(place)
    place.leases.write_bytes(b"")
    kea_files.commit(place)


@pytest.fixture
def fleet(tmp_path):
    made = []

    def make(folder: Path, **settings) -> Fleet:
        made.append(Fleet(Dhcp(user="", **settings), str(folder), 9))
        return made[-1]

    yield make
    for one in made:
        one.close()


def said(fleet: Fleet) -> str:
    return " ".join(map(str, fleet.errors()))


def test_a_folder_that_cannot_be_is_told_and_waited_for_by_nobody(fleet, tmp_path):
    (tmp_path / "file").write_text("")
    one = fleet(tmp_path / "file" / "dhcp")
    one.follow(SERVING)
    wait_until(lambda: not one.busy(), "it was tried")
    assert f"{tmp_path}/file/dhcp" in said(one)
    assert "correct `dhcp.folder`" in said(one)


def test_a_mistake_of_ours_is_told_once_and_ends_no_thread(fleet, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(Keeper, "_stand", lambda *_: 1 // 0)
    one = fleet(tmp_path)
    one.follow(SERVING)
    text = "DHCP server of VRF t1: a mistake of the gateway's own: ZeroDivisionError"
    wait_until(lambda: text in said(one) and not one.busy(), "it is told")
    monkeypatch.setattr(Keeper, "_stand", lambda *_: None)
    wait_until(lambda: said(one) == "", "it goes on")
    assert caplog.text.count("Traceback") == 1


def test_a_mistake_in_compiling_is_told_and_tried_again(fleet, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(kea, "AGAIN_S", 0.01)
    monkeypatch.setattr(Keeper, "_stand", lambda *_: None)
    monkeypatch.setattr(kea, "compile_dhcp", lambda _: 1 // 0)
    one = fleet(tmp_path)
    one.follow(SERVING)
    wait_until(lambda: "DHCP servers: a mistake" in said(one) and not one.busy(), "it is told")
    monkeypatch.setattr(kea, "compile_dhcp", compile_dhcp)
    wait_until(lambda: one.keepers and said(one) == "" and not one.busy(), "it goes on")
    assert caplog.text.count("Traceback") == 1


def test_one_that_takes_too_long_is_told_and_no_longer_waited_for(fleet, tmp_path, monkeypatch):
    """Else it would keep back what the gateway has to tell of all its other parts."""
    monkeypatch.setattr(patience, "LATE_S", 0.2)
    go_on, held = threading.Event(), threading.Event()

    def hang(*_):
        held.set()
        go_on.wait()

    monkeypatch.setattr(Keeper, "_stand", hang)
    one = fleet(tmp_path)
    one.follow(SERVING)
    try:
        assert held.wait(10)
        wait_until(lambda: not one.busy(), "no longer waited for")
        assert "DHCP server of VRF t1: has not taken what is asked for yet" in said(one)
        assert one.errors() == one.errors()
    finally:
        go_on.set()
    wait_until(lambda: said(one) == "" and not one.busy(), "it is mended")


# ---- leases and statistics ----


class Asked:
    """In place of Control: answers by command."""

    def __init__(self, **answers) -> None:
        self.answers, self.asked = answers, []

    def ask(self, command, arguments=None, timeout_s=0.0):
        self.asked.append((command, arguments))
        answer = self.answers[command.replace("-", "_")]
        return answer(arguments) if callable(answer) else answer


def item(n: int, **more) -> dict:
    said = {"ip-address": f"10.0.{n >> 8}.{n & 255}", "subnet-id": 7, "cltt": 1000, "state": 0}
    return said | {"valid-lft": 3600, "hw-address": "02:00:00:00:00:01", "hostname": ""} | more


def test_leases_are_read_page_by_page():
    items = [item(n) for n in range(2 * kea_leases.PAGE + 3)]
    after = {"start": 0} | {one["ip-address"]: n + 1 for n, one in enumerate(items)}

    def page(arguments):
        first = after[arguments["from"]]
        return {"leases": items[first : first + arguments["limit"]]}

    control = Asked(lease4_get_page=page)
    assert [h.lease.address for h in kea_leases.read(control, "t1", SERVED)] == [
        one["ip-address"] for one in items
    ]
    assert len(control.asked) == 3


def test_a_lease_ends_when_its_client_was_told():
    kept = kea_leases.lease(item(1, **{"valid-lft": 0xFFFFFFFF}), "t1", SERVED)
    assert kept.expires == 1600
    assert kea_leases.lease(item(1, **{"valid-lft": 60}), "t1", SERVED).expires == 1060
    declined = kea_leases.lease(item(1, state=1, **{"hw-address": ""}), "t1", {})
    assert (declined.segment, declined.mac, declined.state) == ("", "", "declined")


def test_who_is_gone_and_may_not_use_it_any_longer():
    held = list(kea_leases.read(Asked(lease4_get_page={"leases": [item(1)]}), "t1", SERVED))
    mac = "02:00:00:00:00:01"
    assert kea_leases.gone(held, frozenset(), 1601) == ["10.0.0.1"]
    assert kea_leases.gone(held, frozenset(), 1599) == []
    assert kea_leases.gone(held, frozenset({(7, mac)}), 1601) == []
    assert kea_leases.gone(held, frozenset({(8, mac)}), 1601) == ["10.0.0.1"]


def test_a_shortage_is_told_once_an_episode_and_counted_over_restarts(caplog):
    counts = {"v4-allocation-fail": 0, "subnet[7].v4-allocation-fail": 0}

    def statistics(_=None):
        return {name: [[n, ""]] for name, n in counts.items()}

    control = Asked(statistic_get=statistics, statistic_get_all=statistics)
    shortage = Shortage(control, "t1")

    def look(n: int, now: float) -> int:
        counts.update(dict.fromkeys(counts, n))
        shortage.look(SERVED, now)
        return caplog.text.count("segment web of VRF t1 has no address left")

    assert look(0, 0.0) == 0
    assert [name for name, _ in control.asked] == ["statistic-get"]
    assert look(2, 1.0) == 1
    assert look(3, 60.0) == 1
    assert look(1, 100.0) == 1  # started anew
    assert look(2, 200.0) == 2
    assert shortage.failed == {"web": 5}
