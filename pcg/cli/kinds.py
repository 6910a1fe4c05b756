"""Kinds of values on the command line."""

import ipaddress
import math
import re

import click

PROTOCOLS = {"any": 0, "icmp": 1, "tcp": 6, "udp": 17, "gre": 47, "esp": 50, "ah": 51, "sctp": 132}
FLAGS = "FSRPAUECN"
GENEVE_PORT = 6081  # RFC 8926 section 3.3
NOWHERE = "0.0.0.0"  # no address is known


class Address(click.ParamType):
    """A dotted IPv4 address as text; `words` are taken as well."""

    name = "address"

    def __init__(self, *words: str) -> None:
        self.words = words

    def convert(self, value, param, ctx) -> str:
        if value in self.words:
            return value
        try:
            return str(ipaddress.IPv4Address(value))
        except ValueError:
            others = "".join(f", nor {word}" for word in self.words if word)
            self.fail(f"{value} is no IPv4 address{others}", param, ctx)


class Mac(click.ParamType):
    """An Ethernet address as text with colons."""

    name = "mac"

    def convert(self, value, param, ctx) -> str:
        digits = value.lower().replace("-", ":")
        if not re.fullmatch("[0-9a-f]{2}(:[0-9a-f]{2}){5}", digits):
            self.fail(f"{value} is no Ethernet address", param, ctx)
        return digits


class Flags(click.ParamType):
    """TCP's, a letter each, as scapy and tcpdump write them."""

    name = "flags"

    def convert(self, value, param, ctx) -> str:
        if set(value) - set(FLAGS):
            self.fail(f"{value} is none of TCP's flags, which are {FLAGS}", param, ctx)
        return value


class Seconds(click.ParamType):
    """A span of time that ends."""

    name = "seconds"

    def convert(self, value, param, ctx) -> float:
        try:
            seconds = float(value)
        except ValueError:
            seconds = math.nan
        if not 0 <= seconds < math.inf:
            self.fail(f"{value} is no number of seconds", param, ctx)
        return seconds
