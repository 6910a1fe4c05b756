"""What the datapath process and its client say to each other, on a ZeroMQ Unix socket.

    request   [Request as MessagePack, packed arrays and frames as they are ...]
    reply     [Reply as MessagePack, packed arrays and frames as they are ...]

Both carry the shape of the border they were built with (`border.shape()`), so that a packed array
of another build is never read. A reply names the request it answers: one that comes too late is
thrown away. The socket's file is the access control.
"""

from typing import Any

import msgspec

VERSION = 1  # of these two messages; raised when an older peer would misread one
MESSAGE_MAX = 1 << 28  # bytes of one frame: 16.7 million session records would not be asked at once


class Request(msgspec.Struct, kw_only=True):
    version: int = VERSION
    id: int
    shape: str
    op: str
    args: dict[str, Any] = {}  # msgspec copies it for each message


class Failure(msgspec.Struct):
    """A BackendError on its way."""

    thing: str
    why: str
    mend: str


class Reply(msgspec.Struct, kw_only=True):
    version: int = VERSION
    id: int
    shape: str
    result: Any = None
    error: Failure | None = None


encode = msgspec.msgpack.Encoder().encode
decode_request = msgspec.msgpack.Decoder(Request).decode
decode_reply = msgspec.msgpack.Decoder(Reply).decode
