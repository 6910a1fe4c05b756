"""Frames: one version byte, then one message as plain MessagePack.

The version byte is itself MessagePack (a small integer), so a frame is a sequence of two
MessagePack objects that any library reads. Encoding is deterministic: equal values, equal bytes.
"""

from typing import TypeVar

import msgspec

from pcg.model.errors import ProtocolError
from pcg.wire import limits
from pcg.wire import messages as m

T = TypeVar("T")

encoder = msgspec.msgpack.Encoder(order="deterministic")
_decoders = {
    m.ToController: msgspec.msgpack.Decoder(m.ToController),
    m.ToGateway: msgspec.msgpack.Decoder(m.ToGateway),
}


def encode(msg: m.ToController | m.ToGateway) -> bytes:
    """The frame of a message.

    Raises  ProtocolError   it is larger than MAX_FRAME_BYTES: the receiver would cut us off
    """
    frame = bytes([limits.VERSION]) + encoder.encode(msg)
    if len(frame) > limits.MAX_FRAME_BYTES:
        name, most = type(msg).__name__, limits.MAX_FRAME_BYTES
        raise ProtocolError(f"{name} of {len(frame)} bytes is over the limit of {most}")
    return frame


def decode_up(frame: bytes) -> m.ToController:
    """What a gateway says.

    Raises  ProtocolError   another version, too large, not MessagePack, or not a message of
                            that direction; the text names the thing and the mend
    """
    return _decode(frame, m.ToController)


def decode_down(frame: bytes) -> m.ToGateway:
    """What a controller says. Raises like decode_up()."""
    return _decode(frame, m.ToGateway)


def _decode(frame: bytes, union: type[T]) -> T:
    if not frame:
        raise ProtocolError("an empty frame: the peer is no PCG program; check the endpoint")
    if frame[0] != limits.VERSION:
        raise ProtocolError(version_text(frame[0]))
    if len(frame) > limits.MAX_FRAME_BYTES:
        raise ProtocolError(f"a frame of {len(frame)} bytes, {limits.MAX_FRAME_BYTES} is the limit")
    try:
        return _decoders[union].decode(memoryview(frame)[1:])
    except msgspec.MsgspecError as e:
        raise ProtocolError(f"a message that makes no sense: {e}") from e


def version_text(theirs: int) -> str:
    """What to say to a peer of another version: both versions, and which side to upgrade."""
    ours = limits.VERSION
    older = "this program" if theirs > ours else "the peer"
    return (
        f"the peer speaks version {theirs} of the link protocol, this program version {ours}; "
        f"upgrade {older} so that both speak the same"
    )
