"""The hook of the lab's DHCP clients, with `ip` replaced by a program that only writes down."""

import os
import subprocess
from pathlib import Path

import pytest

from pcg.lab.dhcp_clients import HOOK

UDHCPC = {
    "ip": "192.168.99.100",
    "subnet": "255.255.255.0",
    "mask": "24",
    "router": "192.168.99.1",
    "dns": "10.99.0.2",
    "domain": "web.example.com",
    "mtu": "8943",
    "lease": "3600",
    "serverid": "192.168.99.1",
}
OTHERS = {
    "new_ip_address": "192.168.99.100",
    "new_subnet_mask": "255.255.255.0",
    "new_routers": "192.168.99.1",
    "new_domain_name_servers": "10.99.0.2",
    "new_domain_name": "web.example.com",
    "new_interface_mtu": "8943",
    "new_dhcp_lease_time": "3600",
    "new_dhcp_server_identifier": "192.168.99.1",
}
ROUTES = "10.99.0.0/16 192.168.99.1 0.0.0.0/0 192.168.99.9"
# RFC 3442: as many bytes of the prefix as its length needs.
AS_BYTES = "16 10 99 192 168 99 1 0 192 168 99 9"


@pytest.fixture
def hook(tmp_path: Path):
    """Runs it; the `ip` commands, and what was written down."""
    fake = tmp_path / "ip"
    fake.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    fake.chmod(0o755)

    def run(client: str, event: str, told: dict[str, str]) -> tuple[list[str], dict[str, str]]:
        env = told | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "reason": event}
        (tmp_path / "asked").write_text("")
        subprocess.run([HOOK, tmp_path / "told", client, event], env=env, check=True)
        written = (tmp_path / "told").read_text() if (tmp_path / "told").exists() else ""
        told = dict(line.split("=", 1) for line in written.splitlines())
        return (tmp_path / "asked").read_text().splitlines(), told

    return run


@pytest.mark.parametrize(
    "client, event, told",
    [
        ("udhcpc", "bound", UDHCPC | {"staticroutes": ROUTES}),
        ("dhclient", "BOUND", OTHERS | {"new_rfc3442_classless_static_routes": AS_BYTES}),
        ("dhcpcd", "BOUND", OTHERS | {"new_classless_static_routes": ROUTES}),
    ],
)
def test_all_three_are_told_the_same(hook, client, event, told):
    _, written = hook(client, event, told)
    wanted = {k: v for k, v in UDHCPC.items() if k != "mask"} | {"staticroutes": ROUTES}
    assert written == {"count": "1", "event": event} | wanted


def test_router_is_not_obeyed_beside_classless_routes(hook):
    """RFC 3442: "the DHCP client MUST ignore the Router option"."""
    asked, _ = hook("udhcpc", "bound", UDHCPC | {"staticroutes": ROUTES})
    assert asked == [
        "link set nsx-eth0 mtu 8943",
        "addr replace 192.168.99.100/255.255.255.0 dev nsx-eth0",
        "route replace 10.99.0.0/16 via 192.168.99.1",
        "route replace 0.0.0.0/0 via 192.168.99.9",
    ]


def test_router_without_classless_routes(hook):
    asked, _ = hook("udhcpc", "bound", UDHCPC)
    assert asked[-1] == "route replace default via 192.168.99.1"


@pytest.mark.parametrize(
    "numbers, routes",
    [
        ("0 10 0 0 1", "0.0.0.0/0 10.0.0.1"),
        ("8 10 10 0 0 1", "10.0.0.0/8 10.0.0.1"),
        ("9 10 128 10 0 0 1", "10.128.0.0/9 10.0.0.1"),
        ("24 10 1 2 10 0 0 1", "10.1.2.0/24 10.0.0.1"),
        ("32 10 1 2 3 10 0 0 1 0 10 0 0 2", "10.1.2.3/32 10.0.0.1 0.0.0.0/0 10.0.0.2"),
    ],
)
def test_routes_as_dhclient_has_them(hook, numbers, routes):
    _, told = hook("dhclient", "BOUND", OTHERS | {"new_rfc3442_classless_static_routes": numbers})
    assert told["staticroutes"] == routes


def test_dhcpcd_has_set_its_interface_but_for_the_mtu(hook):
    asked, _ = hook("dhcpcd", "BOUND", OTHERS)
    assert asked == ["link set nsx-eth0 mtu 8943"]


def test_the_end_of_a_lease_takes_the_address_away(hook):
    hook("udhcpc", "bound", UDHCPC)
    asked, told = hook("udhcpc", "deconfig", {})
    assert asked == ["addr flush dev nsx-eth0", "link set nsx-eth0 up"]
    assert (told["event"], told["ip"], told["count"]) == ("deconfig", "", "2")


def test_what_it_does_not_know_changes_nothing(hook):
    assert hook("dhclient", "ARPCHECK", OTHERS) == ([], {})
