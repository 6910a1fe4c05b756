"""control.py: questions and answers over a Unix socket."""

import os
import stat
import threading

import msgspec
import pytest
import zmq

from pcg.gateway.control import ControlServer, ask
from pcg.model.errors import BackendError

DEEP = b"\x91" * 4000 + b"\x01"  # lists in lists


@pytest.fixture
def endpoint(tmp_path):
    return f"ipc://{tmp_path}/run/gateway.sock"


def double(words):
    if not isinstance(words.get("what"), str):
        raise BackendError("double", "needs `what`", "say it")
    return 2 * words["what"]


@pytest.fixture
def served(endpoint):
    """A server that a thread runs until the test ends."""
    answers = {"realised": lambda: {"revision": 7}, "desired": lambda: None}
    server = ControlServer(endpoint, answers, {"double": double})
    ending = threading.Event()

    def loop():
        while not ending.is_set():
            if server.socket.poll(20):
                server.serve()

    thread = threading.Thread(target=loop)
    thread.start()
    yield server
    ending.set()
    thread.join()
    server.close()


def test_answers(served, endpoint):
    assert ask(endpoint, "realised") == {"revision": 7}
    assert ask(endpoint, "desired") is None


def test_does_what_it_is_told_by_words_and_says_why_it_does_not(served, endpoint):
    assert ask(endpoint, "double", what="ab") == "abab"
    with pytest.raises(BackendError, match="double: needs `what`; say it"):
        ask(endpoint, "double")


def test_socket_is_roots_alone(served, endpoint):
    assert stat.S_IMODE(os.stat(endpoint.removeprefix("ipc://")).st_mode) == 0o600


def test_unknown_question_says_which_there_are(served, endpoint):
    with pytest.raises(BackendError, match="realised, desired"):
        ask(endpoint, "reboot")


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x01", msgspec.msgpack.encode({"op": [1]}), DEEP])
def test_rubbish_gets_an_error_and_the_next_client_its_answer(served, endpoint, data):
    with zmq.Context() as context, context.socket(zmq.REQ) as sock:
        sock.linger = 0
        sock.connect(endpoint)
        sock.send(data)
        assert sock.poll(5000)
        assert "error" in msgspec.msgpack.decode(sock.recv())
    assert ask(endpoint, "realised") == {"revision": 7}


def test_nobody_there_names_the_mend(endpoint):
    with pytest.raises(BackendError, match="nobody listens there; is `pcg gateway` running"):
        ask(endpoint, "realised", timeout_s=0.2)


def test_endpoint_that_cannot_be_bound_names_the_setting(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BackendError, match="`control`"):
        ControlServer(f"ipc://{tmp_path}/file/x.sock", {})
