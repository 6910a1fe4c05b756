"""The far end of a bench's session: it answers whatever comes, as long as a session is learnt."""

import contextlib
import socket
import threading
from collections.abc import Iterator

from bench import frames
from pcg.lab import ns

ETH_P_IP, SOL_PACKET, PACKET_IGNORE_OUTGOING = 0x0800, 263, 23  # linux/if_packet.h


@contextlib.contextmanager
def reflecting(space: str, device: str) -> Iterator[None]:
    """Every plain frame that comes out of `device` goes back in with its ends exchanged."""
    with ns.inside(space):
        raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_IP))
        raw.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        raw.bind((device, ETH_P_IP))
    raw.settimeout(0.05)
    done = threading.Event()
    thread = threading.Thread(target=_reflect, args=(raw, done))
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        raw.close()


def _reflect(raw: socket.socket, done: threading.Event) -> None:
    while not done.is_set():
        with contextlib.suppress(OSError):  # nothing came, or no room to send
            raw.send(frames.turned_round(raw.recv(9216)))
