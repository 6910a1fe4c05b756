"""Addresses, prefixes and MACs: text as operators write it, its one canonical form, its number.

`canonical_*` return the text unchanged when they cannot read it: saying what is wrong is the
work of the rules. The `*_number` functions read canonical text only and return None otherwise;
they are used a hundred thousand times per document, so they stay away from `ipaddress`.
"""

import ipaddress
import re
from socket import AF_INET, inet_ntop, inet_pton
from typing import NamedTuple

MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
MAC_DIGITS = re.compile(r"[0-9a-fA-F]{12}")
# The three ways of writing a MAC that are about: 02:00:.., 02-00-.., 0200.0000.0001.
MAC_GROUPS = re.compile(r"[0-9a-fA-F]{2}([:-])([0-9a-fA-F]{2}\1){4}[0-9a-fA-F]{2}")
MAC_DOTTED = re.compile(r"[0-9a-fA-F]{4}\.[0-9a-fA-F]{4}\.[0-9a-fA-F]{4}")
LENGTH = re.compile(r"[0-9]|[12][0-9]|3[0-2]")
GENEVE_OPTION = re.compile(r"0[xX]([0-9a-fA-F]{1,4})/0[xX]([0-9a-fA-F]{1,2})")


class Prefix(NamedTuple):
    """Addresses first to last, both host-order numbers; host bits are cut off."""

    first: int
    last: int

    def __contains__(self, address: object) -> bool:
        return self.first <= address <= self.last

    def overlaps(self, other: "Prefix") -> bool:
        return self.first <= other.last and other.first <= self.last

    def within(self, other: "Prefix") -> bool:
        return other.first <= self.first and self.last <= other.last

    def edge(self, address: int) -> bool:
        """Whether it is the network's or the broadcast address, which no host can have."""
        return self.last - self.first > 1 and address in (self.first, self.last)

    @property
    def size(self) -> int:
        return self.last - self.first + 1


def address_number(text: str) -> int | None:
    """
    >>> address_number("10.0.0.1"), address_number("10.0.0.01"), address_number("10.0.1")
    (167772161, None, None)
    """
    try:
        return int.from_bytes(inet_pton(AF_INET, text), "big")
    except (OSError, ValueError):
        return None


def address_text(number: int) -> str:
    return inet_ntop(AF_INET, number.to_bytes(4, "big"))


def make_prefix(address: int, length: int) -> Prefix:
    hosts = 0xFFFFFFFF >> length
    return Prefix(address & ~hosts, address | hosts)


def split_prefix(text: str) -> tuple[int, int] | None:
    """Address and length of "10.0.0.1/24", host bits kept; None when it is not one.

    >>> split_prefix("10.0.0.1/8"), split_prefix("10.0.0.1"), split_prefix("10.0.0.1/08")
    ((167772161, 8), None, None)
    """
    address, slash, length = text.partition("/")
    number = address_number(address)
    if number is None or not slash or not LENGTH.fullmatch(length):
        return None
    return number, int(length)


def prefix_number(text: str) -> Prefix | None:
    """The addresses that "10.0.0.0/8" spans; also of "10.0.0.1/8", whose host bits are cut off."""
    pair = split_prefix(text)
    return None if pair is None else make_prefix(*pair)


def span_number(text: str) -> Prefix | None:
    """The same of a prefix or a single address."""
    number = address_number(text)
    return prefix_number(text) if number is None else Prefix(number, number)


def prefix_text(prefix: Prefix) -> str:
    return f"{address_text(prefix.first)}/{33 - prefix.size.bit_length()}"


def canonical_address(text: str) -> str:
    """IPv4 has one way of writing; IPv6 is brought to RFC 5952's, so that errors show that."""
    if ":" not in text:
        return text
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return text


def canonical_prefix(text: str) -> str:
    """A length in place of a netmask, host bits kept for the rules to find.

    >>> canonical_prefix("10.0.0.0/255.255.0.0"), canonical_prefix("10.0.0.1/8")
    ('10.0.0.0/16', '10.0.0.1/8')
    """
    _, slash, length = text.partition("/")
    if not slash or (LENGTH.fullmatch(length) and ":" not in text):
        return text
    try:
        return str(ipaddress.ip_interface(text))
    except ValueError:
        return text


def canonical_span(text: str) -> str:
    """Of a rule's item: address, prefix or id. A /32 is the address."""
    whole = canonical_prefix(text) if "/" in text else canonical_address(text)
    return whole.removesuffix("/32")


def canonical_mac(text: str) -> str:
    """
    >>> canonical_mac("02-00-00-AA-00-01"), canonical_mac("0200.00aa.0001"), canonical_mac("x")
    ('02:00:00:aa:00:01', '02:00:00:aa:00:01', 'x')
    """
    if MAC.fullmatch(text) or not (MAC_GROUPS.fullmatch(text) or MAC_DOTTED.fullmatch(text)):
        return text
    return bytes.fromhex(re.sub("[:.-]", "", text)).hex(":")


def canonical_option(text: str) -> str:
    """Of a Geneve option, class/type: "0x104/0X80" is "0x0104/0x80"."""
    parts = GENEVE_OPTION.fullmatch(text)
    return f"0x{int(parts[1], 16):04x}/0x{int(parts[2], 16):02x}" if parts else text
