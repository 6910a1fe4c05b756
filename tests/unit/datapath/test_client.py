"""client.py and server.py back to back, on a path that is only pretended."""

import contextlib
import threading

import pytest
import zmq

from pcg.datapath import messages, pack
from pcg.datapath.client import Client
from pcg.datapath.server import Server
from pcg.model.errors import BackendError
from pcg.reconcile import records

PORTS = [records.Ports(1, bytes([10, 0, 0, i]), 7, bytes(4), bytes(6)) for i in range(5)]


DEEP = b"\x84\xa2id\x01\xa5shape\xa0\xa2op\xa0\xa4args\x81\xa1x" + b"\x91" * 100_000 + b"\x01"


class PretendedPath:
    """Keeps what it is told."""

    def __init__(self):
        self.tables, self.committed = {}, None

    def put_raw(self, table, data):
        self.tables[table] = data

    def read_raw(self, table):
        return self.tables.get(table, b"")

    def commit_raw(self, policy, revision, touches):
        if revision == 13:
            raise BackendError("policy revision 13", "nat[x]: no such VRF", "mend it")
        self.committed = policy, revision, touches

    def totals(self):
        return {"rx": 1}

    def drops(self):
        raise MemoryError("as a path may run into")

    def sessions_raw(self, cursor, n):
        bytearray(n)
        return (bytes(2 * pack.size("session")), cursor + 1) if cursor < 3 else (b"", cursor)


@contextlib.contextmanager
def serving(endpoint, path, server_class=Server):
    """A server in a thread, until the block ends."""
    context, end = zmq.Context(), threading.Event()
    server = server_class(path, context, endpoint)

    def answer():
        while not end.is_set():
            if server.socket.poll(10):
                server.answer_one()

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield server
    finally:
        end.set()
        thread.join()
        server.close()
        context.term()


@pytest.fixture
def endpoint(tmp_path):
    return f"ipc://{tmp_path}/dp.sock"


@pytest.fixture
def client(endpoint):
    with Client(endpoint, timeout_s=3.0) as connected:
        yield connected


def test_tables_go_there_and_come_back(endpoint, client):
    with serving(endpoint, PretendedPath()):
        client.put("ports", PORTS)
        assert client.read("ports") == PORTS


def test_a_commit_carries_every_policy_table(endpoint, client):
    with serving(endpoint, PretendedPath()) as server:
        blue = records.Vrfs(1, 0, 0, "blue")
        touch = records.Touch(1, bytes(4), bytes(4), 0, 0)
        client.commit({"vrfs": [blue]}, 5, [touch])
        policy, revision, touches = server.dp.committed
        assert set(policy) == set(records.POLICY)
        assert pack.unpack("vrfs", policy["vrfs"]) == [blue]
        assert (revision, pack.unpack("touch", touches)) == (5, [touch])


def test_the_paths_own_words_reach_the_caller(endpoint, client):
    with serving(endpoint, PretendedPath()):
        with pytest.raises(BackendError) as caught:
            client.commit({}, 13)
        assert str(caught.value) == "policy revision 13: nat[x]: no such VRF; mend it"


def test_sessions_come_in_pages(endpoint, client):
    with serving(endpoint, PretendedPath()):
        assert len(client.sessions()) == 6
        assert len(client.sessions(limit=3)) == 3
        assert client.sessions(address="1.2.3.4") == []


def test_wrong_arguments_harm_nobody(endpoint, client):
    with serving(endpoint, PretendedPath()):
        with pytest.raises(BackendError, match="its arguments are wrong"):
            client._call("read")
        with pytest.raises(BackendError, match="there is no such operation"):
            client._call("dance")
        assert client.totals() == {"rx": 1}


@pytest.mark.parametrize("n", [-1, 0, 65_537, 1 << 40, 1 << 62])
def test_no_more_sessions_at_once_than_there_is_room_for(endpoint, client, n):
    with serving(endpoint, PretendedPath()):
        with pytest.raises(BackendError, match="its arguments are wrong .*n is 1 to 65536, not"):
            client._call("sessions", cursor=0, n=n)
        assert client.totals() == {"rx": 1}


def test_whatever_goes_wrong_is_an_answer(endpoint, client):
    with serving(endpoint, PretendedPath()):
        with pytest.raises(BackendError, match="drops: it failed .MemoryError: as a path may"):
            client.drops()
        assert client.totals() == {"rx": 1}


def test_what_is_no_request_harms_nobody(endpoint, client):
    with serving(endpoint, PretendedPath()):
        for parts in ([b""], [b"\xff" * 30], [b"\x80"], [messages.encode(1), b"x"], [DEEP]):
            client._socket.send_multipart(parts)
        assert client.totals() == {"rx": 1}


def test_nobody_there(endpoint):
    with Client(endpoint, timeout_s=0.05) as client:
        with pytest.raises(BackendError, match=r"nobody listens there; start it"):
            client.totals()


def test_a_restarted_process_is_found_again(endpoint, client):
    for _ in range(3):
        with serving(endpoint, PretendedPath()):
            assert client.totals() == {"rx": 1}


def test_another_build_is_refused_by_name(endpoint, client):
    with serving(endpoint, PretendedPath()) as server:
        server.shape = "0123456789abcdef"
        with pytest.raises(BackendError, match="another build .*0123456789abcdef"):
            client.totals()


def test_a_newer_version_is_refused_by_name(endpoint, client, monkeypatch):
    with serving(endpoint, PretendedPath()):
        request = messages.Request(version=2, id=1, shape=client._shape, op="totals")
        client._last_id = 1
        client._socket.send(messages.encode(request))
        reply, _ = client._receive("totals", deadline=float("inf"))
        assert "another build" in reply.error.why


class Silent(Server):
    """Takes requests and answers the first one only when the second has come."""

    held = None

    def answer_one(self):
        parts = self.socket.recv_multipart()
        if self.held:
            for client, header, *_ in (self.held, parts):
                request = messages.decode_request(header)
                reply = messages.Reply(id=request.id, shape=self.shape, result=request.op)
                self.socket.send_multipart([client, messages.encode(reply)])
        self.held = parts


def test_no_answer_and_a_late_one(endpoint):
    with serving(endpoint, None, Silent), Client(endpoint, timeout_s=0.2) as client:
        with pytest.raises(BackendError, match=r"no answer to totals within 0.2 s"):
            client.totals()
        client.timeout_s = 5.0
        assert client.drops() == "drops"  # and not the late answer to totals


def test_a_process_that_ends_in_the_middle_is_noticed_at_once(endpoint):
    with Client(endpoint, timeout_s=60.0) as client:
        with serving(endpoint, None, Silent) as server:
            caught = []

            def ask():
                with pytest.raises(BackendError, match="it ended during totals"):
                    client.totals()
                caught.append(True)

            thread = threading.Thread(target=ask)
            thread.start()
            while not server.held:
                thread.join(0.01)
        thread.join(30)
        assert caught
