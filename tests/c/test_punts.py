"""punt.c, send.c: what lies between the path and the gateway's relay. Nothing is lost unsaid."""

import pytest
from scapy.layers.dhcp import BOOTP
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw

from pcg.datapath import pack
from pcg.datapath.parcels import Answer, Punt, joined, split
from pcg.model.errors import BackendError
from tests.c import dhcp
from tests.c.conftest import assert_accounted
from tests.c.dhcp import ALL_MACS, GATEWAY_MAC, answer, ask, asked
from tests.c.places import LOST, NEWCOMER, TEP1, TEP2, THIN, WEB, A, C, ip, mac
from tests.c.world import World

GONE = NEWCOMER._replace(mac="0a:00:00:00:99:cc")
FREE = {"dhcp_each": 1_000_000, "dhcp_all": 1_000_000}


@pytest.fixture
def served(world) -> World:
    world.policy.quota = FREE
    return dhcp.serve(world)


@pytest.fixture
def relay(served) -> dhcp.Relay:
    return dhcp.Relay(served.dp)


def numbers(punts: list[Punt]) -> list[int]:
    return [BOOTP(punt.frame[42:]).xid for punt in punts]


def say(world: World, *xids: int) -> None:
    world.inject("downlink", *[asked(packet=ask(xid=xid)) for xid in xids])
    world.now_s += 0.01


def raw(frame: bytes, vm=NEWCOMER) -> Answer:
    return Answer(vm.vni, mac(vm.mac), frame)


class TestParcels:
    def test_there_and_back(self):
        rows = [Punt(7, b"abcdef", b"wxyz", 1.5, bytes(n)) for n in (0, 1, 7, 8, 9, 9216)]
        assert split(joined(rows)) == rows

    @pytest.mark.parametrize("cut", [1, 8, 23, 24, 31])
    def test_cut_short(self, cut):
        data = joined([Punt(7, b"abcdef", b"wxyz", 1.5, bytes(9))])
        with pytest.raises(ValueError, match="parcel|frame"):
            split(data[:cut])


class TestToTheRelay:
    def test_given_again_until_it_has_gone_on(self, served, relay):
        say(served, 1, 2)
        assert numbers(relay.read()) == [1, 2]
        say(served, 3)
        assert numbers(relay.read(gone=False)) == [1, 2, 3]
        assert numbers(relay.read(gone=True)) == []

    def test_as_many_as_there_is_room_for(self, served):
        small = dhcp.Relay(served.dp, room=700)
        say(served, *range(5))
        assert [numbers(small.read()) for _ in range(4)] == [[0, 1], [2, 3], [4], []]

    def test_what_went_on_leaves_room_for_more(self, served, relay):
        frame = asked(packet=ask() / Raw(bytes(8800)))
        for _ in range(3 * (4 << 20) // 9100):
            served.inject("downlink", frame)
            served.now_s += 0.01
            assert len(relay.read()) == 1
        assert served.drops() == {}

    def test_nobody_any_more(self, served, relay):
        """What he was given and did not say that he has is dropped with the rest."""
        say(served, 1, 2)
        assert numbers(relay.read()) == [1, 2]
        say(served, 3)
        before = served.dp.totals()["punt"]
        served.dp.punts_close(gone=False)
        assert served.drops() == {"PUNT_NOBODY": 3}
        assert served.dp.totals()["punt"] == before - 3
        (row,) = served.dp.ledger()
        assert (row["vni"], row["outer_src"], row["sport"], row["dport"]) == (WEB, TEP1, 68, 67)
        assert_accounted(served.dp)

    def test_nobody_but_he_had_them(self, served, relay):
        say(served, 1)
        assert numbers(relay.read()) == [1]
        served.dp.punts_close(gone=True)
        assert served.drops() == {}

    def test_another_one(self, served, relay):
        served.dp.punts_close()
        say(served, 1)
        assert numbers(dhcp.Relay(served.dp).read()) == []
        say(served, 2)
        assert numbers(relay.read()) == [2]
        assert served.drops() == {"PUNT_NOBODY": 1}


class TestToWorkloads:
    def test_by_its_mac_and_to_all(self, served, relay):
        relay.send(answer(), answer(eth_dst=ALL_MACS, dst="255.255.255.255"))
        one, all_of_them = served.inject("downlink")
        assert (one.vni, one.tep, one.eth.dst, one.eth.src) == (
            WEB, TEP1, NEWCOMER.mac, GATEWAY_MAC,
        )  # fmt: skip
        assert (all_of_them.eth.dst, all_of_them.ip.dst) == (ALL_MACS, "255.255.255.255")
        assert bytes(one.eth) == answer().frame
        totals = served.dp.totals()
        assert (totals["made"], totals["tx"]) == (2, 2)
        (row,) = [row for row in served.dp.counters("segments") if row["id"] == WEB]
        assert (row["out_packets"], row["out_bytes"]) == (2, 2 * len(one.ip))

    def test_to_where_it_is_now(self, served, relay):
        served.dp.put("clients", [dhcp.client(NEWCOMER._replace(tep=TEP2))])
        relay.send(answer())
        assert served.inject("downlink")[0].tep == TEP2

    def test_from_whom_the_relay_says(self, served, relay):
        frame = Ether(answer().frame)
        frame.src = "02:11:22:33:44:55"
        relay.send(raw(bytes(frame)))
        (sent,) = served.dp.inject("downlink", [])
        assert bytes(frame)[:14] in sent.frame

    @pytest.mark.parametrize(
        "what, one, reason",
        [
            ("a client that is gone", answer(GONE), "PORT_UNKNOWN"),
            ("a TEP without a MAC", answer(LOST), "NEIGHBOUR_UNRESOLVED"),
            ("ARP", raw(bytes(Ether() / ARP())), "ETHERTYPE"),
            ("no IP header", raw(bytes(33)), "FRAME_SHORT"),
            ("IP longer than the frame", raw(bytes(Ether() / IP(len=21))), "IP_BAD"),
            ("IP with options", raw(bytes(Ether() / IP(options=b"\1\1\1\0"))), "IP_BAD"),
            (
                "too long, DF",
                raw(bytes(Ether() / IP(flags="DF") / bytes(1500)), THIN),
                "TOO_BIG",
            ),
        ],
    )
    def test_what_cannot_leave_is_counted(self, served, relay, what, one, reason):
        relay.send(one)
        assert served.inject("downlink") == []
        assert served.drops() == {reason: 1}
        assert served.dp.totals()["made"] == 1

    def test_longer_than_its_way_leaves_in_pieces(self, served, relay):
        packet = Ether(src=GATEWAY_MAC, dst=THIN.mac) / IP(dst=THIN.address) / UDP() / bytes(2000)
        relay.send(raw(bytes(packet), THIN))
        sent = served.inject("downlink")
        assert [len(one.ip) <= 1450 for one in sent] == [True, True]

    def test_checksums_of_the_tunnel_hold_whatever_is_inside(self, served, relay):
        """`served.inject` reads the tunnel's own; what is in it is the relay's matter."""
        packet = Ether(src=GATEWAY_MAC, dst=A.mac) / IP(dst=A.address) / UDP(chksum=0) / b"odd"
        relay.send(raw(bytes(packet), A))
        assert len(served.inject("downlink")) == 1

    def test_no_more_than_there_is_room_for(self, served, relay):
        """The rest may come again once these have left."""
        parcels = joined([answer(xid=n) for n in range(3000)])
        taken = served.dp.send_raw(parcels)
        assert 0 < taken < len(parcels)
        assert served.dp.send_raw(parcels[taken:]) == 0
        while taken < len(parcels):
            served.dp.inject("downlink", [])
            taken += served.dp.send_raw(parcels[taken:])
        (*_, last) = served.dp.inject("downlink", [])
        assert BOOTP(last.frame[-len(answer().frame) + 42 :]).xid > 2000
        totals = served.dp.totals()
        assert totals["made"] == totals["tx"] == 3000

    @pytest.mark.parametrize("cut", [1, 23, 40])
    def test_no_parcels_at_all(self, served, relay, cut):
        """Those before are sent, and what is wrong is said when its turn comes."""
        whole = joined([answer()])
        assert served.dp.send_raw(whole + whole[:cut]) == len(whole)
        with pytest.raises(BackendError):
            served.dp.send_raw(whole[:cut])
        assert len(served.inject("downlink")) == 1


class TestWatching:
    def test_explain(self, served, relay):
        told, out = served.dp.explain("downlink", asked())
        assert (told[-1]["stage"], told[-1]["verdict"]) == ("parse_inner", "punted")
        assert told[-1]["note"] == "DHCP, to the relay"
        assert (out, relay.read(), served.dp.totals()["rx"]) == (None, [], 0)

    def test_explain_while_nobody_reads(self, served):
        told, _ = served.dp.explain("downlink", asked())
        assert told[-1]["reason"] == "PUNT_NOBODY"

    def test_explain_pays_no_rate(self, served, relay):
        served.policy.quota = {"dhcp_each": 1, "dhcp_all": 1}
        served.commit()
        for _ in range(5):
            assert served.dp.explain("downlink", asked())[0][-1]["verdict"] == "punted"
        served.inject("downlink", asked())
        assert served.drops() == {}

    def test_trace_of_both_ways(self, served, relay):
        served.dp.trace_start(10)
        say(served, 1)
        relay.send(answer())
        served.inject("downlink")
        there = [e for e in served.dp.trace_read() if e["packet"] == 0]
        assert [e["stage"] for e in there] == ["parse_outer", "geneve_decap", "parse_inner"]
        assert there[-1]["verdict"] == "punted"

    def test_trace_of_an_answer(self, served, relay):
        wanted = pack.TraceFilter(address_be=ip("192.168.99.200"))
        served.dp.trace_start(1, wanted)
        relay.send(answer(C, dst="192.168.99.9"), answer())
        served.inject("downlink")
        (event,) = served.dp.trace_read()
        assert (event["verdict"], event["stage"], event["next"]) == ("sent", "egress", TEP1)
        assert event["note"] == f"from the relay; Geneve, VNI {WEB}"
        assert (event["sport"], event["dport"], event["nic_out"]) == (67, 68, "downlink")

    def test_capture_of_both_ways(self, served, relay):
        served.dp.capture_start(pack.CaptureWanted(inner=1))
        say(served, 1)
        relay.send(answer())
        (sent,) = served.inject("downlink")
        there, back = served.dp.capture_read()
        assert (there.verdict, there.incoming, there.stage) == ("punted", True, "parse_inner")
        assert there.frame == asked(packet=ask(xid=1))
        assert (back.verdict, back.incoming, back.made) == ("sent", False, True)
        assert back.frame == sent.frame
