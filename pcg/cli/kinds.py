"""Kinds of values on the command line."""

import ipaddress

import click

PROTOCOLS = {"any": 0, "icmp": 1, "tcp": 6, "udp": 17, "gre": 47, "esp": 50, "ah": 51, "sctp": 132}


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
