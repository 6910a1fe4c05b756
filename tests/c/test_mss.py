"""mss.c: what a SYN says its sender takes (RFC 9293 section 3.7.1), made to fit both sides; its
checksum is held by wire.py.
"""

import pytest
from scapy.layers.inet import IP, TCP
from scapy.packet import Raw

from pcg.reconcile import records as r
from tests.c.packets import tcp
from tests.c.places import NET, PLAIN, SERVER, THIN, A, B
from tests.c.world import over

UPLINK, THIN_IN, SEGMENT = 1500 - 40, 1450 - 40, 8943 - 40


def mss(sent) -> int | None:
    (seen,) = sent
    return dict(seen.ip[TCP].options).get("MSS")


def syn(mss_=8903, flags="S", before=(), after=(("SAckOK", b""),), **given):
    return tcp(flags, options=[*before, ("MSS", mss_), *after], **given)


class TestBothWays:
    def test_outwards(self, world):
        assert mss(world.down(A, syn())) == UPLINK

    def test_of_the_answer_too(self, world):
        (out,) = world.down(A, syn())
        back = syn(9000, "SA", src=NET, dst=out.ip.src, sport=80, dport=out.ip.sport)
        assert mss(world.up(back)) == UPLINK

    def test_inwards_and_its_answer(self, world):
        given = {"src": NET, "dst": SERVER.secondary, "dport": 80}
        (seen,) = world.up(syn(**given))
        assert mss([seen]) == UPLINK
        back = syn(9000, "SA", src=B.address, dst=NET, sport=8080, dport=1000)
        assert mss(world.down(B, back)) == UPLINK

    @pytest.mark.parametrize("frm, to", [(A, THIN), (THIN, A)], ids=["to thin", "from thin"])
    def test_between_segments_by_the_narrower_tunnel(self, world, frm, to):
        sent = world.down(frm, syn(src=frm.address, dst=to.address), options=b"")
        assert mss(sent) == THIN_IN

    def test_a_wide_way_takes_it_as_it_is(self, world):
        assert mss(world.down(A, syn(8800, dst=B.address))) == 8800
        assert mss(world.down(A, syn(9100, dst=B.address))) == SEGMENT

    def test_a_hairpin_fits_both_tunnels(self, world):
        given = {"dst": SERVER.elastic, "dport": 80}
        assert mss(world.down(A, syn(9100, **given))) == SEGMENT
        assert mss(world.down(THIN, syn(src=THIN.address, **given), options=b"")) == THIN_IN

    def test_without_a_session_too(self, world):
        """By a stateless rule, to and from a routed segment."""
        world.policy.firewall = [r.Firewall(1, 0, 0, 3, 0, r.Match(), "any", stateless=1)]
        world.commit()
        assert mss(world.up(syn(src=NET, dst=PLAIN.address))) == UPLINK
        assert mss(world.down(PLAIN, syn(9000, "SA", src=PLAIN.address))) == UPLINK
        assert world.dp.totals()["sessions"] == 0

    def test_by_a_tep_whose_mtu_shrank(self, world):
        (tep,) = [t for t in world.dp.read("teps") if t.address_be == A.record.tep_be]
        world.dp.put("teps", [tep._replace(mtu=1300)])
        assert mss(world.down(A, syn())) == 1300 - 58 - 40


class TestWhatIsThere:
    @pytest.mark.parametrize("value, then", [(0, 0), (536, 536), (1460, 1460), (1461, 1460)])
    def test_never_raised(self, world, value, then):
        assert mss(world.down(A, syn(value))) == then

    @pytest.mark.parametrize("nops", range(4))
    def test_wherever_it_stands(self, world, nops):
        """At an odd offset the checksum's bytes count the other way round."""
        before = [("NOP", None)] * nops
        assert mss(world.down(A, syn(before=before))) == UPLINK
        assert mss(world.down(A, syn(sport=7, before=[("WScale", 7), *before]))) == UPLINK

    def test_none_is_added(self, world):
        assert mss(world.down(A, tcp("S", options=[("SAckOK", b"")]))) is None
        assert mss(world.down(A, tcp("S", sport=7))) is None

    @pytest.mark.parametrize(
        "options",
        ["0204", "0201ffff", "02ffffff", "0203ffff", "00000000020423c7", "0800020423c7", "08"],
    )
    def test_malformed_options_are_left_alone(self, world, options):
        raw = bytes.fromhex(options)
        raw += bytes(-len(raw) % 4)
        words = 5 + len(raw) // 4
        packet = IP(src=A.address, dst=NET) / TCP(sport=9, dport=80, flags="S", dataofs=words)
        (seen,) = world.down(A, packet / Raw(raw))
        assert bytes(seen.ip)[40:] == raw

    def test_only_of_a_syn(self, world):
        world.down(A, syn())
        assert mss(world.down(A, syn(flags="A"))) == 8903

    def test_a_syn_with_data(self, world):
        (seen,) = world.down(A, syn() / Raw(b"hello"))
        assert (mss([seen]), bytes(seen.ip[Raw])) == (UPLINK, b"hello")

    def test_switched_off(self, world):
        world.policy.mss_clamp = 0
        world.commit()
        assert mss(world.down(A, syn())) == 8903

    def test_explain_says_it_too(self, world):
        _, out = world.dp.explain("downlink", over(A, syn()))
        assert dict(IP(out[14:])[TCP].options)["MSS"] == UPLINK
