"""The Internet checksum as the RFCs say it, two bytes at a time."""

import struct


def ones_sum(data: bytes, start: int = 0) -> int:
    """One's complement sum of 16-bit words, an odd last byte padded with zero (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total = start + sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def checksum(data: bytes, start: int = 0) -> int:
    """What stands in a header whose own checksum field was zero when it was summed.

    >>> hex(checksum(bytes.fromhex("0001f203f4f5f6f7")))  # RFC 1071 section 3
    '0x220d'
    """
    return 0xFFFF ^ ones_sum(data, start)


def pseudo(src: bytes, dst: bytes, protocol: int, length: int) -> int:
    """Sum of the pseudo header of TCP and UDP over IPv4 (RFC 768, RFC 9293 section 3.1)."""
    return ones_sum(src + dst + struct.pack("!HH", protocol, length))


def update(old_checksum: int, old: bytes, new: bytes) -> int:
    """RFC 1624 equation 3, for a change of whole 16-bit words: HC' = ~(~HC + ~m + m').

    >>> hex(update(0xDD2F, bytes.fromhex("5555"), bytes.fromhex("3285")))  # RFC 1624 section 4
    '0x0'
    """
    inverted = bytes(0xFF ^ byte for byte in old)
    return 0xFFFF ^ ones_sum(inverted + new, 0xFFFF ^ old_checksum)
