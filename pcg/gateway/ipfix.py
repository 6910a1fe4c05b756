"""IPFIX messages of a NAT log: RFC 7011, with the elements of RFC 8158. Pure: no clock, no I/O.

Written here because nothing maintained encodes them: `ipfix` of PyPI and Debian stands still since
2014, `netflow` only decodes, scapy (2.8.0) writes a message length that is two bytes short and
knows no texts of varying length. Two fixed templates need none of what libfixbuf offers. Tests
decode with Wireshark and scapy what is made here.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

VERSION, TEMPLATES = 10, 2  # section 3.1; set id of templates, section 3.3.2
HEADER, SET = struct.Struct("!HHIII"), struct.Struct("!HH")
TEXT = 65_535  # of varying length, section 7
TEXT_MAX = 100  # bytes: a record fits beside the templates into the smallest message
STARTED, ENDED = 256, 257  # template ids
# Section 8.4: templates come again, as any of them may get lost, or whoever had them begins anew
# without anybody refusing what came meanwhile. Until then nothing can be read: so not seldom.
RESEND_S = 60.0
RESEND_MESSAGES = 20

CREATE, DELETE = 4, 5  # natEvent: NAT44 session create, delete
PRIVATE, PUBLIC = 1, 2  # natOriginatingAddressRealm: which side opened it
IDLE, END_OF_FLOW, FORCED = 1, 3, 4  # flowEndReason


class Field(NamedTuple):
    """An information element of IANA's registry."""

    id: int
    length: int
    code: str  # of `struct`


BOTH = (
    Field(323, 8, "Q"),  # observationTimeMilliseconds: an end's is when it was noticed
    Field(152, 8, "Q"),  # flowStartMilliseconds
    Field(153, 8, "Q"),  # flowEndMilliseconds: its last packet so far
    Field(230, 1, "B"),  # natEvent
    Field(229, 1, "B"),  # natOriginatingAddressRealm
    Field(4, 1, "B"),  # protocolIdentifier
    Field(8, 4, "4s"),  # sourceIPv4Address: the workload's, whoever opened the session
    Field(7, 2, "H"),  # sourceTransportPort
    Field(225, 4, "4s"),  # postNATSourceIPv4Address: the public one
    Field(227, 2, "H"),  # postNAPTSourceTransportPort
    Field(12, 4, "4s"),  # destinationIPv4Address
    Field(11, 2, "H"),  # destinationTransportPort
)
OF_AN_END = (
    Field(136, 1, "B"),  # flowEndReason
    Field(161, 4, "I"),  # flowDurationMilliseconds
    Field(231, 8, "Q"),  # initiatorOctets
    Field(232, 8, "Q"),  # responderOctets
    Field(298, 8, "Q"),  # initiatorPackets
    Field(299, 8, "Q"),  # responderPackets
    # From source to destination, whoever opened it: what collectors look at that know no initiator
    Field(1, 8, "Q"),  # octetDeltaCount
    Field(2, 8, "Q"),  # packetDeltaCount
)
# No element is registered for the name of a NAT rule; a rule selects sessions as a selector does.
TEXTS = (Field(236, TEXT, ""), Field(335, TEXT, ""))  # VRFname, selectorName
LAYOUTS = {STARTED: (*BOTH, *TEXTS), ENDED: (*BOTH, *OF_AN_END, *TEXTS)}
CODECS = {id_: struct.Struct("!" + "".join(f.code for f in its)) for id_, its in LAYOUTS.items()}


class Record(NamedTuple):
    template: int
    data: bytes


def record(template: int, values: Sequence, texts: Iterable[str]) -> Record:
    """`values` and `texts` in the order of the template's fields."""
    data = CODECS[template].pack(*values)
    return Record(template, data + b"".join(_text(text) for text in texts))


def _text(text: str) -> bytes:
    data = text.encode()[:TEXT_MAX].decode(errors="ignore").encode()
    return bytes([len(data)]) + data


def _set(id_: int, body: bytes) -> bytes:
    return SET.pack(id_, SET.size + len(body)) + body


def templates() -> bytes:
    """The set that describes both."""
    made = [
        SET.pack(id_, len(fields)) + b"".join(SET.pack(f.id, f.length) for f in fields)
        for id_, fields in LAYOUTS.items()
    ]
    return _set(TEMPLATES, b"".join(made))


class Encoder:
    """One transport session: the sequence number counts the data records before a message."""

    def __init__(self, domain: int) -> None:
        self.domain = domain
        self.sequence = 0
        self._templates_at, self._since = float("-inf"), 0

    def templates_lost(self) -> None:
        """They go with the next message."""
        self._templates_at = float("-inf")

    def messages(
        self, records: Sequence[Record], size: int, now: float, at_s: float
    ) -> Iterator[tuple[bytes, int]]:
        """Each with the number of its records. size: bytes at most; now: monotonic seconds."""
        rest, due = list(reversed(records)), self._due(now)
        while rest or due:
            head = b""
            if due:
                head, self._templates_at, self._since = templates(), now, 0
            body, n = _sets(rest, size - HEADER.size - len(head))
            length = HEADER.size + len(head) + len(body)
            fields = VERSION, length, int(at_s), self.sequence & 0xFFFFFFFF, self.domain
            self.sequence += n
            self._since += 1
            yield HEADER.pack(*fields) + head + body, n
            due = bool(rest) and self._due(now)

    def _due(self, now: float) -> bool:
        return now >= self._templates_at + RESEND_S or self._since >= RESEND_MESSAGES


def _sets(rest: list[Record], room: int) -> tuple[bytes, int]:
    """Takes from the end of `rest` what there is room for. Neighbours of one kind share a set."""
    made, n = bytearray(), 0
    while rest:
        id_, body = rest[-1].template, bytearray()
        while rest and rest[-1].template == id_:
            if len(made) + SET.size + len(body) + len(rest[-1].data) > room:
                break
            body += rest.pop().data
            n += 1
        if not body:
            break
        made += _set(id_, bytes(body))
    return bytes(made), n
