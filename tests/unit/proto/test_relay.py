"""The relay's decisions, by the sections that ask for them: RFC 1542, 2131, 3046, 3527, 5107."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcg.proto import relay, relay_words
from pcg.proto.relay import RefusedError
from pcg.wire import dhcp, udp
from tests.unit.proto.dhcp_world import (
    GATEWAY,
    GATEWAY_MAC,
    GIADDR,
    LEASED,
    MAC,
    ONES,
    OTHER_MAC,
    SITE,
    XID,
    ZERO,
    client,
    frame,
    message,
    replied,
    seen,
)

BROADCAST_MAC = b"\xff" * 6


def asked(payload, to=None, **more) -> dhcp.Message:
    """What the engine gets."""
    return dhcp.parse(relay.request(to or client(), frame(payload, **more), GIADDR, 0.0).data)


def answered(data, to) -> tuple[udp.Datagram, dhcp.Message]:
    """What the client gets."""
    return seen(relay.frame(relay.reply(data, {to.circuit: to})))


def where(datagram) -> tuple[bytes, bytes]:
    return datagram.dst_mac, datagram.dst


# ---- towards the engine ----


def test_rfc1542_4_1_1_one_hop_more_and_our_address_as_giaddr():
    """RFC 1542 section 4.1.1."""
    m = asked(message("discover", hops=2))
    assert (m.hops, m.giaddr) == (3, GIADDR)


@pytest.mark.parametrize(
    "hops, passes", [(0, True), (4, True), (5, False), (16, False), (255, False)]
)
def test_rfc1542_4_1_1_what_went_through_too_many_relays_is_discarded(hops, passes):
    """RFC 1542 section 4.1.1."""
    if passes:
        assert asked(message("discover", hops=hops)).hops == hops + 1
    else:
        with pytest.raises(RefusedError, match="HOPS"):
            asked(message("discover", hops=hops))


def test_rfc1542_4_1_1_nothing_else_of_the_message_is_changed():
    """RFC 1542 section 4.1.1."""
    options = (
        ("client_id", b"\1abc"),
        ("param_req_list", [1, 3, 121]),
        ("requested_addr", "10.0.0.9"),
    )
    before = dhcp.parse(message("request", *options, secs=7, flags=0x8000, ciaddr=LEASED))
    m = asked(message("request", *options, secs=7, flags=0x8000, ciaddr=LEASED))
    assert m[4:11] == (*before[4:10], GIADDR)
    assert m.chaddr == before.chaddr
    assert {k: v for k, v in m.options.items() if k != dhcp.RELAY} == before.options


def test_rfc3046_3_1_circuit_id_is_segment_and_port_and_remote_id_the_instance():
    """RFC 3046 section 3.1."""
    m = asked(message("discover"), client(instance="i-0abc"))
    found = dhcp.read_sub_options(m.options[dhcp.RELAY])
    assert (found[dhcp.CIRCUIT], found[dhcp.REMOTE]) == (b"web/vm-1", b"i-0abc")
    m = asked(message("discover"))
    assert dhcp.read_sub_options(m.options[dhcp.RELAY])[dhcp.REMOTE] == b"vm-1"


def test_rfc3527_and_rfc5107_link_and_server_are_the_segments_gateway():
    """RFC 3527; RFC 5107."""
    found = dhcp.read_sub_options(asked(message("discover")).options[dhcp.RELAY])
    assert found[dhcp.LINK] == found[dhcp.OVERRIDE] == GATEWAY


def test_the_longest_names_fit_option_82():
    longest = client("p" * 47, instance="i" * 255, site=SITE._replace(segment="s" * 47))
    m = asked(message("discover"), longest)
    found = dhcp.read_sub_options(m.options[dhcp.RELAY])
    assert found[dhcp.CIRCUIT] == b"s" * 47 + b"/" + b"p" * 47
    assert len(found[dhcp.REMOTE]) == 100


def test_rfc2131_4_4_5_a_renewal_is_unicast_to_us_and_passes_with_its_address():
    """RFC 2131 section 4.4.5."""
    m = asked(message("request", ciaddr=LEASED), src=LEASED, dst=GATEWAY)
    assert (m.ciaddr, m.giaddr) == (LEASED, GIADDR)


def test_rfc2131_4_3_5_an_inform_reaches_the_engine_without_its_address():
    """RFC 2131 section 4.3.5: though Kea answers there itself, into a net this host is not in."""
    assert asked(message("inform", ciaddr=LEASED), src=LEASED).ciaddr == ZERO


# fmt: off
CODED = message("discover")
LONG = (b"\xe0\xff" + bytes(255)) * 5
ELSE = message("request", ("server_id", "10.9.9.9"))
BAD = [
    # what                                 payload                                      reason
    ("spoofed hardware address",           message("discover", mac=OTHER_MAC), "CHADDR"),
    ("from another relay",                 message("discover", giaddr=LEASED), "RELAYED"),
    ("with option 82: RFC 3046 2.1",       message("discover", tail=b"\x52\2\1\0"), "OPTION_82"),
    ("a server's op",                      message("discover", op=2), "NOT_A_CLIENT"),
    ("an offer",                           message("offer"), "NOT_A_CLIENT"),
    ("an ack",                             message("ack"), "NOT_A_CLIENT"),
    ("a lease query",                      message(10), "NOT_A_CLIENT"),
    ("to another server, 4.3.2",           ELSE, "OTHER_SERVER"),
    ("longer than the engine reads",       message("discover", tail=LONG), "OVERSIZED"),
    ("cut in an option",                   CODED[:-1] + b"\x0c\x30vm", "OPTION_OVERRUN"),
    ("wrong cookie",                       CODED[:236] + b"\0\0\0\0" + CODED[240:], "COOKIE"),
    ("plain BOOTP",                        CODED[:240] + b"\xff" + bytes(60), "TYPE"),
    ("nothing",                            b"", "SHORT"),
]
# fmt: on


@pytest.mark.parametrize("what, payload, reason", BAD, ids=[b[0] for b in BAD])
def test_is_refused(what, payload, reason):
    with pytest.raises(RefusedError) as told:
        asked(payload)
    assert told.value.reason == reason
    assert reason in relay_words.WORDS


def test_what_is_no_udp_to_the_server_port_is_refused():
    for broken in (frame(CODED)[:40], frame(CODED, dport=68), b""):
        with pytest.raises(RefusedError, match="FRAME"):
            relay.request(client(), broken, GIADDR, 0.0)


@given(st.binary(max_size=400), st.booleans())
def test_any_bytes_of_a_client_are_passed_on_or_refused_with_a_known_reason(data, framed):
    try:
        relay.request(client(), frame(data) if framed else data, GIADDR, 0.0)
    except RefusedError as e:
        relay_words.WORDS[e.reason]


# ---- towards the client ----


@pytest.mark.parametrize("kind", ["offer", "ack"])
def test_rfc2131_4_1_without_broadcast_flag_unicast_to_chaddr_and_yiaddr(kind):
    """RFC 2131 section 4.1."""
    one = client()
    datagram, m = answered(replied(kind, to=one), one)
    assert where(datagram) == (MAC, LEASED)
    assert m.yiaddr == LEASED


@pytest.mark.parametrize("kind", ["offer", "ack"])
def test_rfc2131_4_1_with_broadcast_flag_broadcast(kind):
    """RFC 2131 section 4.1."""
    one = client()
    datagram, m = answered(replied(kind, to=one, flags=0x8000), one)
    assert where(datagram) == (BROADCAST_MAC, ONES)
    assert m.flags == 0x8000


def test_rfc2131_4_1_with_ciaddr_unicast_there_whatever_the_flag():
    """RFC 2131 section 4.1."""
    one = client()
    for flags in (0, 0x8000):
        datagram, _ = answered(replied("ack", to=one, ciaddr=LEASED, flags=flags), one)
        assert where(datagram) == (MAC, LEASED)


@pytest.mark.parametrize("header", [{}, {"ciaddr": LEASED}, {"flags": 0}])
def test_rfc2131_4_1_and_4_3_2_a_nak_is_broadcast_in_every_case(header):
    """RFC 2131 section 4.1, section 4.3.2."""
    one = client()
    datagram, _ = answered(replied("nak", to=one, **{"yiaddr": ZERO} | header), one)
    assert where(datagram) == (BROADCAST_MAC, ONES)


def test_rfc2131_4_3_5_the_ack_of_an_inform_is_unicast_to_its_ciaddr():
    """RFC 2131 section 4.3.5."""
    one = client()
    relay.request(one, frame(message("inform", ciaddr=LEASED), src=LEASED), GIADDR, 0.0)
    # Kea sets the broadcast flag where it does not know the address.
    datagram, m = answered(replied("ack", to=one, yiaddr=ZERO, flags=0x8000), one)
    assert where(datagram) == (MAC, LEASED)
    assert (m.ciaddr, m.flags, m.yiaddr) == (LEASED, 0, ZERO)


def test_the_ack_of_an_inform_without_address_is_broadcast():
    one = client()
    relay.request(one, frame(message("inform")), GIADDR, 0.0)
    assert where(answered(replied("ack", to=one, yiaddr=ZERO), one)[0]) == (BROADCAST_MAC, ONES)


def test_what_an_inform_said_is_not_put_into_the_reply_to_another_message():
    one = client()
    relay.request(one, frame(message("inform", ciaddr=b"\x0a\0\0\1")), GIADDR, 0.0)
    datagram, m = answered(replied("ack", to=one, xid=XID + 1), one)
    assert where(datagram) == (MAC, LEASED)
    assert m.ciaddr == ZERO


@pytest.mark.parametrize("kind", ["offer", "ack", "nak"])
def test_rfc2131_table_3_fields_of_a_reply(kind):
    """RFC 2131 table 3."""
    one = client()
    datagram, m = answered(replied(kind, to=one, secs=9), one)
    assert (m.op, m.htype, m.hlen, m.hops, m.xid) == (2, 1, 6, 0, XID)
    assert (m.giaddr, m.mac) == (ZERO, MAC)
    assert m.options[dhcp.SERVER] == GATEWAY  # RFC 5107 section 4: renewals come to us
    assert dhcp.RELAY not in m.options  # RFC 3046 section 2.2
    assert (datagram.src_mac, datagram.src) == (GATEWAY_MAC, GATEWAY)
    assert (datagram.sport, datagram.dport) == (67, 68)


def test_rfc2131_4_4_5_the_ack_of_a_rebinding_client_goes_to_its_address():
    """RFC 2131 section 4.4.5."""
    one = client()
    relay.request(one, frame(message("request", ciaddr=LEASED), src=LEASED), GIADDR, 0.0)
    assert where(answered(replied("ack", to=one, ciaddr=LEASED), one)[0]) == (MAC, LEASED)


def test_a_lease_is_told_no_longer_than_the_scope_says():
    one = client(site=SITE._replace(lease_s=600))
    for kind in ("offer", "ack"):
        for said, told in ((300, 300), (600, 600), (0xFFFFFFFF, 600)):
            reply = relay.reply(replied(kind, ("lease_time", said), to=one), {one.circuit: one})
            assert reply.lease_s == told
            options = seen(relay.frame(reply))[1].options
            assert int.from_bytes(options[dhcp.LEASE_S], "big") == told


def test_a_reply_without_a_lease_time_gets_none():
    one = client()
    assert dhcp.LEASE_S not in answered(replied("nak", to=one), one)[1].options


def test_rfc2131_4_3_3_a_port_that_declines_and_declines_does_not_empty_the_pool():
    """RFC 2131 section 4.3.3."""
    one, other = client(), client("vm-2", OTHER_MAC)
    payload = message("decline", ("requested_addr", "192.168.1.100"))
    for now, passes in ((0.0, True), (9.9, False), (10.0, True), (11.0, False)):
        if passes:
            relay.request(one, frame(payload), GIADDR, now)
        else:
            with pytest.raises(RefusedError, match="DECLINE_RATE"):
                relay.request(one, frame(payload), GIADDR, now)
    theirs = message("decline", ("requested_addr", "192.168.1.101"), mac=OTHER_MAC)
    relay.request(other, frame(theirs), GIADDR, 11.0)


def test_rfc1542_2_1_no_reply_is_shorter_than_300_bytes():
    """RFC 1542 section 2.1."""
    one = client()
    datagram, _ = answered(replied("nak", to=one), one)
    assert len(datagram.payload) == 300


def test_a_reply_that_does_not_fit_the_segment_is_refused():
    one = client(site=SITE._replace(mtu=576))
    assert answered(replied("ack", to=one), one)
    long = replied("ack", ("vendor_specific", bytes(250)), (224, b"x" * 100), to=one)
    with pytest.raises(RefusedError, match="REPLY_TOO_BIG"):
        answered(long, one)


# fmt: off
STRAYS = [
    # what                               bytes of an engine, for vm-1
    ("a request",                        lambda one: message("discover", tail=one.option)),
    ("without option 82",                lambda one: message("ack", op=2, yiaddr=LEASED)),
    ("for a port we do not know",        lambda one: replied("ack", to=client("vm-9"))),
    ("for another hardware address",     lambda one: replied("ack", to=one, mac=OTHER_MAC)),
    ("cut",                              lambda one: replied("ack", to=one)[:250]),
    ("a cut option 82",                  lambda one: message("ack", op=2, tail=b"\x52\2\1\5")),
]
# fmt: on


@pytest.mark.parametrize("what, made", STRAYS, ids=[s[0] for s in STRAYS])
def test_a_reply_that_answers_nobody_is_refused(what, made):
    one = client()
    with pytest.raises(RefusedError, match="REPLY_BROKEN"):
        relay.reply(made(one), {one.circuit: one})


def test_every_reason_has_words():
    for reason, words in relay_words.WORDS.items():
        assert reason.replace("_", "").isalnum()
        assert words.means
        assert words.advice
