"""A process that writes into an arena until it is killed.

python -m tests.c.busy <arena> sessions|peers|ports
"""

import sys
from collections.abc import Callable

from tests.c.packets import udp
from tests.c.places import WEB, A
from tests.c.test_restart import Life, program
from tests.c.world import World, numbered, over

SAY = sys.stdout.write


def rounds_of(w: World, frames: list[bytes]) -> Callable[[int], None]:
    """Rounds of 512 of these 2,048; behind every other round, sessions of an hour ago end."""

    def work(round_: int) -> None:
        at = 512 * (round_ % 4)
        w.now_s = 200.0 * round_
        w.dp.inject("downlink", frames[at : at + 512], w.now_ns)
        if round_ % 2:
            w.sweep()

    return work


def sessions(w: World) -> Callable[[int], None]:
    """Rounds of 512 new sessions; every other round, those of an hour ago end."""
    return rounds_of(w, numbered((1 + i, 1 + i % 7) for i in range(2048)))


def peers(w: World) -> Callable[[int], None]:
    """As above, of sixteen inside endpoints with 32 peers each."""
    peer = [f"9.9.{i >> 5}.{i & 31}" for i in range(128)]
    frames = [over(A, udp(dst=dst, sport=1 + i)) for dst in peer for i in range(16)]
    return rounds_of(w, frames)


def ports(w: World) -> Callable[[int], None]:
    """Rounds of 500 ports made, moved and removed."""
    rows = [A._replace(address=f"192.168.99.{i}") for i in range(2, 252)]
    rows += [A._replace(address=f"192.168.100.{i}", vni=WEB) for i in range(2, 252)]

    def work(_round: int) -> None:
        w.dp.put("ports", [vm.record for vm in rows])
        w.dp.put("ports", [vm._replace(tep="10.99.3.12").record for vm in rows[::3]])
        w.dp.delete("ports", [vm.record for vm in rows[::2]])
        w.sweep()

    return work


def main(path: str, name: str) -> None:
    w = Life(path, fresh=True).world
    program(w)
    work = {"sessions": sessions, "peers": peers, "ports": ports}[name](w)
    SAY("on\n")
    for round_ in range(1, 1_000_000):
        work(round_)
        SAY("round\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
