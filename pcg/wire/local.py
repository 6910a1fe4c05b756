"""Sockets of programs on this host, from the asking side: how to reach one, and why not."""

import os
import socket

import zmq

from pcg.model.errors import AbsentError, BackendError


def connect(to: zmq.Socket, endpoint: str, thing: str) -> None:
    """In the background: who is not there shows later. Raises BackendError: no endpoint at all."""
    try:
        to.connect(endpoint)
    except zmq.ZMQError as e:
        raise BackendError(thing, zmq.strerror(e.errno), "name it as ipc:///PATH") from None


def absent(endpoint: str, thing: str, mend: str) -> BackendError:
    """Why no connection came about: we may not open the socket, or nobody listens there, or whoever
    does has no time for us."""
    if _forbidden(endpoint):
        return BackendError(thing, "no permission", "run as root, or as one who may open it")
    if listens(endpoint):
        look = "it is stopped or overloaded: look at its process, its log and the machine's load"
        return AbsentError(thing, "it listens and does not answer", look)
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


def listens(endpoint: str) -> bool:
    """The kernel takes a connection for whoever has the socket open, running or not."""
    scheme, _, path = endpoint.partition("://")
    if scheme != "ipc":
        return False
    with socket.socket(socket.AF_UNIX) as door:
        door.setblocking(False)
        try:
            door.connect(path)
        except BlockingIOError:  # so many wait already: it is stopped
            return True
        except (OSError, ValueError):
            return False
        return True
