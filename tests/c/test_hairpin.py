"""A workload dials an Elastic IP of ours: turned round inside, as the Internet gateway would."""

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP

from pcg.reconcile import records as r
from pcg.reconcile.touches import touches
from tests.c.packets import answer, complaint, flow, inside, one, ping, ports, tcp, udp
from tests.c.places import (
    APP,
    PLAIN,
    POOL_A,
    POOL_B,
    RED,
    SERVER,
    THIN,
    TWIN,
    WHOLE,
    A,
    B,
    C,
    Public,
    R,
    Vm,
    ip,
)
from tests.c.world import nat, source, to_public

ELASTIC = {POOL_A.elastic, POOL_B.elastic}


def call(w, vm: Vm, packet, callee: Vm):
    """There and back again: what the callee and the caller saw."""
    there = one(w.down(vm, packet))
    assert (there.tep, there.vni, there.eth.dst) == (callee.tep, callee.vni, callee.mac)
    back = one(w.down(callee, answer(there)))
    assert (back.tep, back.vni, back.eth.dst) == (vm.tep, vm.vni, vm.mac)
    return there, back


def test_tcp_through_a_translated_port(world):
    """RFC 5382 REQ-8."""
    there, back = call(world, A, tcp("S", dst=SERVER.elastic, dport=80), B)
    assert there.ip.src in ELASTIC  # RFC 4787 REQ-9: the callee sees an external address
    assert flow(there)[1::2] == (B.address, 8080)
    assert flow(back) == (SERVER.elastic, A.address, 80, 1000)
    again = one(world.down(A, tcp("A", dst=SERVER.elastic, dport=80)))
    assert flow(again) == flow(there)
    assert world.drops() == {}


def test_udp_and_ping(world):
    """RFC 4787 REQ-9, RFC 5508 REQ-7, RFC 7857 section 12."""
    there, back = call(world, A, udp(dst=SERVER.elastic, dport=7003), B)
    assert flow(there)[3] == 9003
    assert flow(back) == (SERVER.elastic, A.address, 7003, 1000)
    there, back = call(world, A, ping(dst=WHOLE.elastic, id_=77), C)
    assert flow(back) == (WHOLE.elastic, A.address, 77, 77)


def test_both_sessions_are_there(world):
    call(world, A, tcp("S", dst=SERVER.elastic, dport=80), B)
    assert world.dp.totals()["sessions"] == 2
    assert {s["fwd_from_uplink"] for s in world.dp.sessions()} == {0, 1}


def test_to_oneself(world):
    """B dials the very Elastic IP behind which it is (RFC 4787 REQ-9)."""
    there, back = call(world, B, tcp("S", B.address, SERVER.elastic, dport=80), B)
    assert there.ip.src in ELASTIC
    assert flow(back) == (SERVER.elastic, B.address, 80, 1000)


def test_between_reflexive_and_pool(world):
    there, back = call(world, R, udp(R.address, SERVER.elastic, dport=7000), B)
    assert flow(there) == (TWIN.elastic, B.address, 1000, 9000)
    assert flow(back) == (SERVER.elastic, R.address, 7000, 1000)
    there, back = call(world, A, udp(dst=TWIN.elastic, sport=2), R)
    assert flow(there)[1::2] == (R.address, 53)


def test_into_another_vrf(world):
    """RED has A's address; they speak by their Elastic IPs."""
    world.policy.routes["red-all"] = world.policy.routes["default"]._replace(vrf=1)
    world.commit()
    there, back = call(world, RED, udp(RED.address, SERVER.elastic, dport=7000), B)
    assert flow(there)[0] == "203.0.113.20"
    assert flow(back) == (SERVER.elastic, RED.address, 7000, 1000)


ELASTICS = r.Routes(0, ip("203.0.113.0"), 24, 2, bytes(4), 0)  # a blackhole
OTHERWISE = {
    "none": (RED, {}, "NO_ROUTE"),
    "blackhole": (A, {"elastics": ELASTICS}, "BLACKHOLE"),
    "segment": (A, {"elastics": ELASTICS._replace(kind=1, vni=APP)}, "PORT_UNKNOWN"),
}


@pytest.mark.parametrize("caller, routes, reason", OTHERWISE.values(), ids=OTHERWISE)
def test_only_where_the_route_is_by_the_uplink(world, caller, routes, reason):
    """An Elastic IP of ours is a destination as any other: a VRF without a route stays apart."""
    world.policy.routes |= routes
    world.commit()
    sent = world.down(caller, udp(caller.address, SERVER.elastic, dport=7000))
    assert not [seen for seen in sent if UDP in seen.ip and seen.ip[UDP].dport == 9000]
    assert world.drops() == {reason: 1}
    assert world.dp.totals()["sessions"] == 0


def test_a_route_that_is_taken_away_ends_it(world):
    call(world, A, tcp("S", dst=SERVER.elastic, dport=80), B)
    world.policy.routes["elastics"] = ELASTICS
    world.commit()
    assert world.dp.totals()["sessions"] == 0
    world.down(A, tcp("A", dst=SERVER.elastic, dport=80))
    assert world.drops() == {"BLACKHOLE": 1}


def test_the_callees_vrf_has_no_way_back(world):
    world.policy.routes["red-all"] = world.policy.routes["default"]._replace(vrf=1)
    world.policy.routes["back"] = ELASTICS
    world.commit()
    assert not world.down(RED, udp(RED.address, SERVER.elastic, dport=7000))
    assert world.drops() == {"NO_ROUTE": 1}


def addressed(vm: Vm):
    """SNAT of what it sends to Elastic IPs of ours."""
    to = {"dst_be": ip("203.0.113.0"), "dst_len": 24}
    return nat(30, 1, source(vm.address, 32, **to), POOL_A)


@pytest.mark.parametrize("caller", [PLAIN, A], ids=["routed", "NO_SNAT"])
def test_its_own_address_is_no_source(world, caller):
    """The callee's host would answer it straight, past the gateway: by whom it did not dial."""
    own = nat(29, 3, source(A.address, 32))
    world.policy.nat = {"own": own, **world.policy.nat}
    world.commit()
    packet = udp(caller.address, SERVER.elastic, dport=7003)
    told = one(world.down(caller, packet))
    assert (told.tep, told.ip[ICMP].type, told.ip[ICMP].code) == (caller.tep, 3, 13)
    assert world.drops() == {"NO_NAT": 1}
    world.policy.nat = {"elastics": addressed(caller), **world.policy.nat}
    world.commit()
    there, back = call(world, caller, packet, B)
    assert there.ip.src == POOL_A.elastic
    assert flow(back) == (SERVER.elastic, caller.address, 7003, 1000)


def test_the_callees_half_is_gone(world):
    """The caller is reset at its next segment, where strangers are met by silence."""
    call(world, A, tcp("S", dst=SERVER.elastic, dport=80), B)
    web = world.policy.nat.pop("web")
    world.commit()
    world.policy.nat["web"] = web
    world.commit()
    assert world.dp.totals()["sessions"] == 1
    reset = one(world.down(A, tcp("A", dst=SERVER.elastic, dport=80)))
    assert (reset.tep, flow(reset)) == (A.tep, (SERVER.elastic, A.address, 80, 1000))
    assert reset.ip[TCP].flags == "R"
    assert world.drops() == {"TCP_NO_SESSION": 1}


def test_the_callee_may_have_no_more(world):
    """RFC 5508 REQ-8: 3/13 to the caller, about the packet as it sent it."""
    world.policy.nat["range"] = world.policy.nat["range"]._replace(sessions_each=1)
    world.commit()
    call(world, A, udp(dst=SERVER.elastic, dport=7003), B)
    told = one(world.down(A, udp(dst=SERVER.elastic, dport=7004)))
    assert (told.tep, told.ip.src, told.ip.dst) == (A.tep, SERVER.elastic, A.address)
    assert (told.ip[ICMP].type, told.ip[ICMP].code) == (3, 13)
    assert (inside(told).src, ports(inside(told))) == (A.address, (1000, 7004))
    assert world.drops() == {"QUOTA_SESSIONS": 1}


def test_no_door_behind_the_address(world):
    assert not world.down(A, udp(dst=SERVER.elastic, dport=9))
    assert world.drops() == {"NO_DNAT": 1}


@pytest.mark.parametrize(
    "packet, reason, said",
    [
        (udp(dst=SERVER.elastic, dport=7000, ttl=2), "TTL_EXPIRED", (11, 0, 0)),
        (
            udp(dst=SERVER.elastic, dport=7000, flags="DF", data=bytes(1423)),
            "TOO_BIG",
            (3, 4, 1450),
        ),
    ],
)
def test_what_ends_half_way_is_told_to_the_caller(world, packet, reason, said):
    """By the address it dialled, about the packet as it sent it; the second half counts once."""
    world.policy.nat["range"] = world.policy.nat["range"]._replace(target_be=THIN.record.address_be)
    world.commit()
    seen = one(world.down(A, packet))
    assert (seen.ip.src, seen.ip.dst, seen.tep) == (SERVER.elastic, A.address, A.tep)
    told = seen.ip[ICMP]
    assert (told.type, told.code, told.nexthopmtu if told.code else 0) == said
    quoted = inside(seen)
    assert (quoted.src, quoted.dst, *ports(quoted)) == (A.address, SERVER.elastic, 1000, 7000)
    assert world.drops() == {reason: 1}
    assert world.dp.totals()["made"] == 1


OPENERS = {
    "udp": (udp(dst=SERVER.elastic, dport=7003), B),
    "tcp": (tcp("S", dst=SERVER.elastic, dport=80), B),
    "ping": (ping(dst=WHOLE.elastic, id_=77), C),
    "reflexive": (udp(dst=TWIN.elastic), R),
}


class TestErrors:
    """RFC 5508 REQ-7: "All NAT devices (i.e., Basic NAT as well as NAPT devices) MUST support the
    traversal of hairpinned ICMP Error messages." REQ-7a: "the NAT device MUST translate the
    destination IP address of the outer IP header to be same as the source IP address of the
    embedded IP packet after the translation."
    """

    @pytest.mark.parametrize("packet, callee", OPENERS.values(), ids=OPENERS)
    @pytest.mark.parametrize("quote", [28, 40, None])
    def test_the_callee_complains(self, world, packet, callee, quote):
        there = one(world.down(A, packet))
        seen = one(world.down(callee, complaint(there, callee.address, quote=quote)))
        assert (seen.ip.src, seen.ip.dst, seen.tep) == (packet.dst, A.address, A.tep)
        assert (seen.ip[ICMP].type, seen.ip[ICMP].code) == (3, 3)
        quoted = inside(seen)
        assert quoted.src == seen.ip.dst
        assert (quoted.src, quoted.dst, *ports(quoted)) == (A.address, packet.dst, *ports(packet))
        assert world.drops() == {}

    @pytest.mark.parametrize("packet, callee", OPENERS.values(), ids=OPENERS)
    def test_the_caller_complains_about_the_answer(self, world, packet, callee):
        there, back = call(world, A, packet, callee)
        seen = one(world.down(A, complaint(back, A.address, code=4, mtu=1400)))
        assert (seen.ip.src, seen.ip.dst, seen.tep) == (there.ip.src, callee.address, callee.tep)
        assert seen.ip[ICMP].nexthopmtu == 1400
        quoted = inside(seen)
        assert (quoted.src, quoted.dst) == (callee.address, there.ip.src)
        assert ports(quoted) == ports(there.ip)[::-1]

    def test_udp_without_checksum_inside(self, world):
        packet = udp(dst=SERVER.elastic, dport=7003)
        packet[UDP].chksum = 0
        there = one(world.down(A, packet))
        seen = one(world.down(B, complaint(there, B.address)))
        assert inside(seen).payload.chksum == 0

    def test_a_wrong_checksum_is_not_made_right(self, world):
        there = one(world.down(A, udp(dst=SERVER.elastic, dport=7003)))
        packet = complaint(there, B.address)
        packet[ICMP].chksum = 1
        assert not world.down(B, packet)
        assert world.drops() == {"IP_CHECKSUM": 1}

    def test_neither_refreshes_nor_ends(self, world):
        """RFC 5508 REQ-6, RFC 4787 REQ-12."""
        there = one(world.down(A, udp(dst=SERVER.elastic, dport=7003)))
        world.now_s = 299
        assert world.down(B, complaint(there, B.address))
        assert world.dp.totals()["sessions"] == 2
        world.sweep(after_s=2)
        assert world.dp.totals()["sessions"] == 0

    def test_about_no_session_goes_nowhere(self, world):
        there = one(world.down(A, udp(dst=SERVER.elastic, dport=7003)))
        world.sweep(after_s=301)
        assert not world.down(B, complaint(there, B.address))
        assert sum(world.drops().values()) == 1


@pytest.mark.parametrize("dst", [WHOLE.secondary, C.address], ids=["half way", "at the end"])
def test_udp_checksum_that_comes_out_zero_is_sent_as_ones(world, dst):
    """RFC 768: zero would say that there is none. The payload that makes it so is worked out."""
    sent = one(world.down(A, udp(dst=WHOLE.elastic, data=b"\0\0")))
    header = IP(src=sent.ip.src, dst=dst) / UDP(sport=sent.ip.sport, dport=53) / b"\0\0"
    data = bytes(header)[26:28]  # its checksum: as payload, it makes the new checksum zero
    sent = one(world.down(A, udp(dst=WHOLE.elastic, data=data)))
    assert sent.ip[UDP].chksum != 0
    assert bytes(sent.ip[UDP].payload) == data


def test_not_a_word_leaves_by_the_uplink(world):
    before = world.dp.nics()
    call(world, A, tcp("S", dst=SERVER.elastic, dport=80), B)
    uplink = {nic["name"]: nic["tx_packets"] for nic in world.dp.nics()}
    assert uplink["up0"] == {nic["name"]: nic["tx_packets"] for nic in before}["up0"]


ONE = Public(6, WHOLE.secondary, WHOLE.secondary)  # as where no cloud stands between


@pytest.fixture
def one_address(world):
    """A and B share it for SNAT; by its ports 80 and 7000 to 7009 B is reached."""
    policy = world.policy
    policy.publics = (*tuple(p for p in policy.publics if p not in (WHOLE, SERVER)), ONE)
    policy.nat = {
        "web": nat(4, 0, to_public(ONE, 6, 80, 80), ports=(8080, 8080), target=B),
        "range": nat(5, 0, to_public(ONE, 17, 7000, 7009), ports=(9000, 9009), target=B),
        "snat": nat(9, 1, source("192.168.0.0", 16), ONE),
    }
    world.commit()
    return world


@pytest.mark.parametrize("caller", [A, B], ids=["another", "to oneself"])
def test_between_two_behind_one_address(one_address, caller):
    """RFC 4787 REQ-9a: "A NAT hairpinning behavior MUST be 'External source IP address and port'":
    also when both ends have the same one."""
    packet = tcp("S", caller.address, ONE.elastic, dport=80)
    there, back = call(one_address, caller, packet, B)
    assert flow(there)[0] == ONE.elastic
    assert there.ip.sport not in (80, 1000)
    assert flow(back) == (ONE.elastic, caller.address, 80, 1000)
    packet = udp(caller.address, ONE.elastic, dport=7003)
    there, back = call(one_address, caller, packet, B)
    assert (flow(there)[0], there.ip.dport) == (ONE.elastic, 9003)
    assert flow(back) == (ONE.elastic, caller.address, 7003, 1000)
    assert one_address.drops() == {}


def test_an_error_between_two_behind_one_address(one_address):
    there = one(one_address.down(A, udp(dst=ONE.elastic, dport=7003)))
    told = one(one_address.down(B, complaint(there, B.address)))
    assert (told.ip.src, told.ip.dst) == (ONE.elastic, A.address)
    assert ports(inside(told)) == (1000, 7003)


def test_from_the_uplink_it_is_land(one_address):
    assert not one_address.up(udp(ONE.secondary, ONE.secondary, dport=7000))
    assert one_address.drops() == {"LAND": 1}


def test_one_that_would_land_outside_now_ends(one_address):
    """The address is its own no more where it was dialled: outwards it would go from it to it."""
    there, _ = call(one_address, A, udp(dst=ONE.elastic, dport=7003), B)
    assert there.ip.src == ONE.elastic
    policy = one_address.policy
    elsewhere = Public(ONE.index, "203.0.113.99", ONE.secondary)
    policy.publics = (*tuple(p for p in policy.publics if p != ONE), elsewhere)
    one_address.commit()
    assert one_address.dp.totals()["sessions_cut"] == 1
    assert not one_address.down(A, udp(dst=ONE.elastic, dport=7003))
    assert one_address.drops() == {"LAND": 1}


def test_an_address_that_becomes_ours_or_no_longer_is(world):
    """By what the commit says that it touches: also a session that another VRF has with it."""

    def commit() -> None:
        after = world.policy.tables()
        world.commit(touches(before, after))

    def leaves() -> str:
        return one(world.down(RED, udp(RED.address, mine.elastic))).role

    mine = Public(8, "198.51.100.200", "10.99.1.28")
    before = world.policy.tables()
    assert leaves() == "uplink"
    publics = world.policy.publics
    world.policy.publics = (*publics, mine)
    world.policy.nat["mine"] = nat(30, 0, to_public(mine), target=B)
    commit()
    assert leaves() == "downlink"
    before = world.policy.tables()
    del world.policy.nat["mine"]
    world.policy.publics = publics
    commit()
    assert leaves() == "uplink"
    assert world.drops() == {}
