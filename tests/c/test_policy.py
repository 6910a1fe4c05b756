"""Commits and what they do to sessions that live: decided again, kept or ended."""

import pytest
from scapy.layers.inet import UDP

from pcg.model.errors import BackendError
from pcg.reconcile import records as r
from tests.c import wire
from tests.c.packets import answer, flow, one, ping, prohibited, tcp, udp
from tests.c.places import (
    APP,
    FEW,
    NET,
    OTHER_NET,
    POOL_A,
    POOL_B,
    RED,
    SERVER,
    TEP2,
    TEP_MAC,
    WEB,
    A,
    B,
    C,
    Public,
    R,
    ip,
    mac,
)
from tests.c.world import NAT, NEXTHOPS, World, nat, over, source, to_public


def connect(w: World):
    """An established TCP session of A with NET: its first packet as it left."""
    out = one(w.down(A, tcp("S")))
    w.up(answer(out, "SA", b""))
    w.down(A, tcp("A"))
    return out


def concerned(w: World, *touches: r.Touch) -> list[dict]:
    """The sessions that are decided again: their next hop is gone, so that they keep a mark."""
    w.dp.delete("nexthops", [row for row in NEXTHOPS if row.address_be == ip("10.99.1.1")])
    w.commit(list(touches))
    return [s for s in w.dp.sessions() if s["marked"]]


def goes_on(w: World, out) -> bool:
    """Data both ways by the same translation."""
    there, back = w.down(A, tcp("A")), w.up(answer(out, "A"))
    return bool(there and back) and flow(there[0]) == flow(out) and back[0].ip.dst == A.address


class TestMarks:
    def test_same_answer_keeps_the_session(self, world):
        out = connect(world)
        decisions = world.dp.totals()["decisions"]
        world.commit()
        assert world.dp.totals()["decisions"] == decisions + 1
        assert not world.dp.sessions()[0]["marked"]
        assert goes_on(world, out)
        assert world.dp.totals()["decisions"] == decisions + 1

    def test_the_source_is_checked_again_when_a_session_goes_on_as_another(self, world):
        """Its rule has another number now, and its port has moved to another segment."""
        world.down(A, udp(), vni=WEB)
        world.dp.put("ports", [A._replace(vni=APP).record])
        world.policy.firewall.append(r.Firewall(9, 0, 0, 2, 0, r.Match(), "allow"))
        world.commit()
        assert world.down(A, udp(), vni=WEB) == []
        assert world.drops() == {"SOURCE_SPOOFED": 1}
        assert world.down(A, udp(), vni=APP)
        assert world.dp.totals()["sessions_made"] == 2

    @pytest.mark.parametrize("first", ["out", "in"])
    def test_whichever_direction_comes_first(self, world, first):
        out = connect(world)
        world.commit()
        assert world.down(A, tcp("A")) if first == "out" else world.up(answer(out, "A"))
        assert goes_on(world, out)
        assert world.dp.totals()["sessions_made"] == 1

    def test_rules_that_do_not_concern_it(self, world):
        out = connect(world)
        world.policy.nat["more"] = nat(20, 0, to_public(SERVER, 6, 9999, 9999), target=C)
        world.policy.firewall.append(world.policy.firewall[0]._replace(id=9))
        del world.policy.nat["tiny"]
        world.commit()
        assert goes_on(world, out)

    def test_another_pool_ends_it(self, world):
        connect(world)
        world.policy.nat["snat"] = nat(9, 1, source("192.168.0.0", 16), FEW)
        world.commit()
        (said,) = world.down(A, tcp("A"))
        assert world.drops() == {"TCP_NO_SESSION": 1}  # and a RST, so that it connects anew
        assert said.ip.dst == A.address
        assert one(world.down(A, tcp("S"))).ip.src == FEW.secondary
        world.sweep()
        assert world.dp.totals()["sessions"] == world.dp.totals()["mappings"] == 1

    def test_a_pool_that_grows_keeps_it(self, world):
        out = connect(world)
        world.policy.nat["snat"] = nat(9, 1, source("192.168.0.0", 16), FEW, POOL_A, POOL_B)
        world.commit()
        assert goes_on(world, out)

    def test_rule_removed(self, world):
        out = connect(world)
        del world.policy.nat["snat"]
        world.commit()
        assert prohibited(world.down(A, tcp("A")))
        assert world.drops() == {"NO_NAT": 1}
        assert not world.up(answer(out, "A"))
        world.sweep()
        assert world.dp.totals()["sessions"] == world.dp.totals()["mappings"] == 0

    def test_rule_removed_also_for_who_came_in_by_the_mapping(self, world):
        out = one(world.down(A, udp()))
        seen = one(world.up(udp(NET, out.ip.src, sport=999, dport=out.ip.sport)))
        del world.policy.nat["snat"]
        world.commit()
        assert not world.up(udp(NET, out.ip.src, sport=999, dport=out.ip.sport))
        assert not world.up(udp(NET, out.ip.src, sport=998, dport=out.ip.sport))
        assert prohibited(world.down(A, answer(seen)))

    def test_public_address_given_to_another_vrf(self, world):
        """RED has A's very address: what was A's must not reach it."""
        out = one(world.down(A, udp()))
        old = next(p for p in (POOL_A, POOL_B) if p.secondary == out.ip.src)
        rest = [p for p in world.policy.publics if p != old]
        world.policy.publics = (*rest, Public(99, old.elastic, old.secondary, 1))
        world.policy.nat["snat"] = nat(9, 1, source("192.168.0.0", 16), FEW)
        world.commit()
        assert not world.up(answer(out))
        assert RED.address == A.address

    def test_firewall_now_denies(self, world):
        out = connect(world)
        deny = r.Firewall(5, 0, 1, 2, 0, r.Match(dst_be=ip(NET), dst_len=32), "no")
        world.policy.firewall.insert(0, deny)
        world.commit()
        assert not world.up(answer(out, "A"))
        assert not world.down(A, tcp("A"))
        assert world.drops() == {"NO_DNAT": 1, "FIREWALL_DENIED": 1}

    def test_firewall_now_denies_what_still_comes_in(self, world):
        """The peer's next packet must not open the flow again from its side."""
        out = one(world.down(A, udp()))
        deny = r.Firewall(5, 0, 1, 2, 0, r.Match(dst_be=ip(NET), dst_len=32), "no")
        world.policy.firewall.insert(0, deny)
        world.commit()
        assert not world.up(answer(out))
        assert not world.up(answer(out))
        assert not world.down(A, udp())

    def test_another_range_of_ports(self, world):
        out = one(world.down(A, udp()))
        world.policy.nat["snat"] = nat(9, 1, source("192.168.0.0", 16), POOL_A, ports=(600, 700))
        world.commit()
        assert 600 <= one(world.down(A, udp())).ip[UDP].sport <= 700
        assert not world.up(answer(out))

    def test_a_secondary_address_that_changes(self, world):
        world.down(A, udp())
        pools = [p._replace(secondary=f"10.99.1.{200 + p.index}") for p in world.policy.publics]
        world.policy.publics = tuple(pools)
        world.commit()
        assert one(world.down(A, udp())).ip.src in {"10.99.1.200", "10.99.1.201"}

    def test_dnat_to_another_workload(self, world):
        got = one(world.up(udp(NET, SERVER.secondary, dport=7000)))
        assert got.ip.dst == B.address
        world.policy.nat["range"] = world.policy.nat["range"]._replace(target_be=ip(R.address))
        world.commit()
        assert one(world.up(udp(NET, SERVER.secondary, dport=7000))).ip.dst == R.address

    def test_touches_mark_only_what_they_match(self, world):
        connect(world)
        world.down(B, udp(B.address))
        world.down(RED, udp(RED.address))
        marked = concerned(world, r.Touch(0, ip(B.address), bytes(4), 32, 0))
        assert len(marked) == 1
        assert marked[0]["protocol"] == "udp"
        assert marked[0]["vrf"] == 0

    @pytest.mark.parametrize(
        "touch",
        [
            r.Touch(0, ip("192.168.100.0"), bytes(4), 24, 0),  # as translated
            r.Touch(0, bytes(4), ip(SERVER.secondary), 0, 32),  # as it came
            r.Touch(0, ip("198.51.100.0"), bytes(4), 24, 0),  # by its initiator
            r.Touch(0, bytes(4), ip(NET), 0, 32),  # by where its replies go
        ],
        ids=["target", "public address", "initiator", "reply"],
    )
    def test_a_touch_matches_before_and_after_translation(self, world, touch):
        world.up(udp(NET, SERVER.secondary, dport=7000))
        assert len(concerned(world, touch)) == 1

    def test_who_was_let_in_stays(self, world):
        """A peer's own session goes on, and holds open what let it in, when the workload's ends."""
        out = one(world.down(A, udp()))
        inbound = udp(NET, out.ip.src, sport=4242, dport=out.ip.sport)
        assert world.up(inbound)
        no_dns = r.Match(protocol=17, dport_first=53, dport_last=53)
        world.policy.firewall.append(r.Firewall(9, 0, 2, 2, 0, no_dns, "no-dns"))
        world.commit()
        assert [s["fwd_from_uplink"] for s in world.dp.sessions()] == [True]
        assert world.up(inbound)
        assert world.up(udp(NET, out.ip.src, sport=4343, dport=out.ip.sport))
        world.sweep(after_s=301)
        assert not world.up(inbound)
        assert world.drops() == {"NO_DNAT": 1}

    def test_whose_session_ends_is_shut_out_at_once(self, world):
        """Not when the mapping ends, nor when housekeeping has taken the session apart."""
        out = one(world.down(A, udp()))
        assert world.down(A, udp(dst=OTHER_NET, dport=54))
        no_dns = r.Match(protocol=17, dport_first=53, dport_last=53)
        world.policy.firewall.append(r.Firewall(9, 0, 2, 2, 0, no_dns, "no-dns"))
        world.commit()
        for peer, comes in (NET, False), (OTHER_NET, True):
            packet = udp(peer, out.ip.src, sport=4343, dport=out.ip.sport)
            assert bool(world.up(packet)) == comes
        assert world.drops() == {"NAT_FILTERED": 1}


class TestNextHop:
    def moved(self, world) -> None:
        """The default route by another next hop; the old one is gone."""
        world.dp.put("nexthops", [r.Nexthops(ip("10.99.1.9"), mac("0e:00:00:00:00:01"), 1)])
        world.policy.routes["default"] = r.Routes(0, bytes(4), 0, 0, ip("10.99.1.9"), 0)

    def test_addresses_and_ports_are_kept(self, world):
        out = connect(world)
        self.moved(world)
        world.commit()
        assert goes_on(world, out)
        world.sweep()
        assert world.dp.totals()["sessions"] == 1
        (row,) = world.dp.sessions()
        assert row["timeout_s"] == 7440  # what it knew of its connection came along

    def test_also_when_the_old_one_goes_before_its_next_packet(self, world):
        out = connect(world)
        self.moved(world)
        world.commit()
        world.dp.delete("nexthops", [r.Nexthops(ip("10.99.1.1"), bytes(6), 0)])
        world.sweep()
        assert goes_on(world, out)

    def test_a_packet_by_a_next_hop_that_is_gone(self, world):
        connect(world)
        world.dp.delete("nexthops", [r.Nexthops(ip("10.99.1.1"), bytes(6), 0)])
        assert not world.down(A, tcp("A"))
        assert world.drops() == {"NEIGHBOUR_UNRESOLVED": 1}

    def test_another_one_does_not_take_its_place(self, world):
        """Sessions remember a slot: their packets would go to a stranger."""
        out = connect(world)
        ours = [row for row in NEXTHOPS if row.address_be == ip("10.99.1.1")]
        world.dp.delete("nexthops", ours)
        world.dp.put("nexthops", [r.Nexthops(ip("10.99.1.9"), mac("0e:00:00:00:00:77"), 1)])
        assert not world.down(A, tcp("A"))
        world.dp.put("nexthops", ours)
        assert goes_on(world, out)

    @pytest.mark.parametrize("opener", ["workload", "outside"])
    def test_missing_while_it_is_decided_again(self, world, opener):
        """That a next hop is not known yet is no answer: the session waits for one."""
        if opener == "workload":
            out = connect(world)
        else:
            got = one(world.up(tcp("S", NET, SERVER.secondary, sport=5, dport=80)))
            out = one(world.down(B, answer(got, "SA", b"")))
        ours = [row for row in NEXTHOPS if row.address_be == ip("10.99.1.1")]
        world.dp.delete("nexthops", ours)
        world.commit()
        again = (A, tcp("A")) if opener == "workload" else (B, answer(got, "A"))
        assert not world.down(*again)
        assert world.drops() == {"NEIGHBOUR_UNRESOLVED": 1}
        world.dp.put("nexthops", ours)
        assert flow(one(world.down(*again))) == flow(out)
        assert [s["marked"] for s in world.dp.sessions()] == [0]

    def test_its_mac_changes_under_the_session(self, world):
        connect(world)
        world.dp.put("nexthops", [r.Nexthops(ip("10.99.1.1"), mac("0e:00:00:00:00:77"), 1)])
        (sent,) = world.dp.inject("downlink", [over(A, tcp("A"))], world.now_ns)
        assert sent.frame[:6] == mac("0e:00:00:00:00:77")


class TestPorts:
    def test_moved_to_another_tep(self, world):
        """Its session continues; the old TEP may not speak for it any more."""
        out = connect(world)
        world.dp.put("ports", [A._replace(tep=TEP2).record])
        back = one(world.up(answer(out, "A")))
        assert (back.tep, back.ip.dst) == (TEP2, A.address)
        assert flow(one(world.down(A, tcp("A"), tep=TEP2))) == flow(out)
        assert not world.down(A, tcp("A"))
        assert world.drops() == {"SOURCE_SPOOFED": 1}
        assert world.dp.totals()["sessions_made"] == 1

    def test_its_mac_changes(self, world):
        connected = connect(world)
        world.dp.put("ports", [A._replace(mac="0a:00:00:00:00:77").record])
        (sent,) = world.dp.inject("uplink", [wire.plain(answer(connected, "A"))], world.now_ns)
        assert mac("0a:00:00:00:00:77") in sent.frame

    def test_its_teps_mac_changes(self, world):
        out = connect(world)
        changed = r.Teps(ip(A.tep), mac("06:00:00:00:00:77"), 1, 1, 9001)
        world.dp.put("teps", [changed])
        (sent,) = world.dp.inject("uplink", [wire.plain(answer(out, "A"))], world.now_ns)
        assert sent.frame[:6] == mac("06:00:00:00:00:77") != mac(TEP_MAC[A.tep])

    def test_its_tep_is_removed(self, world):
        out = connect(world)
        world.dp.delete("teps", [r.Teps(ip(A.tep), bytes(6), 0, 0, 0)])
        assert not world.up(answer(out, "A"))
        assert not world.down(A, tcp("A"))
        assert world.drops() == {"NEIGHBOUR_UNRESOLVED": 1, "TEP_UNKNOWN": 1}

    def test_removed(self, world):
        """Its sessions end with the next sweep, its mapping and port return."""
        connect(world)
        world.dp.delete("ports", [A.record])
        world.sweep()
        assert world.dp.totals()["sessions"] == world.dp.totals()["mappings"] == 0

    def test_its_slot_is_not_given_away_too_early(self, dp):
        """A session remembers a slot: another port in it would get the other's packets."""
        w = World(dp)
        limit = dp.totals()["ports_max"]
        rest = limit - dp.totals()["ports"]
        many = [C._replace(address=f"192.168.{i >> 8}.{i & 255}") for i in range(rest)]
        dp.put("ports", [vm.record for vm in many])
        out = one(w.down(A, udp()))
        dp.delete("ports", [A.record])
        new = C._replace(address="192.168.99.200").record
        assert not w.up(answer(out))
        for _ in range(3):  # the first may have begun before, the second beside a busy worker
            with pytest.raises(BackendError):
                dp.put("ports", [new])
            w.sweep()
        dp.put("ports", [new])
        assert not w.up(answer(out))

    def test_back_under_the_same_address(self, world):
        connect(world)
        world.dp.delete("ports", [A.record])
        world.dp.put("ports", [A.record])
        assert one(world.down(A, udp())).role == "uplink"


def matching(row, **given):
    return row._replace(match=row.match._replace(**given))


BAD = {
    "no such VRF": ("routes", lambda row: row._replace(vrf=7)),
    "prefix of 33 bits": ("routes", lambda row: row._replace(prefix_len=33)),
    "VNI twice": ("segments", lambda row: row._replace(vni=APP)),
    "unknown public": ("nat", lambda row: row._replace(action=1, n_pool=1, pool=(88,) * 16)),
    "empty pool": ("nat", lambda row: row._replace(action=1, n_pool=0)),
    "pool of 17": ("nat", lambda row: row._replace(action=1, n_pool=17)),
    "rule id 0": ("nat", lambda row: row._replace(id=0)),
    "unknown action": ("nat", lambda row: row._replace(action=5)),
    "drawn backwards": ("nat", lambda _: NAT["tiny"]._replace(port_first=9, port_last=8)),
    "DNAT to nobody": ("nat", lambda row: row._replace(action=0, n_targets=0)),
    "source of 33 bits": ("nat", lambda row: matching(row, src_len=33)),
    "destination of 33 bits": ("firewall", lambda row: matching(row, dst_len=33)),
    "ports backwards": ("firewall", lambda row: matching(row, dport_first=9, dport_last=8)),
    "firewall action": ("firewall", lambda row: row._replace(action=3)),
    "index too large": ("publics", lambda row: row._replace(index=65536)),
    "address twice": ("publics", lambda row: row._replace(secondary_be=ip(POOL_B.secondary))),
    "VRF twice": ("vrfs", lambda row: row._replace(index=1)),
    "VRF too large": ("vrfs", lambda row: row._replace(index=1 << 20)),
    "no ports to draw": ("local", lambda row: row._replace(port_first=9, port_last=8)),
    "port 0": ("local", lambda row: row._replace(port_first=0)),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_record_refuses_the_whole_commit(world, what):
    out = connect(world)
    before = {table: world.dp.read(table) for table in world.policy.tables()}
    totals = world.dp.totals()
    tables = world.policy.tables()
    table, spoil = BAD[what]
    tables[table] = [spoil(tables[table][0]), *tables[table][1:]]
    with pytest.raises(BackendError) as refused:
        world.dp.commit(tables, 99)
    assert str(refused.value)
    assert {t: world.dp.read(t) for t in before} == before
    assert world.dp.totals()["revision"] == totals["revision"] != 99
    assert goes_on(world, out)
    assert not world.dp.sessions()[0]["marked"]


@pytest.mark.parametrize("missing", ["local", "vrfs"])
def test_a_table_that_must_be_there(world, missing):
    tables = world.policy.tables()
    tables[missing] = []
    with pytest.raises(BackendError):
        world.dp.commit(tables)


def test_nothing_is_forwarded_before_the_first_commit(dp):
    w = World(dp, program=False)
    dp.put("ports", [vm.record for vm in (A, B)])
    assert not w.down(A, udp(dst=B.address))
    assert not w.up(ping(NET, SERVER.secondary))
    assert w.drops() == {"OUTER_NOT_TUNNEL": 1, "NOT_OWNED": 1}
