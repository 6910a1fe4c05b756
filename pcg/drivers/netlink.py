"""Backend netlink: sets up the interfaces: up, MTU, addresses, routes by source, no offloads.

What we add bears our mark (`kernel.PROTO`) and only what bears it is removed again. An address
that somebody else configured just so is used as it is. Additions come before the datapath's
tables (`add`), removals after (`clear`), so that nothing is missing in between.
"""

import errno
import logging
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from pcg.drivers import arp_probe, offload, sysctl
from pcg.model.errors import BackendError
from pcg.reconcile.addresses import address, mac_text
from pcg.reconcile.host import Setup
from pcg.reconcile.kernel import PROTO, TABLES, Address, Objects, Route, Rule, wanted

log = logging.getLogger(__name__)

ONLINK = 4  # RTNH_F_ONLINK: the gateway is on this link, whatever the tables say
SCOPE_LINK = 253
UP = 1  # IFF_UP


class Link(NamedTuple):
    index: int
    name: str
    mtu: int
    up: bool
    veth: bool
    mac: bytes


class Kernel(NamedTuple):
    """What there is: links by name, every IPv4 address, and of routes and rules ours."""

    links: dict[str, Link]
    addresses: dict[Address, bool]  # -> bears our mark
    ours: Objects


@contextmanager
def said(thing: str) -> Iterator[None]:
    """The kernel's refusal as a BackendError that names the thing."""
    try:
        yield
    except (NetlinkError, OSError) as e:
        number = getattr(e, "code", None) or e.errno
        if number in (errno.EPERM, errno.EACCES):
            mend = "run as root or give CAP_NET_ADMIN and CAP_NET_RAW"
            raise BackendError(thing, "no permission", mend) from None
        raise BackendError(thing, errno_text(number, e)) from None


def errno_text(number: int | None, error: Exception) -> str:
    names = errno.errorcode
    return f"{names.get(number, 'failed')}: {getattr(error, 'args', [''])[-1]}"


class Netlink:
    """One socket into the network namespace in which it was made."""

    def __init__(self) -> None:
        with said("netlink"):
            self._ip = IPRoute()

    def close(self) -> None:
        self._ip.close()

    def read(self) -> Kernel:
        with said("netlink"):
            links = {link.name: link for link in map(_link, self._ip.get_links())}
            addresses = dict(map(_address, self._ip.get_addr(family=socket.AF_INET)))
            ours = Objects(
                addresses=tuple(a for a, mine in addresses.items() if mine),
                routes=tuple(self._our_routes()),
                rules=tuple(self._our_rules()),
            )
        return Kernel(links, addresses, ours)

    def _our_routes(self) -> Iterator[Route]:
        for table in TABLES.values():
            for r in self._ip.get_routes(family=socket.AF_INET, table=table):
                if r["proto"] == PROTO:
                    dst = r.get("dst") or "0.0.0.0"
                    prefix = f"{dst}/{r['dst_len']}"
                    yield Route(table, prefix, r.get("gateway") or "", r.get("oif"),
                                r.get("prefsrc") or "")  # fmt: skip

    def _our_rules(self) -> Iterator[Rule]:
        for r in self._ip.get_rules(family=socket.AF_INET):
            if r.get("protocol") == PROTO:
                yield Rule(r.get("priority"), r.get("src") or "", r.get("table"))

    def add(self, setups: Iterable[Setup]) -> list[BackendError]:
        """Bring up and add what is missing. Returns what failed; the other interfaces are done."""
        setups = list(setups)
        kernel, failed = self.read(), []
        for setup in setups:
            try:
                self._prepare(setup, kernel)
                self._fill(setup, kernel)
            except BackendError as e:
                failed.append(e)
        return failed

    def clear(self, setups: Iterable[Setup]) -> None:
        """Remove what we added once and is wanted no more."""
        kernel = self.read()
        want = wanted(setups, {name: link.index for name, link in kernel.links.items()})
        for kind in ("rules", "routes", "addresses"):
            keep = set(getattr(want, kind))
            for stale in getattr(kernel.ours, kind):
                if stale not in keep:
                    log.info("remove %s", stale)
                    self._change("del", stale)

    def _prepare(self, setup: Setup, kernel: Kernel) -> None:
        """The link itself: there, up, of the right MTU, with nothing merged or left unfinished."""
        link = kernel.links.get(setup.name)
        thing = f"interface {setup.name}"
        if link is None:
            have = ", ".join(sorted(set(kernel.links) - {"lo"})) or "none"
            mend = f"correct gateway.interfaces.{setup.role}.name (there are: {have})"
            raise BackendError(thing, "does not exist", mend)
        if link.mtu != setup.mtu:
            with said(f"{thing}: MTU {setup.mtu}"):
                self._ip.link("set", index=link.index, mtu=setup.mtu)
        sysctl.ensure(setup.name)
        if setup.taken:
            offload.switch_off(setup.name, link.veth)
        if not link.up:
            with said(thing):
                self._ip.link("set", index=link.index, state="up")

    def _fill(self, setup: Setup, kernel: Kernel) -> None:
        index = kernel.links[setup.name].index
        want = wanted([setup], {setup.name: index})
        for item in want.addresses:
            if item not in kernel.addresses:
                self._free(item, setup.name, kernel)
                self._change("add", item)
        # Routes and rules are read again only when something is missing: the kernel drops
        # routes together with addresses and links, and tells nobody in this call.
        for item in want.routes:
            if item not in kernel.ours.routes:
                self._change("replace", item)
        for item in want.rules:
            if item not in kernel.ours.rules:
                self._change("add", item)

    def _free(self, item: Address, interface: str, kernel: Kernel) -> None:
        """Make sure that the address is nobody else's, on this host or on the link."""
        thing = f"address {item.address} of interface {interface}"
        for other, mine in kernel.addresses.items():
            if other.address == item.address and other.index != item.index:
                if mine:  # we put it there ourselves, for a desired state that is gone
                    self._change("del", other)
                    continue
                name = next((k.name for k in kernel.links.values() if k.index == other.index), "?")
                raise BackendError(thing, f"already on interface {name}", "remove it from there")
        with said(thing):
            taken_by = arp_probe.holder(interface, address(item.address))
        if taken_by:
            why = f"already taken by {mac_text(taken_by)} on the same link"
            raise BackendError(thing, why, "give one of the two another address")

    def _change(self, verb: str, item: Address | Route | Rule) -> None:
        with said(f"{type(item).__name__.lower()} {_words(item)}"):
            if isinstance(item, Address):
                self._ip.addr(
                    verb, index=item.index, address=item.address, prefixlen=item.length, proto=PROTO
                )
            elif isinstance(item, Route):
                self._ip.route(verb, **_route_arguments(item))
            else:
                self._ip.rule(verb, **_rule_arguments(item))


def _link(message) -> Link:
    kind = (message.get("linkinfo") or {}).get("kind")
    return Link(
        index=message["index"],
        name=message.get("ifname"),
        mtu=message.get("mtu"),
        up=bool(message["flags"] & UP),
        veth=kind == "veth",
        mac=bytes.fromhex((message.get("address") or "").replace(":", "")),
    )


def _address(message) -> tuple[Address, bool]:
    text = message.get("local") or message.get("address")
    mine = message.get("proto") == PROTO
    return Address(message["index"], text, message["prefixlen"]), mine


def _route_arguments(route: Route) -> dict:
    made = {"table": route.table, "dst": route.prefix, "oif": route.index, "proto": PROTO}
    if route.source:
        made["prefsrc"] = route.source
    if route.gateway:
        return made | {"gateway": route.gateway, "flags": ONLINK}
    return made | {"scope": SCOPE_LINK}


def _rule_arguments(rule: Rule) -> dict:
    made = {"priority": rule.priority, "table": rule.table, "protocol": PROTO}
    if rule.source:
        made |= {"src": rule.source, "src_len": 32}
    return made


def _words(item: Address | Route | Rule) -> str:
    if isinstance(item, Address):
        return f"{item.address}/{item.length}"
    if isinstance(item, Route):
        return f"{item.prefix} in table {item.table}"
    return f"from {item.source or 'all'} to table {item.table}"
