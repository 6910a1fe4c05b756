"""Frames gone wrong under way: a bit, any bytes, their end."""

from collections.abc import Iterator

from hypothesis import strategies as st

HEADERS = 112  # bytes, as long as the headers of any frame are
# which frame, where, what is there instead, whether it is
PICK = st.tuples(
    st.integers(0, 63), st.integers(0, HEADERS - 1), st.integers(0, 255), st.booleans()
)


def by_one_bit(frame: bytes) -> Iterator[bytes]:
    """Of its headers, each in turn."""
    for bit in range(8 * min(len(frame), HEADERS)):
        wrong = bytearray(frame)
        wrong[bit // 8] ^= 0x80 >> bit % 8
        yield bytes(wrong)


def by_their_end(frame: bytes) -> Iterator[bytes]:
    """Cut anywhere, and up to seven bytes too long."""
    for length in range(len(frame) + 8):
        yield frame[:length].ljust(length, b"\0")


def burst(frames: list[bytes], picks: list[tuple[int, int, int, bool]]) -> list[bytes]:
    """One of `frames` for each pick."""
    made = []
    for which, at, value, wrong in picks:
        frame = bytearray(frames[which % len(frames)])
        if wrong:
            frame[at % len(frame)] = value
        made.append(bytes(frame))
    return made
