"""The DHCP codec against scapy, both ways, and against everything that is no DHCP message."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scapy.layers.dhcp import BOOTP, DHCP

from pcg.wire import dhcp
from pcg.wire.dhcp import DhcpError

MAC = bytes.fromhex("060000000001")
GATEWAY = bytes([192, 168, 1, 1])
OPTION = dhcp.sub_options((dhcp.CIRCUIT, b"web/vm-1"), (dhcp.LINK, GATEWAY))
OURS = {dhcp.SERVER: dhcp.option(dhcp.SERVER, GATEWAY)}
PLAIN = [c for c in range(1, 255) if c not in (dhcp.OVERLOAD, dhcp.TYPE)]

addresses = st.binary(min_size=4, max_size=4)
values = st.binary(min_size=0, max_size=255)
option_lists = st.lists(st.tuples(st.sampled_from(PLAIN), values), max_size=12)
headers = st.fixed_dictionaries(
    {
        "op": st.integers(1, 2),
        "hops": st.integers(0, 254),
        "xid": st.integers(0, 2**32 - 1),
        "secs": st.integers(0, 65535),
        "flags": st.integers(0, 65535),
        **dict.fromkeys(("ciaddr", "yiaddr", "siaddr", "giaddr"), addresses),
        "sname": st.binary(max_size=64),
        "file": st.binary(max_size=128),
    }
)


def by_scapy(header, options, kind=1):
    """The message as scapy writes it; options as raw bytes, since it knows types of its own."""
    dotted = {k: ".".join(map(str, v)) if k.endswith("addr") else v for k, v in header.items()}
    raw = b"".join(bytes((code, len(value))) + value for code, value in options)
    bootp = BOOTP(chaddr=MAC + bytes(10), **dotted)
    return bytes(bootp / DHCP(options=[("message-type", kind)])) + raw + b"\xff"


def raw(*options, tail=b"\xff", kind=1, **header):
    return (
        by_scapy(header, ())[: dhcp.OPTIONS_AT]
        + b"".join(bytes((c, len(v))) + v for c, v in ((dhcp.TYPE, bytes([kind])), *options))
        + tail
    )


def joined(options):
    found = {}
    for code, value in options:
        found[code] = found.get(code, b"") + value
    return found


@given(headers, option_lists, st.integers(1, 8))
def test_reads_what_scapy_writes(header, options, kind):
    data = by_scapy(header, options, kind)
    m = dhcp.parse(data)
    for name in ("op", "hops", "xid", "secs", "flags", "ciaddr", "yiaddr", "siaddr", "giaddr"):
        assert getattr(m, name) == header[name]
    assert m.mac == MAC
    assert m.type == kind
    assert m.options == joined([(dhcp.TYPE, bytes([kind])), *options])
    assert data[m.end] == dhcp.END


@given(headers, option_lists)
def test_scapy_reads_what_goes_to_the_engine(header, options):
    options = [o for o in options if o[0] != dhcp.RELAY]
    data = by_scapy(header, options)
    out = dhcp.to_server(data, dhcp.parse(data), b"\x7f\0\0\1", OPTION)
    seen, before = BOOTP(out), BOOTP(data)
    assert (seen.hops, seen.giaddr) == (before.hops + 1, "127.0.0.1")
    same = ("op", "xid", "secs", "flags", "ciaddr", "yiaddr", "siaddr", "chaddr", "sname", "file")
    assert [getattr(seen, f) for f in same] == [getattr(before, f) for f in same]
    # RFC 3046 section 2.1: the last option before END
    assert out == data[:3] + out[3:4] + data[4:24] + out[24:28] + data[28:-1] + OPTION + b"\xff"
    assert dhcp.parse(out).options[dhcp.RELAY] == OPTION[2:]


@given(headers, option_lists, option_lists, addresses)
def test_what_the_client_gets_has_no_trace_of_the_relay(header, before, after, ciaddr):
    ours = (dhcp.RELAY, dhcp.SERVER, dhcp.LEASE_S)
    before, after = ([o for o in part if o[0] not in ours] for part in (before, after))
    marked = [(dhcp.SERVER, b"\x7f\0\0\1"), (dhcp.LEASE_S, b"abcd"), (dhcp.RELAY, OPTION[2:])]
    data = by_scapy(header, [*before, *marked, *after], dhcp.ACK)
    out = dhcp.to_client(data, dhcp.parse(data), ciaddr, 0x8000, OURS)
    m = dhcp.parse(out)
    assert (m.hops, m.giaddr, m.ciaddr, m.flags) == (0, bytes(4), ciaddr, 0x8000)
    assert m.options == joined(
        [(dhcp.TYPE, bytes([dhcp.ACK])), *before, (dhcp.SERVER, GATEWAY), *after]
    )
    assert out[28:240] == data[28:240]
    assert out[:3] == data[:3]
    assert out[16:24] == data[16:24]
    assert len(out) >= dhcp.BOOTP_MIN
    assert set(out[m.end + 1 :]) <= {0}


@given(st.binary(max_size=600))
@example(b"")
def test_any_bytes_are_a_message_or_a_dhcp_error(data):
    with_cookie = data[:236] + b"\x63\x82\x53\x63" + data[240:]
    ethernet = b"\1\1\6" + with_cookie[3:]
    for one in (data, with_cookie, ethernet):
        try:
            m = dhcp.parse(one)
        except DhcpError:
            continue
        assert dhcp.parse(dhcp.to_client(one, m, bytes(4), 0, OURS)).type == m.type


@given(headers, option_lists, st.data())
def test_cut_or_changed_anywhere_it_is_a_message_or_a_dhcp_error(header, options, data):
    whole = bytearray(by_scapy(header, options))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(whole[: data.draw(st.integers(0, len(whole)))])
    try:
        m = dhcp.parse(cut)
        dhcp.read_sub_options(m.options.get(dhcp.RELAY, b""))
    except DhcpError:
        return
    dhcp.to_server(cut, m._replace(hops=0), bytes(4), OPTION)


@given(st.binary(max_size=255))
def test_sub_options_are_read_or_a_dhcp_error(value):
    try:
        found = dhcp.read_sub_options(value)
    except DhcpError:
        return
    assert sum(2 + len(v) for v in found.values()) <= len(value)


LONG = bytes(range(256)) + b"tail"
OVERLOADED = raw((dhcp.OVERLOAD, b"\3"))
SNAME, FILE, REST = OVERLOADED[:44], OVERLOADED[:108], OVERLOADED[112:]
IN_FILE = b"\x0c\2hi" + b"\xff" + bytes(123)
IN_SNAME = b"\x0c\2!!" + b"\xff" + bytes(59)


def test_rfc3396_section_5_parts_of_an_option_are_one_in_order_of_the_fields():
    """RFC 3396 section 5."""
    first, rest = (121, LONG[:255]), (121, LONG[255:])
    assert dhcp.parse(raw(first, (3, GATEWAY), rest)).options[121] == LONG
    data = OVERLOADED[:44] + IN_SNAME + IN_FILE + OVERLOADED[236:-1] + b"\x0c\2oh\xff"
    assert dhcp.parse(data).options[dhcp.HOSTNAME] == b"ohhi!!"


def test_rfc2132_section_9_3_overload_names_the_fields_that_are_read():
    """RFC 2132 section 9.3."""
    filled = OVERLOADED[:44] + IN_SNAME + IN_FILE + OVERLOADED[236:]
    for which, name in ((b"\1", b"hi"), (b"\2", b"!!"), (b"\3", b"hi!!")):
        data = filled.replace(b"\x34\1\3", b"\x34\1" + which)
        assert dhcp.parse(data).options[dhcp.HOSTNAME] == name


def test_rfc2131_section_4_1_a_message_without_end_is_read_to_its_last_byte():
    """RFC 2131 section 4.1."""
    data = raw((dhcp.HOSTNAME, b"vm"), tail=b"")
    m = dhcp.parse(data)
    assert m.options[dhcp.HOSTNAME] == b"vm"
    assert m.end == len(data)
    assert dhcp.to_server(data, m, bytes(4), OPTION).endswith(b"vm" + OPTION + b"\xff")


def test_padding_between_options_is_no_option():
    m = dhcp.parse(raw((0, b""), (dhcp.HOSTNAME, b"vm")).replace(b"\0\0\x0c", b"\0\0\0\x0c"))
    assert m.options[dhcp.HOSTNAME] == b"vm"
    assert 0 not in m.options


# fmt: off
BAD = [
    # what                            bytes                                       reason
    ("nothing",                       b"",                                        "SHORT"),
    ("no room for a type",            raw()[:242],                                "SHORT"),
    ("wrong magic cookie",            raw().replace(b"\x63\x82\x53\x63", b"abcd"), "COOKIE"),
    ("no Ethernet",                   b"\1\6" + raw()[2:],                        "HARDWARE"),
    ("a longer hardware address",     b"\1\1\x10" + raw()[3:],                    "HARDWARE"),
    ("no type",                       raw()[:240] + b"\x0c\1a\xff",               "TYPE"),
    ("an empty type",                 raw()[:240] + b"\x35\0\x0c\1a\xff",         "TYPE"),
    ("two types",                     raw((dhcp.TYPE, b"\3")),                    "TYPE"),
    ("an option beyond the end",      raw(tail=b"\x0c\5vm"),                      "OPTION_OVERRUN"),
    ("an option without length",      raw(tail=b"\x0c"),                          "OPTION_OVERRUN"),
    ("overload of no field",          raw((dhcp.OVERLOAD, b"\0")),                "OVERLOAD"),
    ("overload of what there is not", raw((dhcp.OVERLOAD, b"\4")),                "OVERLOAD"),
    ("overload of two bytes",         raw((dhcp.OVERLOAD, b"\1\1")),              "OVERLOAD"),
    ("an overrun in sname",           SNAME + b"\x0c\xff" + OVERLOADED[46:], "OPTION_OVERRUN"),
    ("overload in file",              FILE + b"\x34\1\1\xff" + REST, "OVERLOAD"),
    ("option 82 in file",             FILE + b"\x52\0\xff\0" + REST, "OVERLOAD"),
]
# fmt: on


@pytest.mark.parametrize("what, data, reason", BAD, ids=[b[0] for b in BAD])
def test_is_no_message(what, data, reason):
    with pytest.raises(DhcpError) as told:
        dhcp.parse(data)
    assert told.value.reason == reason
