"""What may happen to a Kea, and to who looks after it: a real one each time."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

import msgspec
import pytest

from pcg.drivers import kea_control, kea_files, kea_keeper
from pcg.drivers.kea_config import HOOKS, digest
from pcg.model.dhcp import AddressRange
from pcg.model.errors import BackendError
from pcg.model.settings import Dhcp
from tests.netns import dhcp
from tests.netns.dhcp import ACK, LINK, REQUEST, desired, keas, scope
from tests.unit.reconcile.examples import port, segment
from tests.waiting import wait_until


@pytest.fixture
def site():
    made = dhcp.Site()
    yield made
    made.close()


def said(site) -> list[str]:
    return [str(e) for e in site.fleet.errors()]


def test_killed_it_is_started_anew_with_its_leases(site):
    site.serve(desired(scope()))
    first, pid = site.lease(1).address, site.kill()
    wait_until(lambda: site.fleet.servers() and site.pid() != pid, "another Kea", 60)
    assert site.again(1).address == first
    wait_until(lambda: said(site) == [], "all well")
    assert len(keas(site.folder)) == 1


def test_hanging_it_is_said_and_replaced(site, monkeypatch):
    monkeypatch.setattr(kea_control, "QUICK_S", 0.3)
    site.serve(desired(scope()))
    first, pid = site.lease(1).address, site.pid()
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: "does not answer within 0.3 s" in "".join(said(site)), "it is said")
    wait_until(lambda: site.fleet.servers() and site.pid() != pid, "another Kea", 60)
    assert site.again(1).address == first
    wait_until(lambda: said(site) == [], "all well")


def test_hanging_while_the_gateway_was_away_it_is_replaced_too(site, monkeypatch):
    monkeypatch.setattr(kea_control, "QUICK_S", 0.3)
    site.serve(desired(scope()))
    first, pid = site.lease(1).address, site.pid()
    site.fleet.close()
    os.kill(pid, signal.SIGSTOP)
    site.begin()
    site.follow(desired(scope()))
    wait_until(lambda: site.fleet.servers() and site.pid() != pid, "another Kea", 60)
    assert site.again(1).address == first


def test_one_that_hangs_holds_up_no_other(site):
    site.serve(desired(scope(), scope("lan2", "t2")))
    os.kill(site.pid("t1"), signal.SIGSTOP)
    new = scope("lan2", "t2", first="192.168.1.50", last="192.168.1.59")
    site.follow(desired(scope(), new))
    wait_until(lambda: (a := site.lease(9, "t2")) and a.address == "192.168.1.50", "t2 changed")


def test_a_refused_configuration_changes_nothing_and_is_said(site):
    """Two ports of one address: our own rules refuse that, and Kea does, who is asked here."""
    site.serve(desired(scope()))
    first, pid = site.lease(1).address, site.pid()
    twice = (
        port("p1", "192.168.1.9"),
        msgspec.structs.replace(port("p2", "192.168.1.9"), mac="06:00:00:00:09:09"),
    )
    changed = scope(first="192.168.1.150")
    site.settle(desired(changed, ports=twice))
    [text] = said(site)
    assert text.startswith("DHCP server of VRF t1: refused config-test: ")
    assert "192.168.1.9" in text
    assert site.lease(1).address == first
    assert site.lease(2).address == "192.168.1.101"
    site.serve(desired(changed))
    assert site.lease(3).address == "192.168.1.150"
    assert site.pid() == pid


def test_a_configuration_refused_late_does_not_leave_it_deaf(site, monkeypatch):
    """config-test does not open the lease file, config-set does, and closes the sockets before."""
    site.serve(desired(scope()))
    first, pid = site.lease(1).address, site.pid()
    monkeypatch.setattr(kea_files, "lost", lambda _: False)
    monkeypatch.setattr(dhcp.Place, "leases", property(lambda place: place.own / "no" / "leases"))
    site.settle(desired(scope(lease_s=7200)))
    assert "refused config-set: Unable to open database" in said(site)[0]
    monkeypatch.undo()
    assert site.pid() != pid
    assert site.lease(1).address == first
    site.serve(desired(scope(lease_s=600)))
    assert site.lease(1).address == first


def test_what_somebody_else_configured_is_put_right(site, monkeypatch):
    monkeypatch.setattr(kea_keeper, "OTHERS_S", 0.5)
    site.serve(desired(scope()))
    control = site.fleet.keepers["t1"].control
    document = control.ask("config-get")
    document.pop("hash", None)
    document["Dhcp4"]["subnet4"] = []
    document["Dhcp4"]["user-context"] = {}
    wait_until(lambda: control.ask("status-get")["reload"] >= 2, "time passes")
    control.ask("config-set", document)
    wait_until(lambda: control.ask("config-get")["Dhcp4"]["subnet4"], "it is as desired again")
    assert site.lease(1).kind == ACK


@pytest.fixture
def small(site):
    """The site's folder on a disk of 6 MiB."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", site.folder], check=True)
    site.folder.chmod(0o755)
    yield site
    subprocess.run(["umount", "-l", site.folder], check=True)


def test_on_a_full_disk_clients_are_told_nothing_rather_than_no(small):
    """Kea refuses a renewal that it cannot write (DHCPNAK): the client would lose its address."""
    small.serve(desired(scope()))
    where, first = small.server(), small.lease(1).address
    filler = small.folder / "filler"
    filler.write_bytes(bytes(kea_files.ROOM_LEAST))
    wait_until(lambda: "its disk is full; make room" in "".join(said(small)), "it is said")
    assert small.fleet.servers() == {}
    assert small.relay.ask(where, REQUEST, 1, LINK, wait_s=0.2, ciaddr=first) is None
    filler.unlink()
    assert small.again(1).address == first
    assert small.lease(2).address != first


def test_a_torn_last_line_costs_that_line_alone(site):
    """As a full disk or a power cut leaves it."""
    site.serve(desired(scope()))
    first = site.lease(1).address
    site.fleet.close()
    site.kill()
    path = site.folder / "t1" / "leases.csv"
    path.write_text(path.read_text() + "192.168.1.163,06:00:00:0")
    site.begin()
    site.serve(desired(scope()))
    second = site.lease(2).address
    site.kill()
    assert (site.again(1).address, site.again(2).address) == (first, second)


def test_a_lease_file_that_is_removed_is_told_and_written_anew(site, caplog):
    site.serve(desired(scope()))
    first, pid = site.lease(1).address, site.pid()
    leases = site.folder / "t1" / "leases.csv"
    leases.unlink()
    with pytest.raises(BackendError, match="is gone"):
        site.fleet.commit("t1")
    wait_until(lambda: leases.exists() and site.pid() != pid, "another Kea", 60)
    assert site.again(1).address == first
    site.fleet.commit("t1")
    site.well()
    assert first in leases.read_text()


def test_what_it_took_is_an_error_until_the_next_start_would_begin_with_it(site):
    site.serve(desired(scope()))
    keeper, place = site.fleet.keepers["t1"], dhcp.Place(site.folder, "t1")
    obstacle = place.config.with_suffix(".new")
    obstacle.mkdir()
    site.settle(desired(scope(lease_s=7200)))
    wait_until(lambda: keeper._failures > 3, "it was tried again and again")
    assert f"file {place.config}: Is a directory" in said(site)[0]
    obstacle.rmdir()
    site.well()
    assert kea_files.accepted(place) == digest(keeper.control.ask("config-get"))
    site.kill()
    assert site.again(1).options[51] == (7200).to_bytes(4, "big")


def test_leases_outlive_kea_and_gateway_in_any_order(site):
    state = desired(scope())
    site.serve(state)
    first, pid = site.lease(1).address, site.pid()

    site.fleet.close()  # the gateway alone: Kea goes on, and is taken over
    site.begin()
    site.serve(state)
    assert site.pid() == pid
    assert site.lease(1).address == first

    site.fleet.close()  # the gateway, then Kea
    site.kill()
    site.begin()
    site.serve(state)
    assert site.lease(1).address == first

    site.kill()  # Kea, then the gateway
    site.fleet.close()
    site.begin()
    site.serve(state)
    assert site.lease(1).address == first
    assert len(keas(site.folder)) == 1
    assert site.lease(2).address != first


def test_one_that_answers_to_another_port_is_started_anew(site):
    """The relay could not have the port it had before."""
    site.serve(desired(scope()))
    first, pid = site.lease(1).address, site.pid()
    site.fleet.close()
    site.relay = dhcp.Relay(site.space)
    site.begin()
    site.serve(desired(scope()))
    assert site.pid() != pid
    assert site.lease(1).address == first


def test_a_vrf_without_scopes_has_no_kea_and_keeps_its_leases(site):
    both = desired(scope(), scope("lan2", "t2"))
    site.serve(both)
    first = site.lease(1, "t2").address
    site.serve(desired(scope()))
    wait_until(lambda: len(keas(site.folder)) == 1, "one Kea")
    site.serve(both)
    assert site.lease(1, "t2").address == first
    site.fleet.close()
    site.begin()  # and the VRF went while no gateway ran
    site.serve(desired(scope()))
    wait_until(lambda: len(keas(site.folder)) == 1, "one Kea")


def test_an_exhausted_pool_names_its_segment(site, caplog):
    site.serve(desired(scope(last="192.168.1.100")))
    site.lease(1)
    assert site.lease(2, wait_s=0.2) is None
    text = "segment web of VRF t1 has no address left for a client"
    wait_until(lambda: text in caplog.text, "it is said")
    assert site.fleet.exhausted() == {"web": 1}


CLOCK = Path(HOOKS).parents[1] / "faketime" / "libfaketimeMT.so.1"


@pytest.fixture
def fake():
    """A Kea whose clock on the wall is what a file says; see faketime(1)."""
    folder = Path(tempfile.mkdtemp(prefix="pcg-clock-"))
    folder.chmod(0o755)
    kea, clock = folder / "kea", folder / "clock"
    more = f"FAKETIME_TIMESTAMP_FILE={clock} FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1"
    kea.write_text(f'#!/bin/sh\nLD_PRELOAD={CLOCK} {more} exec {Dhcp().kea} "$@"\n')
    kea.chmod(0o755)
    clock.write_text("+0\n")
    made = dhcp.Site(kea=str(kea))
    made.clock = clock
    yield made
    made.close()
    shutil.rmtree(folder)


def test_a_clock_that_leaps_ends_no_lease(fake, monkeypatch, caplog):
    """Kea by itself would give the address to the next who asks."""
    fake.serve(desired(scope(last="192.168.1.101", lease_s=3600)))
    first = fake.lease(1).address
    [before] = fake.fleet.leases("t1")
    fake.clock.write_text("+7200\n")
    real = kea_keeper.ahead
    monkeypatch.setattr(kea_keeper, "ahead", lambda: real() + 7200)
    text = "the clock leapt 7200 s forward; 1 leases were moved with it"
    wait_until(lambda: text in caplog.text, "it is noticed")
    [after] = fake.fleet.leases("t1")
    assert abs(after.expires - before.expires - 7200) <= 1
    assert fake.lease(2).address == "192.168.1.101"
    assert fake.lease(3, wait_s=0.2) is None
    assert fake.lease(1).address == first


def test_a_clock_that_is_set_back_takes_no_lease(fake):
    fake.serve(desired(scope(last="192.168.1.100", lease_s=3600)))
    first = fake.lease(1).address
    fake.clock.write_text("-7200\n")
    assert fake.lease(2, wait_s=0.2) is None
    assert fake.relay.ask(fake.server(), REQUEST, 1, LINK, ciaddr=first).kind == ACK
    fake.serve(desired(scope(last="192.168.1.101", lease_s=3600)))
    assert fake.lease(2).address == "192.168.1.101"


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"kea": "/nowhere/kea"}, "there is no program /nowhere/kea; install the Debian package"),
        ({"user": "nobody-at-all"}, "there is no user nobody-at-all"),
        ({"kea": "/bin/false"}, "ended with code 1 while it began"),
    ],
)
def test_what_keeps_it_from_starting_is_said(wrong, text):
    site = dhcp.Site(**wrong)
    try:
        site.settle(desired(scope()))
        assert text in said(site)[0]
        assert site.fleet.servers() == {}
    finally:
        site.close()


def test_a_thousand_scopes_and_a_change_of_all(site):
    """How long it takes is measured by hand: docs/dhcp.md."""

    def many(last: int):
        spans = [(n, f"10.{n >> 8}.{n & 255}") for n in range(1000)]
        made = tuple(
            segment(f"s{n}", "t1", 10_000 + n, f"{net}.0/24", dhcp=f"c{n}") for n, net in spans
        )
        pools = [(AddressRange(first=f"{net}.10", last=f"{net}.{last}"),) for _, net in spans]
        scopes = tuple(scope(f"c{n}") for n, _ in spans)
        scopes = tuple(
            msgspec.structs.replace(s, pools=p) for s, p in zip(scopes, pools, strict=True)
        )
        return msgspec.structs.replace(desired(), segments=made, dhcp=scopes)

    site.serve(many(10))
    assert site.relay.lease(site.server(), 1, "10.3.231.1").address == "10.3.231.10"
    site.serve(many(20))
    assert site.relay.lease(site.server(), 2, "10.3.231.1").address == "10.3.231.11"
    assert (
        socket.inet_aton("10.3.231.1")
        == site.relay.lease(site.server(), 2, "10.3.231.1").options[3]
    )
