"""A whole desired state as bytes: made once, cut into chunks, put together again, checked.

The receiver believes nothing before the last byte is there and the digest of all is right: a
snapshot that ends in the middle leaves no trace.
"""

import hashlib
from dataclasses import dataclass, field

import msgspec

from pcg.model.desired import SCHEMA, Desired
from pcg.model.errors import ProtocolError
from pcg.wire import limits
from pcg.wire import messages as m
from pcg.wire.changes import ordered
from pcg.wire.codec import encoder

_decoder = msgspec.msgpack.Decoder(Desired)


@dataclass(frozen=True, slots=True)
class Snapshot:
    blob: bytes
    digest: bytes

    @classmethod
    def of(cls, desired: Desired) -> "Snapshot":
        """Equal content gives equal bytes, whatever the order of its lists.

        Raises  ProtocolError   larger than MAX_SNAPSHOT_BYTES
        """
        blob = encoder.encode(ordered(desired))
        if len(blob) > limits.MAX_SNAPSHOT_BYTES:
            raise ProtocolError(_too_large(len(blob)))
        return cls(blob, hashlib.sha256(blob).digest())

    @property
    def n_chunks(self) -> int:
        return -(-len(self.blob) // limits.CHUNK_BYTES)

    def chunk(self, request: int, index: int) -> m.Chunk:
        at = index * limits.CHUNK_BYTES
        return m.Chunk(request, index, memoryview(self.blob)[at : at + limits.CHUNK_BYTES])


def open_blob(blob: bytes) -> Desired:
    """The desired state in a snapshot's bytes, ordered.

    Raises  ProtocolError   not a desired state of our schema; the text names the place
    """
    try:
        desired = _decoder.decode(blob)
    except msgspec.MsgspecError as e:
        raise ProtocolError(f"the snapshot is not a desired state: {e}") from e
    if desired.schema > SCHEMA:
        raise ProtocolError(
            f"the snapshot has schema {desired.schema}, this program knows {SCHEMA}; "
            "upgrade this program"
        )
    return ordered(desired)


@dataclass(slots=True)
class Assembly:
    """Chunks on their way to being a snapshot. Order and repetition do not matter."""

    begin: m.Begin
    chunks: dict[int, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.begin.size > limits.MAX_SNAPSHOT_BYTES:
            raise ProtocolError(_too_large(self.begin.size))

    @property
    def n_chunks(self) -> int:
        return -(-self.begin.size // limits.CHUNK_BYTES)

    @property
    def complete(self) -> bool:
        return len(self.chunks) == self.n_chunks

    def add(self, chunk: m.Chunk) -> None:
        """Raises ProtocolError on a chunk beyond the end or of the wrong length."""
        left = self.begin.size - chunk.index * limits.CHUNK_BYTES
        if len(chunk.data) != min(left, limits.CHUNK_BYTES):
            raise ProtocolError(
                f"chunk {chunk.index} of {self.n_chunks} has {len(chunk.data)} bytes, "
                f"not {min(left, limits.CHUNK_BYTES)}"
            )
        self.chunks[chunk.index] = bytes(chunk.data)

    def blob(self) -> bytes:
        """All bytes. Raises ProtocolError when they are not those that Begin announced."""
        blob = b"".join(self.chunks[i] for i in range(self.n_chunks))
        if not self.complete or hashlib.sha256(blob).digest() != self.begin.digest:
            raise ProtocolError(
                f"the snapshot of revision {self.begin.revision} is damaged (its digest is wrong); "
                "it is asked for again"
            )
        return blob


def _too_large(size: int) -> str:
    return (
        f"a snapshot of {size} bytes is over the limit of {limits.MAX_SNAPSHOT_BYTES}; "
        "spread the VRFs over more gateways"
    )
