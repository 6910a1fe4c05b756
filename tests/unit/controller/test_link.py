"""Controller and gateway over real sockets, CURVE and all: what each side may and may not do."""

import json
import logging
import re
import time

import pytest
import zmq

from pcg.gateway import link
from pcg.model.errors import BackendError, ConfigError
from pcg.model.load import load_desired
from pcg.proto.link_table import Changed, Lost, State, Synced, Waiting
from pcg.wire import codec, curve, limits, sockets
from pcg.wire import messages as m
from pcg.wire.changes import ordered
from tests.unit.controller.site import document
from tests.waiting import wait_until

# -- the normal course -----------------------------------------------------------------------


def test_state_reaches_the_gateway_and_then_each_change(site):
    site.write(document(n_ports=3))
    site.start()
    gateway = site.gateway("gw-a", site.key("gw-a", "gw-a"))
    assert isinstance(gateway.until_ports(3), Synced)
    site.write(document(n_ports=4))
    event = gateway.until_ports(4)
    assert isinstance(event, Changed)
    assert event.revision == 2


def test_large_state_in_many_chunks_is_the_same_at_the_other_end(site):
    site.write(document(n_ports=8_000))
    site.start()
    gateway = site.gateway("gw-a", site.key("gw-a", "gw-a"))
    event = gateway.until_ports(8_000)
    assert event.desired == ordered(load_desired(site.file()))


def test_change_too_large_for_a_delta_comes_as_a_snapshot(site):
    site.write(document(n_ports=1))
    site.start()
    gateway = site.gateway("gw-a", site.key("gw-a", "gw-a"))
    gateway.until_ports(1)
    site.write(document(n_ports=10_000))
    assert isinstance(gateway.until_ports(10_000), Synced)


def test_report_arrives_and_lies_there_for_people(site, caplog):
    site.write(document())
    site.start()
    gateway = site.gateway("gw-a", site.key("gw-a", "gw-a"))
    event = gateway.until_ports(0)
    errors = (
        m.ObjectError("ports[vm-1]", "no room", "datapath"),
        m.ObjectError("datapath at ipc:///x", "nobody listens there", "datapath"),
    )
    gateway.client.report(m.Realised(epoch=event.epoch, revision=event.revision, errors=errors))
    path = site.folder / "realised" / "gw-a.json"
    gateway.until(path.exists, "the report")
    said = json.loads(path.read_text())
    assert (said["revision"], said["errors"][0]["text"]) == (1, "no room")
    gateway.until(lambda: "nobody listens" in caplog.text, "both are in the log")
    assert "gateway gw-a: datapath ports[vm-1]: no room" in caplog.text
    assert "gateway gw-a: datapath at ipc:///x: nobody listens there" in caplog.text
    gateway.until(lambda: not gateway.client.link.reports.unheard(_heard(site)), "it is heard")


def test_leases_arrive_and_lie_there_for_people(site):
    site.write(document())
    site.start()
    gateway = site.gateway("gw-a", site.key("gw-a", "gw-a"))
    gateway.until_ports(0)

    def lease(n):
        ends = "02:00:00:00:00:01", "", "joe", f"vm-{n}", "i-1", 1.7e9
        return m.Lease("t1", "web", f"10.0.{n >> 8}.{n & 255}", *ends)

    n = limits.MAX_LEASES
    leases = {("t1", one.address): one for one in map(lease, range(1, n + 100))}
    gateway.client.leases(leases)
    path = site.folder / "realised" / "gw-a.leases.json"

    def said():
        return json.loads(path.read_text())["leases"] if path.exists() else []

    gateway.until(lambda: len(said()) == len(leases), "all leases")
    assert said()[0]["address"] == "10.0.0.1"
    assert said()[0]["hostname"] == "joe"
    gateway.client.leases(dict.fromkeys(list(leases)[1:]))
    gateway.until(lambda: [one["port"] for one in said()] == ["vm-1"], "the rest ended")


def _heard(site):
    return site.controller._seats["gw-a"].peer.heard


def test_status_arrives(site):
    site.write(document())
    site.start()
    gateway = site.gateway("gw-a", site.key("gw-a", "gw-a"))
    gateway.client.status({"sessions": 7})
    peer = site.controller._seats["gw-a"].peer
    gateway.until(lambda: peer.status and peer.status.facts == {"sessions": 7}, "status")


def test_who_is_short_is_logged_and_lies_there_for_people(site, caplog):
    site.write(document())
    site.start()
    gateway = site.gateway("gw-a", site.key("gw-a", "gw-a"))
    named = "vm-1", "10.0.0.9", "t1", "QUOTA_PORTS", "out", "eip-1"
    began = [1.7e9] * 18 + [time.time()]  # but for the last one long ago, before this controller
    shortages = [m.Shortage(n, at, *named, refused=n) for n, at in enumerate(began, 1)]
    latest = tuple(shortages[-limits.MAX_SHORTAGES :])
    gateway.client.shortages(latest)
    path = site.folder / "realised" / "gw-a.shortages.json"
    gateway.until(path.exists, "the file")
    told = json.loads(path.read_text())["shortages"]
    assert [one["number"] for one in told] == [one.number for one in latest[::-1]]
    assert told[0]["text"] == latest[-1].text
    gateway.until(lambda: "gateway gw-a: 3 more before, in its own log" in caplog.text, "the log")
    before = len(caplog.messages)
    gateway.client.shortages(latest[1:])
    gateway.client.status({"seen": True})
    peer = site.controller._seats["gw-a"].peer
    gateway.until(lambda: peer.status.facts, "another status")
    lines = [one for one in caplog.messages if "was refused" in one]
    assert lines[-1] == f"gateway gw-a: {latest[-1].text}"
    for line, one in zip(lines[:-1], latest[:-1], strict=True):
        assert re.fullmatch(re.escape(f"gateway gw-a: {one.text}") + r", \d{6,} minutes ago", line)
    assert len(caplog.messages) == before


# -- who may do what -------------------------------------------------------------------------


def test_unknown_key_is_refused_by_name_on_both_sides_and_let_in_when_allowed(site, caplog):
    site.write(document(n_ports=3))
    site.start()
    secret = site.key("gw-a")
    public = site.folder / "keys" / "gw-a.key"
    name = curve.public_key(public).decode()
    gateway = site.gateway("gw-a", secret)
    gateway.until(lambda: "refused our key" in gateway.texts(), "the gateway is told")
    assert "allow folder" in gateway.texts()
    refusals = [r.getMessage() for r in caplog.records if "refused a connection" in r.message]
    assert len(refusals) == 1
    assert name in refusals[0]
    assert gateway.states() == []
    site.allow(public, "gw-a")
    gateway.until_ports(3)


def test_wrong_controller_key_is_said_with_the_mend(site):
    site.write(document())
    site.start()
    secret = site.key("gw-a", "gw-a")
    site.key("stranger")
    wrong = str(site.folder / "keys" / "stranger.key")
    gateway = site.gateway("gw-a", secret, public_key=wrong)
    gateway.until(lambda: "no secure connection" in gateway.texts(), "the gateway is told")
    assert wrong in gateway.texts()


def test_a_name_that_is_not_the_keys_is_refused(site):
    site.write(document("gw-a"), "gw-a")
    site.write(document("gw-b"), "gw-b")
    site.start()
    gateway = site.gateway("gw-b", site.key("thief", "gw-a"))
    gateway.until(lambda: "gw-b came with the key of gw-a" in gateway.texts(), "the refusal")
    assert gateway.states() == []


def test_no_gateway_hears_anothers_topic(site):
    site.write(document("gw-a", n_ports=1), "gw-a")
    site.write(document("gw-b", n_ports=1), "gw-b")
    site.start()
    victim = site.gateway("gw-a", site.key("gw-a", "gw-a"))
    victim.until_ports(1)
    spy, own = _spy(site, site.key("gw-b", "gw-b"))
    topics = []
    try:
        for n in range(2, 6):
            site.write(document("gw-a", n_ports=n), "gw-a")
            victim.until_ports(n)
        wait_until(lambda: _drain(spy, topics).count(own) > 3, "the spy's own heartbeats")
        assert set(topics) == {own}
    finally:
        spy.context.destroy(linger=0)


def _spy(site, secret):
    """An authenticated gateway that subscribes to everything there is; and its own topic."""
    public, secret_key = curve.key_pair(secret)
    server = curve.public_key(site.folder / "keys" / "controller.key")
    spy = sockets.link_socket(zmq.Context(), zmq.SUB)
    sockets.secure_client(spy, public, secret_key, server)
    others = curve.public_key(site.folder / "keys" / "gw-a.key")
    for topic in (b"", others, others[:1], public):
        spy.subscribe(topic)
    spy.connect(site.endpoints[1])
    return spy, public


def _drain(spy, topics):
    while spy.poll(0):
        topics.append(spy.recv_multipart()[0])
    return topics


def test_a_key_that_is_withdrawn_hears_nothing_more(site):
    site.write(document(n_ports=1))
    site.start()
    gateway = site.gateway("gw-a", site.key("gw-a", "gw-a"))
    gateway.until_ports(1)
    (site.folder / "allow" / "gw-a.key").unlink()
    gateway.until(lambda: any(isinstance(e, Lost) for e in gateway.events), "it is cut off")
    site.write(document(n_ports=2))
    gateway.until(lambda: "refused our key" in gateway.texts(), "it is refused")
    assert len(gateway.client.link.held.ports) == 1


# -- restarts --------------------------------------------------------------------------------


def test_gateway_boots_without_controller_and_finds_it_later(site):
    site.start()
    site.stop()
    gateway = site.gateway("gw-a", site.key("gw-a", "gw-a"))
    gateway.until(lambda: any(isinstance(e, Lost) for e in gateway.events), "it says so")
    site.write(document(n_ports=3))
    site.start()
    gateway.until_ports(3)


def test_killed_controller_that_wants_the_same_changes_nothing(site):
    site.write(document(n_ports=3))
    site.spawn()
    gateway = site.gateway("gw-a", site.key("gw-a", "gw-a"))
    first = gateway.until_ports(3)
    for _ in range(2):
        before = len(gateway.states())
        site.kill()
        site.spawn()
        gateway.until(lambda n=before: len(gateway.states()) > n, "the new controller")
        again = gateway.states()[-1]
        assert again.epoch != first.epoch
        assert again.desired is first.desired


def test_killed_controller_that_wants_something_else_gets_it(site):
    site.write(document(n_ports=3))
    site.spawn()
    gateway = site.gateway("gw-a", site.key("gw-a", "gw-a"))
    gateway.until_ports(3)
    site.kill()
    site.write(document(n_ports=5))
    site.spawn()
    gateway.until_ports(5)
    site.write(document(n_ports=6))
    gateway.until_ports(6)


def test_gateway_that_starts_again_with_its_state_gets_no_snapshot(site):
    site.write(document(n_ports=3))
    site.start()
    secret = site.key("gw-a", "gw-a")
    first = site.gateway("gw-a", secret)
    held = first.until_ports(3).desired
    site.gateways.remove(first)
    first.client.close()
    second = site.gateway("gw-a", secret, held)
    assert second.until_ports(3).desired is held


# -- files -----------------------------------------------------------------------------------


def test_invalid_file_is_refused_with_every_problem_and_the_last_good_one_stays(site, caplog):
    site.write(document(n_ports=1))
    site.start()
    gateway = site.gateway("gw-a", site.key("gw-a", "gw-a"))
    gateway.until_ports(1)
    bad = document(n_ports=2)
    bad["segments"][0]["vni"] = 0
    bad["ports"][1]["segment"] = "nowhere"
    site.write(bad)
    gateway.until(lambda: "keeps what it has" in caplog.text, "the refusal")
    assert "segments[web].vni" in caplog.text
    assert "nowhere" in caplog.text
    assert gateway.client.link.state is State.LIVE
    site.write(document(n_ports=3))
    assert gateway.until_ports(3).revision == 2
    assert {len(e.desired.ports) for e in gateway.states()} == {1, 3}


def test_deleted_file_wipes_nothing_and_a_new_one_is_served(site, caplog):
    site.write(document(n_ports=1))
    site.start()
    gateway = site.gateway("gw-a", site.key("gw-a", "gw-a"))
    gateway.until_ports(1)
    site.file().unlink()
    gateway.until(lambda: "is gone; it keeps" in caplog.text, "the loss is logged")
    assert gateway.client.link.state is State.LIVE
    site.write(document(n_ports=2))
    assert gateway.until_ports(2).revision == 2


def test_gateway_without_a_file_waits_for_it(site):
    site.start()
    gateway = site.gateway("gw-a", site.key("gw-a", "gw-a"))
    gateway.until(lambda: any(isinstance(e, Waiting) for e in gateway.events), "it waits")
    site.write(document(n_ports=2))
    gateway.until_ports(2)


def test_file_of_another_name_is_refused(site, caplog):
    site.write(document("gw-b"), "gw-a")
    site.start()
    (line,) = [r.getMessage() for r in caplog.records if r.levelname == "ERROR"]
    assert "gateway.id: gw-b is not what the file is called; write gw-a, or rename it" in line
    assert line.count("\n") == 1, "and not what follows from it"


def test_a_file_that_is_mended_to_what_is_in_force_is_said(site, caplog):
    caplog.set_level("INFO")
    site.write(document(n_ports=1))
    site.start()
    gateway = site.gateway("gw-a", site.key("gw-a", "gw-a"))
    gateway.until_ports(1)
    site.write(document(n_ports=1) | {"natt": []})
    gateway.until(lambda: "keeps what it has" in caplog.text, "the refusal")
    site.write(document(n_ports=1))
    gateway.until(lambda: "asks for nothing new" in caplog.text, "that all is well")
    assert "revision 2" not in caplog.text


# -- a peer that misbehaves ------------------------------------------------------------------


def raw_dealer(site, secret):
    public, secret_key = curve.key_pair(secret)
    server = curve.public_key(site.folder / "keys" / "controller.key")
    socket = sockets.link_socket(zmq.Context(), zmq.DEALER)
    sockets.secure_client(socket, public, secret_key, server)
    socket.immediate = False
    socket.connect(site.endpoints[0])
    return socket


def ask(socket, frame):
    socket.send(frame)
    assert socket.poll(10_000), "no answer"
    return codec.decode_down(socket.recv())


def test_message_of_a_newer_version_is_answered_with_both_versions(site, caplog):
    site.start()
    socket = raw_dealer(site, site.key("gw-a", "gw-a"))
    frame = bytes([limits.VERSION + 1]) + codec.encode(m.Hello("gw-a"))[1:]
    answer = ask(socket, frame)
    socket.context.destroy(linger=0)
    assert "version 2" in answer.text
    assert "version 1" in answer.text
    assert "gateway gw-a: the peer speaks version 2" in caplog.text


def test_gateway_shows_a_controller_of_a_newer_version(site, monkeypatch):
    site.write(document())
    site.start()
    secret = site.key("gw-a", "gw-a")
    real = codec.encode

    def newer(msg):
        frame = real(msg)
        return frame if isinstance(msg, m.ToController) else b"\x02" + frame[1:]

    monkeypatch.setattr(codec, "encode", newer)
    gateway = site.gateway("gw-a", secret)
    gateway.until(lambda: "upgrade this program" in gateway.texts(), "the reason")


def test_gateway_that_stops_reading_in_the_middle_harms_nobody(site):
    """A snapshot is cut off by its receiver; the next one gets it whole."""
    site.write(document(n_ports=8_000))
    site.start()
    secret = site.key("gw-a", "gw-a")
    socket = raw_dealer(site, secret)
    assert isinstance(ask(socket, codec.encode(m.Hello("gw-a"))), m.Welcome)
    assert isinstance(ask(socket, codec.encode(m.Resync(1, b"", 2))), m.Begin)
    socket.context.destroy(linger=0)
    site.gateway("gw-a", secret).until_ports(8_000)


def test_controller_killed_in_the_middle_of_a_snapshot(site, monkeypatch):
    """What came of it is forgotten; the old state stays until the whole is there."""
    monkeypatch.setattr(link, "BURST", 1)  # one message at a time; the rest waits for credit
    site.write(document(n_ports=1))
    site.spawn()
    gateway = site.gateway("gw-a", site.key("gw-a", "gw-a"))
    gateway.until_ports(1)
    site.write(document(n_ports=20_000))
    gateway.until(lambda: gateway.client.link._assembly, "the first chunks")
    site.kill()
    assert not gateway.client.link._assembly.complete
    monkeypatch.undo()
    site.spawn()
    gateway.until_ports(20_000)
    assert {len(e.desired.ports) for e in gateway.states()} == {1, 20_000}


def test_garbage_is_logged_once_and_answered(site, caplog):
    site.start()
    socket = raw_dealer(site, site.key("gw-a", "gw-a"))
    for _ in range(3):
        assert "no sense" in ask(socket, b"\x01garbage").text
    socket.context.destroy(linger=0)
    assert len([r for r in caplog.records if "no sense" in r.getMessage()]) == 1


# -- set-up ----------------------------------------------------------------------------------


def test_endpoint_in_use_is_named_with_the_mend(site):
    site.start()
    with pytest.raises(BackendError, match=r"endpoint tcp://127.0.0.1:\d+: .* in use; stop"):
        type(site.controller)(site.settings())


def test_missing_key_is_named_with_the_mend(site):
    (site.folder / "keys" / "controller.key_secret").unlink()
    with pytest.raises(ConfigError, match=r"controller.key_secret cannot be read .* `pcg keys"):
        site.start()


def test_missing_folder_of_desired_states_is_named(site):
    (site.folder / "desired").rmdir()
    with pytest.raises(ConfigError, match="desired cannot be read"):
        site.start()


def test_log_of_a_good_day_has_no_warnings(site, caplog):
    caplog.set_level(logging.INFO)
    site.write(document())
    site.start()
    gateway = site.gateway("gw-a", site.key("gw-a", "gw-a"))
    gateway.until_ports(0)
    assert [r for r in caplog.records if r.levelno > logging.INFO] == []
