"""A gateway that serves DHCP: two VRFs with dynamic ports, and what engines say to them."""

from types import SimpleNamespace

import msgspec

from pcg.model.dhcp import DhcpScope
from pcg.proto import relay
from pcg.reconcile.addresses import address
from tests.unit.gateway.world import World
from tests.unit.proto.dhcp_world import dotted, replied
from tests.unit.reconcile.examples import DESIRED, port

NEAR, FAR = "10.0.2.21", "10.0.3.22"


def change(value, **more):
    return msgspec.structs.replace(value, **more)


def dynamic(name: str, n: int, segment: str = "web", **more):
    made = port(name, f"0.0.9.{n}", segment)
    return change(made, addresses=(), **more)


SEGMENTS = tuple(change(s, dhcp=f"lan-{s.vrf}") for s in DESIRED.segments)
SERVED = change(
    DESIRED,
    segments=SEGMENTS,
    dhcp=(DhcpScope(id="lan-t1", vrf="t1"), DhcpScope(id="lan-t2", vrf="t2")),
    ports=(*DESIRED.ports, dynamic("vm-1", 1), dynamic("vm-2", 2), dynamic("far", 1, "other")),
)


def leasing(monkeypatch) -> World:
    made = World(monkeypatch)
    made.adopt(SERVED)
    made.run(3.0)
    return made


def grants(world):
    return world.gateway.grants


def said(world, name, kind="ack", yiaddr="192.168.1.100", lease_s=600, **more):
    one = grants(world).roster.by_port[name]
    data = replied(kind, ("lease_time", lease_s), to=one, yiaddr=address(yiaddr), **more)
    return relay.reply(data, {one.circuit: one})


def give(world, *replies):
    """Names of the ports whose replies may go out."""
    return [reply.client.port.id for reply in grants(world).give(replies)]


def programmed(world):
    """(VRF number, address) -> (VNI, TEP) of what the datapath holds beside the desired ports."""
    own = {address(a) for p in DESIRED.ports for a in p.addresses}
    return {
        (key[0], dotted(key[1])): (rec.vni, dotted(rec.tep_be))
        for key, rec in world.client.single["ports"].items()
        if key[1] not in own
    }


def refused(world):
    return dict(grants(world).refused)


def vrf(world, name):
    return next(rec.index for rec in world.client.policy["vrfs"] if rec.name == name)


def known(name, last, mac_text, segment="web", lease_s=500.0, state="leased"):
    return SimpleNamespace(
        segment=segment,
        address=f"192.168.1.{last}",
        mac=mac_text,
        hostname=name,
        expires=5.0 + lease_s,
        state=state,
    )
