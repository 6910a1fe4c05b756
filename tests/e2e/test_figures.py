"""The figures' instruments: the peer forwards in the gateway's place, and gives it back."""

import os
from collections.abc import Iterator

import pytest

from pcg.lab import ns
from pcg.lab.figures import cpu, tcp
from pcg.lab.figures.gateways import OvsGateway, Pcg
from pcg.lab.lab import Lab


@pytest.fixture(scope="module")
def bare() -> Iterator[Lab]:
    lab = Lab(f"pcgf{os.getpid()}-")
    try:
        lab.up()
        yield lab
    finally:
        lab.down()


def test_gateways_take_turns(bare: Lab):
    """Each forwards TCP both ways at both MTUs, PCG also after the peer: nothing is in its way."""
    cpu.others_pay(bare.layout)
    for gateway in (OvsGateway(bare.layout), Pcg(bare)):
        gateway.start()
        found = tcp.turn(bare, gateway, seconds=1)
        assert [(t.mtu, t.way) for t in found] == [(m, w) for m in tcp.MTUS for w in tcp.WAYS]
        assert all(t.gbit_s > 0.01 and t.core_s_per_gbit > 0 for t in found)
        gateway.stop()


def test_the_peer_leaves_nothing(bare: Lab):
    peer = OvsGateway(bare.layout)
    peer.start()
    peer.stop()
    space = bare.layout.ns("pcg")
    assert "pcg_lab" not in ns.run("nft", "list", "tables", ns=space)
    assert "br-phy" not in ns.run("ip", "link", ns=space)
