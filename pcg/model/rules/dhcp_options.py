"""Rules of what a DHCP scope says beside addresses: its options must fit what carries them."""

import re

from pcg.model.dhcp import DhcpOption, DhcpScope
from pcg.model.rules.context import Context, Subnet

# RFC 1123 section 2.1: labels of letters, digits and hyphens, 63 each, 253 in all.
HOSTNAME = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")
NAME_MAX = 253
TEXT = re.compile(r"[\x20-\x7e]+")  # RFC 2132: NVT ASCII
OPTION_MAX = 255  # bytes: the length is one byte (RFC 2132 section 2)
ADDRESSES_MAX = OPTION_MAX // 4
# Options that fields of the scope say, or that belong to the protocol itself (RFC 2132, 3046).
OWN_OPTIONS = {
    1: "the segment's subnet",
    3: "gateway",
    6: "dns",
    15: "domain",
    26: "mtu",
    28: "the segment's subnet",
    42: "ntp",
    51: "lease_s",
    66: "tftp_server",
    67: "bootfile",
    119: "search",
    121: "routes",
} | dict.fromkeys((50, 52, 53, 54, 55, 57, 58, 59, 61, 82), "the protocol itself")
KINDS = ("value", "text", "addresses", "uint8", "uint16", "uint32")


def check(ctx: Context, path: str, scope: DhcpScope, subnets: list[Subnet]) -> None:
    check_servers(ctx, f"{path}.dns", scope.dns)
    check_servers(ctx, f"{path}.ntp", scope.ntp)
    if scope.domain:
        check_domain(ctx, f"{path}.domain", scope.domain)
    check_search(ctx, f"{path}.search", scope.search)
    for name in ("tftp_server", "bootfile"):
        if text := getattr(scope, name):
            check_text(ctx, f"{path}.{name}", text)
    room = min((s.segment.mtu for s in subnets), default=None)
    if scope.mtu is not None and room is not None and scope.mtu > room:
        mend = f"is above the MTU of a segment that uses the scope; use {room} or less"
        ctx.add(f"{path}.mtu", scope.mtu, mend)
    seen = set()
    for index, option in enumerate(scope.options):
        where = f"{path}.options[{index}]"
        if option.code in OWN_OPTIONS:
            mend = f"is said by {OWN_OPTIONS[option.code]}; remove the option"
            ctx.add(f"{where}.code", option.code, mend)
        if option.code in seen:
            ctx.add(f"{where}.code", option.code, "stands there twice; keep one")
        seen.add(option.code)
        check_option(ctx, where, option)


def check_servers(ctx: Context, path: str, servers: tuple[str, ...]) -> None:
    ctx.no_repeats(path, servers)
    for index, text in enumerate(servers):
        ctx.address(f"{path}[{index}]", text)
    if len(servers) > ADDRESSES_MAX:
        mend = f"servers do not fit one option; use {ADDRESSES_MAX} or fewer"
        ctx.add(path, len(servers), mend)


def check_search(ctx: Context, path: str, names: tuple[str, ...]) -> None:
    ctx.no_repeats(path, names)
    for index, text in enumerate(names):
        check_domain(ctx, f"{path}[{index}]", text)
    # RFC 1035 section 3.1: a length before each label, and a zero at the end.
    size = sum(len(name.removesuffix(".")) + 2 for name in names)
    if size > OPTION_MAX:
        ctx.add(path, size, f"bytes do not fit an option; use {OPTION_MAX} or fewer")


def check_option(ctx: Context, where: str, option: DhcpOption) -> None:
    given = [kind for kind in KINDS if getattr(option, kind) not in ("", (), None)]
    if len(given) != 1:
        wrong = f"has {' and '.join(given)}" if given else "has no value"
        ctx.add(where, None, f"{wrong}; give it exactly one of {', '.join(KINDS)}")
    if option.value:
        check_hex(ctx, f"{where}.value", option.value, 1, OPTION_MAX, "option")
    if option.text:
        check_text(ctx, f"{where}.text", option.text)
    for index, text in enumerate(option.addresses):
        ctx.address(f"{where}.addresses[{index}]", text)
    if len(option.addresses) > ADDRESSES_MAX:
        mend = f"addresses do not fit an option; use {ADDRESSES_MAX} or fewer"
        ctx.add(f"{where}.addresses", len(option.addresses), mend)


def check_hex(ctx: Context, path: str, text: str, low: int, high: int, noun: str) -> bool:
    if not re.fullmatch(r"([0-9a-f]{2})+", text):
        mend = "is not hexadecimal bytes; use an even number of digits, like c0a80001"
        ctx.add(path, text, mend)
        return False
    if not low <= len(text) // 2 <= high:
        mend = f"bytes are no {noun}'s; use {low} to {high}"
        ctx.add(path, len(text) // 2, mend)
        return False
    return True


def check_text(ctx: Context, path: str, text: str) -> None:
    if not TEXT.fullmatch(text):
        ctx.add(path, text, "is not ASCII text; use letters, digits, signs and spaces")
    elif len(text) > OPTION_MAX:
        ctx.add(path, len(text), f"bytes do not fit an option; use {OPTION_MAX} or fewer")


def check_domain(ctx: Context, path: str, text: str) -> None:
    labels = text.removesuffix(".").split(".")
    if len(text) > NAME_MAX or not all(HOSTNAME.fullmatch(label) for label in labels):
        ctx.add(path, text, "is not a domain name; use a form like example.com")
