"""docs/firewall.md: its drawing is the order of decide.c, its table the address that is matched."""

import re
from pathlib import Path

import pytest

from pcg.reconcile import records as r
from tests.c.packets import tcp, udp
from tests.c.places import FEW, NET, OTHER_NET, POOL_A, SERVER, TWIN, A, B, R, ip
from tests.c.test_policy import one
from tests.c.world import ROUTES, nat, over, source, to_public

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "firewall.md").read_text()
DRAWING = re.search(r"<!-- order -->\n(.*)<!-- /order -->", TEXT, re.S).group(1)
ALLOW, DROP = 0, 1
IN, OUT = 1, 2


def drawn(side: int) -> list[str]:
    """The reasons of one of the drawing's two columns, from top to bottom."""
    halves = [(line[:47], line[47:]) for line in DRAWING.splitlines()]
    return [reason for half in halves for reason in re.findall(r"\b[A-Z_]{5,}\b", half[side])]


def reason(world) -> str:
    (told,) = world.drops()
    return told


def test_from_the_uplink_in_the_order_drawn(world):
    """All is wrong at first; what is told is mended, one thing after the other."""
    policy, told = world.policy, []
    policy.defaults, policy.nat, policy.firewall = (DROP, ALLOW), {}, []

    def sent():
        world.commit()
        return world.up(udp(OTHER_NET, POOL_A.secondary, 53, port))

    port = 5353
    assert not sent()
    told.append(reason(world))
    policy.nat = {"in": nat(1, 0, to_public(POOL_A), target=B._replace(address="192.168.100.99"))}
    assert not sent()
    told.append(reason(world))
    policy.nat = {"out": nat(2, 1, source("192.168.0.0", 16), POOL_A)}
    world.commit()
    port = one(world.down(A, udp(dst=NET))).ip.sport
    assert not sent()
    told.append(reason(world))
    policy.defaults = (ALLOW, ALLOW)
    assert not sent()
    told.append(reason(world))
    world.down(A, udp(dst=OTHER_NET))
    assert sent()
    assert told == drawn(0)


def test_from_a_workload_in_the_order_drawn(world):
    policy, told = world.policy, []
    snat = nat(2, 1, source("192.168.0.0", 16), FEW, ports=(2000, 2000))
    policy.nat = {"out": snat}
    world.commit()
    assert world.down(B, udp(B.address))  # has the only port

    def tell():
        world.commit()
        world.down(A, udp())
        told.append(reason(world))

    policy.defaults, policy.nat, policy.routes, policy.firewall = (ALLOW, DROP), {}, {}, []
    tell()
    policy.routes = {"dark": r.Routes(0, bytes(4), 0, 0, ip("10.99.1.3"), 0)}  # no such next hop
    tell()
    policy.nat = {"out": snat}
    tell()
    policy.defaults = (ALLOW, ALLOW)
    tell()
    policy.routes = {"default": ROUTES["default"]}
    world.commit()
    assert world.down(B, udp(B.address))  # has it again
    tell()
    policy.nat = {"out": snat._replace(port_last=2001)}
    world.commit()
    assert one(world.down(A, udp())).role == "uplink"
    assert told == drawn(1)


EXTERNAL, INTERNAL, BYPASS = range(3)
# the rule; who sends what; which end it is; its external and its internal address
WAYS = {
    "DNAT": (nat(4, 0, to_public(SERVER), target=B), tcp("S", NET, SERVER.secondary), IN),
    "SNAT": (nat(4, 1, source("192.168.0.0", 16), POOL_A), udp(), OUT),
    "REFLEXIVE out": (nat(4, 2, source(R.address, 32), TWIN), udp(R.address), OUT),
    "REFLEXIVE in": (nat(4, 2, source(R.address, 32), TWIN), udp(NET, TWIN.secondary), IN),
}
ENDS = {
    "DNAT": (SERVER.secondary, B.address),
    "SNAT": (POOL_A.secondary, A.address),
    "REFLEXIVE out": (TWIN.secondary, R.address),
    "REFLEXIVE in": (TWIN.secondary, R.address),
}


def hit(world, address: str, direction: int, packet) -> bool:
    """Is a rule about this address asked?"""
    at = {"dst_be" if direction == IN else "src_be": ip(address)}
    at |= {"dst_len" if direction == IN else "src_len": 32}
    world.policy.firewall = [r.Firewall(8, 0, DROP, direction, 0, r.Match(**at), "")]
    world.commit()
    vm = R if packet.src == R.address else A
    frame = over(vm, packet) if direction == OUT else b"".join((UP, bytes(packet)))
    events, _ = world.dp.explain("downlink" if direction == OUT else "uplink", frame)
    asked = next(e for e in events if e["stage"] == "session_lookup")
    assert asked["reason"] in ("", "FIREWALL_DENIED")
    return asked["fw_id"] == 8


UP = bytes.fromhex("0200000000020e00000000010800")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("fw_match", [EXTERNAL, INTERNAL, BYPASS])
def test_the_address_that_firewall_match_names(world, way, fw_match):
    rule, packet, direction = WAYS[way]
    world.policy.nat = {"it": rule._replace(fw_match=fw_match)}
    external, internal = ENDS[way]
    assert hit(world, external, direction, packet) == (fw_match == EXTERNAL)
    assert hit(world, internal, direction, packet) == (fw_match == INTERNAL)


@pytest.mark.parametrize("fw_match", [EXTERNAL, INTERNAL, BYPASS])
def test_also_of_who_comes_back_by_a_mapping(world, fw_match):
    rule = nat(4, 1, source("192.168.0.0", 16), POOL_A, fw_match=fw_match)
    world.policy.nat = {"it": rule}
    world.commit()
    port = one(world.down(A, udp())).ip.sport
    packet = udp(NET, POOL_A.secondary, 999, port)
    assert hit(world, POOL_A.secondary, IN, packet) == (fw_match == EXTERNAL)
    assert hit(world, A.address, IN, packet) == (fw_match == INTERNAL)
