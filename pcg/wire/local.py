"""Sockets of programs on this host, from the asking side: how to reach one, and why not."""

import os

import zmq

from pcg.model.errors import AbsentError, BackendError


def connect(socket: zmq.Socket, endpoint: str, thing: str) -> None:
    """In the background: who is not there shows later. Raises BackendError: no endpoint at all."""
    try:
        socket.connect(endpoint)
    except zmq.ZMQError as e:
        raise BackendError(thing, zmq.strerror(e.errno), "name it as ipc:///PATH") from None


def absent(endpoint: str, thing: str, mend: str) -> BackendError:
    """Why no connection came about: we may not open the socket, or nobody listens there."""
    if _forbidden(endpoint):
        return BackendError(thing, "no permission", "run as root, or as one who may open it")
    return AbsentError(thing, "nobody listens there", mend)


def _forbidden(endpoint: str) -> bool:
    scheme, _, path = endpoint.partition("://")
    if scheme != "ipc":
        return False
    try:
        os.stat(path)
    except PermissionError:  # of a folder on the way
        return True
    except (OSError, ValueError):
        return False
    return not os.access(path, os.R_OK | os.W_OK)
