"""`make figures`: what the gateway costs in the lab, beside a peer that does the same work there.

No test: a loaded machine says otherwise. PCG and Open vSwitch (see gateways.py) forward in turns,
the same traffic between the same hosts, so that what disturbs one disturbs the other too.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from pcg.lab.figures import cpu, report, rtt, tcp
from pcg.lab.figures.gateways import Gateway, OvsGateway, Pcg
from pcg.lab.lab import Lab


def run(prefix: str, rounds: int, seconds: int) -> int:
    console, lab = Console(width=100, highlight=False), Lab(prefix)
    begun = report.conditions()
    try:
        lab.up()
        gateways: list[Gateway] = [Pcg(lab), OvsGateway(lab.layout)]
        trips = [rtt.routed_by_kernel(lab)]
        for gateway in gateways:
            with _forwarding(gateway):
                trips.append(rtt.through(lab, gateway))
        report.print_trips(console, trips)
        cpu.others_pay(lab.layout)
        transfers: list[tcp.Tcp] = []
        for number in range(rounds):
            for gateway in gateways:
                status = console.status(f"round {number + 1} of {rounds}: {gateway.name}")
                with status, _forwarding(gateway):
                    transfers += tcp.turn(lab, gateway, seconds)
        report.print_transfers(console, transfers)
    finally:
        lab.down()
    report.write(begun | {"ended": time.ctime(), "load_after": report.load()}, trips, transfers)
    console.print(f"written: {report.PATH}")
    return 0


@contextmanager
def _forwarding(gateway: Gateway) -> Iterator[None]:
    """Its turn. When it fails, the lab goes down with everything in it."""
    gateway.start()
    yield
    gateway.stop()
