"""How sockets of the link are set up, alike on both ends."""

import zmq

from pcg.model.errors import BackendError
from pcg.wire import limits

RECONNECT_MS, RECONNECT_MAX_MS = 50, 1000  # libzmq adds a random part of its own
ALIVE_MS, ALIVE_TIMEOUT_MS = 1000, 3000  # a connection whose peer vanished without a word


def link_socket(ctx: zmq.Context, kind: int) -> zmq.Socket:
    """A socket that gives up on vanished peers and on frames beyond the limit."""
    socket = ctx.socket(kind)
    socket.linger = 0
    socket.maxmsgsize = limits.MAX_FRAME_BYTES
    socket.heartbeat_ivl, socket.heartbeat_timeout = ALIVE_MS, ALIVE_TIMEOUT_MS
    return socket


def serve(socket: zmq.Socket, endpoint: str, public: bytes, secret: bytes) -> None:
    """Bind with CURVE. Raises BackendError."""
    socket.curve_server = True
    socket.curve_publickey, socket.curve_secretkey = public, secret
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as e:
        mend = "stop the program that has it, or choose another endpoint in the settings"
        raise BackendError(f"endpoint {endpoint}", zmq.strerror(e.errno), mend) from e


def secure_client(socket: zmq.Socket, public: bytes, secret: bytes, server: bytes) -> None:
    """CURVE, and no queue for a peer that is not there: what cannot be sent now is dropped."""
    socket.curve_publickey, socket.curve_secretkey = public, secret
    socket.curve_serverkey = server
    socket.immediate = True
    socket.reconnect_ivl, socket.reconnect_ivl_max = RECONNECT_MS, RECONNECT_MAX_MS
    socket.connect_timeout = 5000
