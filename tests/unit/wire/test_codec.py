"""Frames: what every message is on the wire, and what is refused."""

import io

import msgpack
import msgspec
import pytest

from pcg.model.errors import ProtocolError
from pcg.wire import codec, limits
from pcg.wire import messages as m

RAW = msgspec.Raw(msgspec.msgpack.encode({"id": "vm-1", "mac": "02:00:00:00:00:01"}))
ERRORS = (m.ObjectError("ports[vm-1]", "no such segment", "datapath"), m.ObjectError("a", "b"))
SHORTAGE = m.Shortage(3, 1.7e9, "vm-1", "10.0.0.9", "t1", "QUOTA_PORTS", "out", "eip-1", 5)
LEASE = m.Lease("t1", "web", "10.0.0.9", "02:00:00:00:00:09", "01aa", "joe", "vm-1", "i-1", 1.7e9)

UP = [
    m.Hello("gw-a", "0.1"),
    m.Resync(7, bytes(range(32)), 16),
    m.Credit(7, 70000),
    m.Realised(3, 2**62, 9, ERRORS, 4, 10),
    m.Status(2**62, 9, {"a": True, "b": -1, "c": 1.5, "d": "x" * 40}, (SHORTAGE,)),
    m.Leases(4, True, (LEASE, LEASE), (("t1", "10.0.0.1"),)),
]
DOWN = [
    m.Welcome(2**62, 1.0),
    m.Refused("not you"),
    m.Again(),
    m.Begin(7, 2**62, 9, 70000, bytes(32)),
    m.Chunk(7, 1, bytes(limits.CHUNK_BYTES)),
    m.Current(7, 2**62, 9),
    m.Nothing(7, 2**62),
    m.Delta(2**62, 10, (m.Put("ports", RAW), m.Delete("ports", "vm-2"))),
    m.Heartbeat(2**62, 10, 3),
    m.LeasesHeard(4),
]


def name(msg):
    return type(msg).__name__


@pytest.mark.parametrize("msg", UP + DOWN, ids=name)
def test_plain_msgpack_reads_and_writes_the_same_bytes(msg):
    frame = codec.encode(msg)
    version, body = msgpack.Unpacker(io.BytesIO(frame), raw=False)
    assert version == limits.VERSION
    assert body[0] == type(msg).__struct_config__.tag
    assert msgpack.packb(version) + msgpack.packb(body) == frame


@pytest.mark.parametrize("msg", UP + DOWN, ids=name)
def test_what_is_sent_arrives(msg):
    decode = codec.decode_up if msg in UP else codec.decode_down
    assert decode(codec.encode(msg)) == msg


def test_each_message_is_in_these_tests():
    assert {type(x) for x in UP} == set(m.ToController.__args__)
    assert {type(x) for x in DOWN} == set(m.ToGateway.__args__)


def test_a_newer_version_is_refused_naming_both_and_the_mend():
    frame = bytes([limits.VERSION + 1]) + codec.encode(m.Again())[1:]
    with pytest.raises(ProtocolError, match=r"version 2 .* version 1; upgrade this program"):
        codec.decode_down(frame)


def test_an_older_version_is_refused_too():
    with pytest.raises(ProtocolError, match="upgrade the peer"):
        codec.decode_up(b"\0" + codec.encode(UP[0])[1:])


def test_fields_that_we_do_not_know_are_ignored():
    frame = bytes([limits.VERSION]) + msgpack.packb([1, "gw-a", "0.1", "from the future"])
    assert codec.decode_up(frame) == m.Hello("gw-a", "0.1")


def body(value):
    return bytes([limits.VERSION]) + msgpack.packb(value)


# fmt: off
NONSENSE = [
    # what                     frame                                    text
    ("empty",                  b"",                                     "empty frame"),
    ("cut off",                codec.encode(UP[1])[:-1],                "makes no sense"),
    ("more than a message",    codec.encode(UP[0]) + b"\0",             "makes no sense"),
    ("no array",               body({"tag": 1}),                        "makes no sense"),
    ("unknown tag",            body([99]),                              "makes no sense"),
    ("the other direction",    codec.encode(m.Again()),                 "makes no sense"),
    ("too few fields",         body([1]),                               "makes no sense"),
    ("a negative count",       body([3, 7, -1]),                        "makes no sense"),
    ("a name that is no id",   body([1, "10.0.0.1"]),                   "makes no sense"),
    ("too many errors",        body([4, 0, 0, 0, [["p", "t"]] * 201]),  "makes no sense"),
    ("too large",              body([1, "a" * limits.MAX_FRAME_BYTES]), "is the limit"),
]
# fmt: on


@pytest.mark.parametrize("what, frame, text", NONSENSE, ids=[r[0] for r in NONSENSE])
def test_nonsense_is_refused(what, frame, text):
    with pytest.raises(ProtocolError, match=text):
        codec.decode_up(frame)


def test_a_message_beyond_the_limit_is_not_sent():
    with pytest.raises(ProtocolError, match=r"Refused of .* over the limit"):
        codec.encode(m.Refused("x" * limits.MAX_FRAME_BYTES))


def test_a_report_of_the_longest_errors_fits_a_frame():
    long = m.ObjectError("\U0001f525" * 5000, "\U0001f525" * 5000, "datapath")
    errors, left_out = m.clip([long] * 1000)
    assert (len(errors), left_out) == (limits.MAX_ERRORS, 1000 - limits.MAX_ERRORS)
    assert codec.decode_up(codec.encode(m.Realised(errors=errors))).errors == errors
