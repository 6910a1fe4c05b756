"""A real Kea, configured by us: what clients get."""

import os
import signal
import socket
import time
from pathlib import Path

import pytest

from pcg.model.dhcp import AddressRange, DhcpOption, DhcpRoute, StaticBinding
from tests.netns import dhcp
from tests.netns.dhcp import ACK, INFORM, LINK, NAK, RELEASE, REQUEST, desired, mac, scope
from tests.unit.reconcile.examples import port


@pytest.fixture
def site():
    made = dhcp.Site()
    yield made
    made.close()


def test_every_option_reaches_the_client(site):
    full = scope(
        dns=("10.0.0.2", "10.0.0.3"),
        domain="example.com",
        search=("example.com", "b.example.net"),
        ntp=("10.0.0.4",),
        lease_s=3600,
        mtu=1400,
        tftp_server="10.0.0.5",
        bootfile="boot.efi",
        routes=(DhcpRoute(prefix="10.0.0.0/8", next_hop="192.168.1.254"),),
        options=(DhcpOption(code=150, addresses=("10.0.0.6",)), DhcpOption(code=23, uint8=64)),
    )
    site.serve(desired(full))
    got = site.lease(1, wanted=dhcp.WANTED + bytes((23, 150)))
    web = socket.inet_aton("192.168.1.1")
    assert (got.kind, got.address) == (ACK, "192.168.1.100")
    assert got.options | {82: b""} == {
        1: b"\xff\xff\xff\x00",
        3: web,
        6: socket.inet_aton("10.0.0.2") + socket.inet_aton("10.0.0.3"),
        15: b"example.com",
        23: b"\x40",
        26: (1400).to_bytes(2, "big"),
        28: socket.inet_aton("192.168.1.255"),
        42: socket.inet_aton("10.0.0.4"),
        51: (3600).to_bytes(4, "big"),
        53: b"\x05",
        54: web,
        66: b"10.0.0.5",
        67: b"boot.efi",
        82: b"",
        119: b"\x07example\x03com\x00\x01b\x07example\x03net\x00",
        121: b"\x00" + web + b"\x08\x0a" + socket.inet_aton("192.168.1.254"),
        150: socket.inet_aton("10.0.0.6"),
    }
    assert (got.server, got.file) == ("10.0.0.5", b"boot.efi")


def test_routes_that_do_not_fit_one_option_are_continued(site):
    """RFC 3396, which RFC 3442 asks for."""
    ways = tuple(DhcpRoute(prefix=f"10.{n}.0.0/16", next_hop=LINK) for n in range(60))
    site.serve(desired(scope(routes=ways)))
    assert len(site.lease(1).options[121]) == 5 + 60 * 7


def test_two_vrfs_with_the_same_prefix(site):
    site.serve(desired(scope(), scope("lan2", "t2")))
    assert site.server("t1") != site.server("t2")
    assert site.lease(1, "t1").address == site.lease(2, "t2").address == "192.168.1.100"
    assert [(lease.vrf, lease.segment, lease.mac) for lease in site.fleet.leases("t2")] == [
        ("t2", "t2-web", mac(2))
    ]


def test_bindings_and_addresses_that_ports_have(site):
    """By MAC, by client identifier, and what a port has: for that client and for nobody else."""
    ports = (port("p1", "192.168.1.100"), port("p2", "192.168.1.9"))
    bound = (
        StaticBinding(mac=mac(7), address="192.168.1.101", hostname="seven"),
        StaticBinding(client_id="0106aa", address="192.168.1.50"),
    )
    narrow = scope(last="192.168.1.103", bindings=bound)
    excluded = (AddressRange(first="192.168.1.102", last="192.168.1.102"),)
    site.serve(desired(dhcp.d.msgspec.structs.replace(narrow, exclusions=excluded), ports=ports))
    assert site.lease(1).address == "192.168.1.103"
    assert site.lease(2, wait_s=0.3) is None
    assert site.lease(7).address == "192.168.1.101"
    assert site.lease(7).options[12] == b"seven"
    assert site.lease(3, client_id="0106aa").address == "192.168.1.50"
    assert site.lease(0x0109).address == "192.168.1.9"
    assert site.lease(0x0164).address == "192.168.1.100"


def test_one_lease_for_a_port_whatever_it_calls_itself(site):
    """RFC 2131 section 4.2: machines of one image say the same client identifier, though, and
    systems of one machine do not."""
    site.serve(desired(scope()))
    first = site.lease(1, client_id="ff000102")
    assert site.lease(1, client_id="ff000103").address == first.address
    assert site.lease(2, client_id="ff000103").address != first.address


def test_a_wrong_address_is_refused_and_inform_is_answered(site):
    """RFC 2131 section 4.3.2: NAK to a client on the wrong net; section 4.3.5: no lease, no 51."""
    site.serve(desired(scope(domain="example.com")))
    where = site.server()
    assert site.relay.ask(where, REQUEST, 1, LINK, requested="10.9.9.9").kind == NAK
    told = site.relay.ask(where, INFORM, 1, LINK)
    assert (told.kind, told.options[15]) == (ACK, b"example.com")
    assert 51 not in told.options
    assert told.options[1] == b"\xff\xff\xff\x00"


def test_leases_are_read_and_released(site):
    site.serve(desired(scope(lease_s=600)))
    got = site.lease(1)
    [lease] = site.fleet.leases("t1")
    assert lease[:4] == ("t1", "web", got.address, mac(1))
    assert lease.state == "leased"
    assert 0 < lease.expires - time.time() <= 600
    site.fleet.release("t1", got.address)
    site.fleet.release("t1", got.address)
    assert site.fleet.leases("t1") == []


def test_a_renewing_client_keeps_its_address_and_a_released_one_is_free(site):
    site.serve(desired(scope(last="192.168.1.100")))
    where, got = site.server(), site.lease(1)
    assert site.relay.ask(where, REQUEST, 1, LINK, ciaddr=got.address).kind == ACK
    assert site.lease(2, wait_s=0.3) is None
    more = {"ciaddr": got.address, "by": got.options[54]}
    assert site.relay.ask(where, RELEASE, 1, LINK, wait_s=0.1, **more) is None
    assert site.again(2).address == got.address


def test_the_file_is_written_before_the_answer_and_commit_brings_it_to_the_disk(site):
    site.serve(desired(scope()))
    got = site.lease(1)
    path = site.folder / "t1" / "leases.csv"
    assert f"{got.address},{mac(1)}," in path.read_text()
    site.fleet.commit("t1")


def test_kea_runs_without_any_right(site):
    site.serve(desired(scope()))
    status = Path(f"/proc/{site.pid()}/status").read_text()
    for said in ("CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1"):
        assert said in status
    assert "Uid:\t0" not in status


def test_a_burst_of_everybody_waits_in_kea_s_socket(site):
    """Also after a configuration, with which Kea opens another one."""
    site.serve(desired(scope()))
    site.serve(desired(scope(lease_s=600)))
    os.kill(site.pid(), signal.SIGSTOP)
    for who in range(2000):
        hello = dhcp.message(who, dhcp.DISCOVER, mac(who), LINK)
        site.relay.socket.sendto(hello, site.server())
    with site.space.inside():
        table = Path("/proc/thread-self/net/udp").read_text().splitlines()[1:]
    os.kill(site.pid(), signal.SIGCONT)
    assert {line.split()[-1] for line in table} == {"0"}  # drops
