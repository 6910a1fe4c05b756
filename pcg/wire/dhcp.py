"""DHCP messages as bytes: RFC 2131 and 2132, long options RFC 3396, relay agent option RFC 3046.

A relay passes on what it does not change. So a message is read once into its fields and options,
and what goes out is the bytes that came in with the few that differ spliced in. Malformed input
raises DhcpError and nothing else; its `reason` is the name under which it is counted.
"""

import struct
from collections.abc import Mapping
from typing import NamedTuple

from pcg.model.errors import ProtocolError
from pcg.wire import limits

REQUEST, REPLY = 1, 2  # op
ETHERNET, MAC_LEN = 1, 6  # htype, hlen
COOKIE = 0x63825363  # RFC 2131 section 3
BROADCAST = 0x8000  # of flags; RFC 2131 figure 2: the other bits must be ignored
DISCOVER, OFFER, REQUEST_TYPE, DECLINE, ACK, NAK, RELEASE, INFORM = range(1, 9)
TYPE_NAMES = {
    DISCOVER: "DISCOVER",
    OFFER: "OFFER",
    REQUEST_TYPE: "REQUEST",
    DECLINE: "DECLINE",
    ACK: "ACK",
    NAK: "NAK",
    RELEASE: "RELEASE",
    INFORM: "INFORM",
}
CLIENT_TYPES = frozenset((DISCOVER, REQUEST_TYPE, DECLINE, RELEASE, INFORM))
SERVER_TYPES = frozenset((OFFER, ACK, NAK))

# Options of which the relay knows something.
PAD, END = 0, 255
HOSTNAME, ASKED, LEASE_S, OVERLOAD, TYPE, SERVER, CLIENT_ID, RELAY = 12, 50, 51, 52, 53, 54, 61, 82
# Sub-options of RELAY: RFC 3046, 3527, 5107.
CIRCUIT, REMOTE, LINK, OVERRIDE = 1, 2, 5, 11
MARKED = frozenset((SERVER, RELAY, LEASE_S))

HEADER = struct.Struct("!BBBBIHH4s4s4s4s16s192xI")
SNAME, FILE = (44, 108), (108, 236)
OPTIONS_AT = HEADER.size  # 240
LENGTH_MIN = OPTIONS_AT + 3  # the shortest option 53
BOOTP_MIN = 300  # RFC 1542 section 2.1: what a client may rely on


class DhcpError(ProtocolError):
    """Bytes that are no DHCP message. `reason` is short and fixed, for counters."""

    def __init__(self, reason: str, text: str) -> None:
        self.reason = reason
        super().__init__(text)


class Span(NamedTuple):
    code: int
    start: int
    stop: int


class Message(NamedTuple):
    op: int
    htype: int
    hlen: int
    hops: int
    xid: int
    secs: int
    flags: int
    ciaddr: bytes
    yiaddr: bytes
    siaddr: bytes
    giaddr: bytes
    chaddr: bytes  # all 16 bytes of the field
    cookie: int
    options: dict[int, bytes]  # parts of one option put together (RFC 3396 section 7)
    type: int  # of option 53
    end: int  # where END stands in the bytes, or would
    ours: tuple[Span, ...]  # where the options stand that a relay replaces or takes out

    @property
    def mac(self) -> bytes:
        return self.chaddr[:MAC_LEN]


def parse(data: bytes) -> Message:
    """A whole message. Raises DhcpError."""
    if len(data) < LENGTH_MIN:
        raise DhcpError("SHORT", f"{len(data)} bytes, a message has {LENGTH_MIN} or more")
    header = HEADER.unpack_from(data)
    if header[12] != COOKIE:
        raise DhcpError("COOKIE", f"magic cookie {header[12]:#010x}")
    if header[1] != ETHERNET or header[2] != MAC_LEN:
        raise DhcpError("HARDWARE", f"hardware type {header[1]} of {header[2]} bytes")
    options: dict[int, bytes] = {}
    end, ours = _walk(data, OPTIONS_AT, len(data), options)
    if OVERLOAD in options:
        _overload(data, options)
    kind = options.get(TYPE)
    if kind is None or len(kind) != 1:
        raise DhcpError("TYPE", "no DHCP message type" if kind is None else "more than one type")
    return Message(*header, options, kind[0], end, ours)


def _walk(data: bytes, at: int, stop: int, found: dict[int, bytes]) -> tuple[int, tuple[Span, ...]]:
    """Options of data[at:stop] into `found`; where they end, and where those of MARKED stand.

    A field without END ends with its last byte: senders owe it (RFC 2131 section 4.1), readers
    lose nothing by doing without.
    """
    ours = []
    while at < stop:
        code = data[at]
        if code == PAD:
            at += 1
            continue
        if code == END:
            return at, tuple(ours)
        value = at + 2
        if value > stop or (after := value + data[at + 1]) > stop:
            raise DhcpError("OPTION_OVERRUN", f"option {code} reaches beyond its field")
        if code in MARKED:
            ours.append(Span(code, at, after))
        found[code] = found[code] + data[value:after] if code in found else data[value:after]
        at = after
    return stop, tuple(ours)


def _overload(data: bytes, options: dict[int, bytes]) -> None:
    """Options in `file` and `sname`; RFC 3396 section 5: in this order after the others."""
    which = options[OVERLOAD]
    if len(which) != 1 or not 1 <= which[0] <= 3:
        raise DhcpError("OVERLOAD", f"option overload {which.hex()}")
    for bit, (start, stop) in ((1, FILE), (2, SNAME)):
        if which[0] & bit and _walk(data, start, stop, options)[1]:
            raise DhcpError("OVERLOAD", "an option of relay or server in an overloaded field")
    if options[OVERLOAD] is not which:
        raise DhcpError("OVERLOAD", "option overload in an overloaded field")


def option(code: int, value: bytes) -> bytes:
    """
    >>> option(54, bytes([10, 0, 0, 1])).hex()
    '36040a000001'
    """
    return bytes((code, len(value))) + value


# ---- what a client says of itself, for people: "" or nothing when it is not to be shown ----


def host_name(value: bytes) -> str:
    """Of option 12. RFC 2132 section 2: zeros at its end are no part of it.

    >>> host_name(b"joe\\0"), host_name(b"\\x1b[2J"), host_name(b"h" * 254)
    ('joe', '', '')
    """
    name = value.rstrip(b"\0")
    shown = len(name) <= limits.MAX_HOSTNAME and name.isascii() and name.decode().isprintable()
    return name.decode() if shown else ""


def client_id(value: bytes) -> bytes:
    """Of option 61; longer when a client says it in parts (RFC 3396)."""
    return value if len(value) <= limits.MAX_CLIENT_ID else b""


# ---- option 82 ----


def sub_options(*pairs: tuple[int, bytes]) -> bytes:
    """Option 82 whole: code, length, sub-options.

    >>> sub_options((1, b"web/vm-1"), (5, bytes([10, 0, 0, 1]))).hex()
    '521001087765622f766d2d3105040a000001'
    """
    return option(RELAY, b"".join(option(code, value) for code, value in pairs))


def read_sub_options(value: bytes) -> dict[int, bytes]:
    """Raises DhcpError. Of a sub-option that stands there twice the last."""
    found, at = {}, 0
    while at < len(value):
        start = at + 2
        if start > len(value) or (after := start + value[at + 1]) > len(value):
            raise DhcpError("OPTION_OVERRUN", f"relay sub-option {value[at]} is cut")
        found[value[at]] = value[start:after]
        at = after
    return found


# ---- what a relay changes ----


def to_server(data: bytes, message: Message, giaddr: bytes, option: bytes) -> bytes:
    """A client's message with one hop more, our address and option 82 as its last option
    (RFC 1542 section 4.1.1, RFC 3046 section 2.1).
    """
    hops = bytes((message.hops + 1,))
    parts = (data[:3], hops, data[4:24], giaddr, data[28 : message.end], option, b"\xff")
    return b"".join(parts)


def without_address(data: bytes) -> bytes:
    """The same with ciaddr zero."""
    return data[:12] + bytes(4) + data[16:]


def to_client(
    data: bytes, message: Message, ciaddr: bytes, flags: int, ours: Mapping[int, bytes]
) -> bytes:
    """A server's message as the client shall see it: from the server that it can reach, ours.

    Table 3 of RFC 2131: hops are 0, giaddr and flags those of the client's own message. Never
    shorter than BOOTP_MIN.

    ours    what stands in place of options of MARKED, whole; one that is not here goes
            (RFC 3046 section 2.1 for option 82, RFC 5107 section 4 for 54)
    """
    parts = [data[:3], b"\0", data[4:10], flags.to_bytes(2, "big"), ciaddr, data[16:24], bytes(4)]
    at = 28
    for code, start, stop in message.ours:
        parts.append(data[at:start])
        if code in ours:
            parts.append(ours[code])
        at = stop
    parts += (data[at : message.end], b"\xff")
    return b"".join(parts).ljust(BOOTP_MIN, b"\0")
