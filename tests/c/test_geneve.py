"""geneve.c: one row per rule of RFC 8926 that we enforce; no header may be read past its end."""

import pytest
from scapy.layers.inet import IP, UDP
from scapy.utils import rdpcap

from pcg.reconcile import records as r
from tests.c.places import DOWN_MAC, NET, TEP1, TRANSIT, WEB, A, B, Vm, ip, mac
from tests.c.test_drops import rebuilt
from tests.c.wire import OPTION, geneve
from tests.c.world import World, over
from tests.oracle import geneve as twin

STRANGER = "10.99.9.9"
INNER = IP(src=A.address, dst=NET) / UDP(sport=1, dport=2) / b"payload"
SKIPPED = bytes.fromhex("fff00101 deadbeef")  # class of an experiment, not critical, one word
CRITICAL = bytes.fromhex("fff08101 deadbeef")
NO_DATA, NO_DATA_CRITICAL = bytes.fromhex("fff00100"), bytes.fromhex("fff08100")
OURS_LONG, OURS_EMPTY = bytes.fromhex("01048002 0000000000000000"), bytes.fromhex("01048000")
OURS_RESERVED, TOO_LONG = b"\1\4\x80\xe1" + OPTION[4:], bytes.fromhex("fff00102 deadbeef")
NOT_CRITICAL_TWIN = bytes.fromhex("01040001 00000000")  # our class, type 0x00

RULES = [
    # rule, from, header, reason
    ("our option", TEP1, {}, None),
    ("no option at all", TEP1, {"options": b""}, None),
    ("optional options are skipped", TEP1, {"options": SKIPPED * 3}, None),
    ("in any order: before ours", TEP1, {"options": SKIPPED + OPTION}, None),
    ("in any order: behind ours", TEP1, {"options": OPTION + SKIPPED}, None),
    ("an option without data", TEP1, {"options": NO_DATA}, None),
    ("63 words of options", TEP1, {"options": NO_DATA * 63}, None),
    ("ours twice", TEP1, {"options": OPTION * 2}, None),
    ("reserved bits of flags ignored (3.4)", TEP1, {"flags": 0x7F}, None),
    ("last reserved byte ignored (3.4)", TEP1, {"reserved": 0xFF}, None),
    (
        "reserved bits of an option ignored (3.5)",
        TEP1,
        {"options": b"\1\4\x80\xe1" + OPTION[4:]},
        None,
    ),
    ("C bit without critical option", TEP1, {"flags": 0x40, "options": SKIPPED}, None),
    ("critical option without the C bit, ours", TEP1, {"flags": 0}, None),
    ("our class, another type, not critical", TEP1, {"options": NOT_CRITICAL_TWIN}, None),
    ("unknown critical option (3.5)", TEP1, {"options": CRITICAL}, "GENEVE_CRITICAL"),
    (
        "though the C bit says there is none",
        TEP1,
        {"options": CRITICAL, "flags": 0},
        "GENEVE_CRITICAL",
    ),
    ("behind ours", TEP1, {"options": OPTION + CRITICAL}, "GENEVE_CRITICAL"),
    ("behind an optional one", TEP1, {"options": SKIPPED + CRITICAL}, "GENEVE_CRITICAL"),
    ("critical without data", TEP1, {"options": NO_DATA_CRITICAL}, "GENEVE_CRITICAL"),
    ("ours of another length", TEP1, {"options": OURS_LONG}, "GENEVE_OPTION_BAD"),
    ("ours without data", TEP1, {"options": OURS_EMPTY}, "GENEVE_OPTION_BAD"),
    (
        "lengths do not add up: too long",
        TEP1,
        {"options": b"\xff\xf0\1\2beef"},
        "GENEVE_OPTION_BAD",
    ),
    (
        "lengths do not add up: the second",
        TEP1,
        {"options": SKIPPED + b"\xff\xf0\1\1"},
        "GENEVE_OPTION_BAD",
    ),
    ("version 1 (3.4)", TEP1, {"ver": 1}, "GENEVE_VERSION"),
    ("version 3", TEP1, {"ver": 3}, "GENEVE_VERSION"),
    ("control packet is not forwarded (3.4)", TEP1, {"flags": 0x80}, "GENEVE_CONTROL"),
    ("control with the C bit", TEP1, {"flags": 0xC0}, "GENEVE_CONTROL"),
    ("only Ethernet inside", TEP1, {"proto": 0x86DD}, "GENEVE_PROTO"),
    ("a stranger, before any flag is believed", STRANGER, {"flags": 0x80}, "TEP_UNKNOWN"),
    ("a stranger with a critical option", STRANGER, {"options": CRITICAL}, "TEP_UNKNOWN"),
]


@pytest.mark.parametrize("rule, sender, header, reason", RULES, ids=[row[0] for row in RULES])
def test_rule(world, rule, sender, header, reason):
    """RFC 8926 section 3.4, RFC 8926 section 3.5."""
    sent = world.down(A, INNER, tep=sender, **header)
    assert world.drops() == ({reason: 1} if reason else {})
    if not reason:
        assert bytes(sent[0].ip[UDP].payload) == b"payload"


def test_the_outer_checksum_may_be_zero(world):
    """RFC 8926 section 4.3: over IPv4 it need not be there."""
    assert world.down(A, INNER, udp={"chksum": 0})


def test_outer_ip_options_are_skipped(world):
    assert world.down(A, INNER, outer={"options": [b"\1\1\1\0"]})


def test_ethernet_padding_is_no_payload(world):
    (sent,) = world.inject("downlink", over(A, INNER) + bytes(30))
    assert bytes(sent.ip[UDP].payload) == b"payload"


def test_cut_anywhere_is_counted_never_read_past(world):
    """The outer lengths are right for what is left, so that the Geneve parser itself is asked."""
    whole = over(A, INNER, options=SKIPPED + OPTION + NO_DATA)
    inner_at = whole.index(bytes(geneve(b"", TRANSIT, SKIPPED + OPTION + NO_DATA))) + 8 + 20
    for cut in range(42, inner_at):
        assert not world.inject("downlink", rebuilt(whole[:cut]))
    assert world.drops() == {"GENEVE_SHORT": inner_at - 42}


@pytest.mark.parametrize("words", range(64))
def test_any_claim_of_options_length(world, words):
    """RFC 8926 section 3.4: the header says `words`; 3 of options are there, then the frame."""
    options = SKIPPED + NO_DATA
    header = {"options": options, "words": words}
    frame = over(A, INNER, **header)
    expect = twin.read(frame[42:], {TRANSIT}).reason
    sent = world.inject("downlink", frame)
    if expect:
        assert world.drops() == {expect: 1}
    elif words == 3:
        assert sent
    else:
        assert sum(world.drops().values()) == 1  # the inner frame begins elsewhere


class TestOpenVswitch:
    """Frames that Open vSwitch 3.1 sent: see captures/README.md."""

    OVS = "10.99.3.12", "10.99.3.13"
    ONE = Vm("192.168.100.1", "0a:00:00:00:00:01", WEB, OVS[0])
    TWO = Vm("192.168.100.2", "0a:00:00:00:00:02", WEB, OVS[0])
    GATEWAY_MAC = "06:17:1e:00:00:02"  # what the captured pings' inner frames are addressed to

    def between(self, dp, name: str, vms: tuple[Vm, Vm], kind: int) -> World:
        """The receiving TEP and the receiver's MAC become the gateway's."""
        w = World(dp, program=False)
        seg = [s._replace(gateway_mac=mac(self.GATEWAY_MAC)) for s in w.policy.segments]
        vni = vms[1].vni
        w.policy.segments = [s._replace(kind=kind) if s.vni == vni else s for s in seg]
        tables = w.policy.tables()
        tables["local"] = [tables["local"][0]._replace(tep_be=ip(self.OVS[1]))]
        dp.put("teps", [r.Teps(ip(self.OVS[0]), mac(DOWN_MAC), 1, 1, 9001)])
        dp.put("ports", [vm.record for vm in vms])
        dp.commit(tables)
        return w

    @pytest.mark.parametrize(
        "name, vms, kind, ttl",
        [
            ("ovs-geneve", (ONE, TWO), 0, 64),
            ("ovs-routed-geneve", (A._replace(tep=OVS[0]), B._replace(tep=OVS[0])), 1, 63),
        ],
    )
    def test_is_understood_and_forwarded(self, dp, name, vms, kind, ttl, captures):
        w = self.between(dp, name, vms, kind)
        w.policy.routes = {k: v for k, v in w.policy.routes.items() if k in ("web", "app")}
        frames = [bytes(p) for p in rdpcap(str(captures / f"{name}.pcap"))][::2]
        sent = dp.inject("downlink", [mac(DOWN_MAC) + frame[6:] for frame in frames], w.now_ns)
        assert dp.drops() == {}
        assert [one.role for one in sent] == ["downlink"] * 2
        for one, captured in zip(sent, frames, strict=True):
            before, after = IP(captured[42 + 16 + 14 :]), IP(one.frame[42 + 16 + 14 :])
            assert (before.ttl, after.ttl) == (ttl, ttl - 1)
            assert (after.src, after.dst) == tuple(vm.address for vm in vms)
            assert bytes(after.payload) == bytes(before.payload)
