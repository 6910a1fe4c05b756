"""DHCP the whole way: workload, tunnel, datapath, relay, Kea, and back. workload.py draws it.

Named after the sections of RFC 2131 that ask for it. What is decided about single messages, and
about bad ones, is in tests/unit/proto/test_relay.py and tests/c/test_dhcp.py.
"""

import json
import signal
from pathlib import Path

import pytest

from tests.netns.dhcp import keas
from tests.netns.workload import (
    ALL,
    EVERYBODY,
    GATEWAY,
    GATEWAY_MAC,
    SERVED,
    Site,
    Workload,
    change,
)
from tests.waiting import wait_until

pytestmark = [pytest.mark.usefixtures("built"), pytest.mark.timeout(240)]
TO_GATEWAY = {"dst": GATEWAY, "to": GATEWAY_MAC}


@pytest.fixture
def bare(wires, tmp_path):
    made = Site(wires, tmp_path)
    yield made
    made.close()


@pytest.fixture
def site(bare):
    bare.start()
    return bare


def test_rfc2131_3_1_a_workload_without_address_gets_one_and_may_use_it_from_then_on(site):
    """RFC 2131 section 3.1."""
    vm = Workload(site, "vm-1")
    offer = vm.ask("discover")
    assert not vm.pings(offer.address, deadline_s=0.5)
    ack = vm.lease()
    assert vm.pings(ack.address)
    assert site.programmed() == {(101, ack.address)}
    (lease,) = site.leases().values()
    assert (lease["port"], lease["segment"], lease["address"]) == ("vm-1", "web", ack.address)
    # RFC 2131 section 4.1 and table 3
    assert ack.where == (vm.mac, ack.address)
    assert (ack.frame.src, ack.ip.src) == (GATEWAY_MAC, GATEWAY)
    assert (ack.bootp.hops, ack.bootp.giaddr) == (0, "0.0.0.0")
    assert ack.options["server_id"] == GATEWAY
    assert ack.options["router"] == GATEWAY
    assert ack.options["name_server"] == "10.9.9.9"
    assert "relay_agent_information" not in ack.options
    checked = ack.frame.__class__(bytes(ack.frame))
    sums = checked["IP"].chksum, checked["UDP"].chksum
    del checked["IP"].chksum, checked["UDP"].chksum
    again = checked.__class__(bytes(checked))
    assert (again["IP"].chksum, again["UDP"].chksum) == sums


def test_rfc2131_4_1_one_who_asks_for_broadcast_is_answered_so(site):
    """RFC 2131 section 4.1."""
    vm = Workload(site, "vm-1")
    assert vm.ask("discover", flags=0x8000).where == (ALL, EVERYBODY)


def test_rfc2131_4_4_5_renewing_is_unicast_both_ways_and_rebinding_is_answered_too(site):
    """RFC 2131 section 4.4.5."""
    vm = Workload(site, "vm-1")
    mine = vm.lease().address
    renewed = vm.ask("request", src=mine, ciaddr=mine, **TO_GATEWAY)
    assert (renewed.kind, renewed.address, renewed.where) == ("ack", mine, (vm.mac, mine))
    rebound = vm.ask("request", src=mine, ciaddr=mine)
    assert (rebound.kind, rebound.address, rebound.where) == ("ack", mine, (vm.mac, mine))


def test_rfc2131_4_3_2_a_rebooting_client_with_an_address_of_elsewhere_gets_a_nak(site):
    """RFC 2131 section 4.3.2."""
    vm = Workload(site, "vm-1")
    nak = vm.ask("request", ("requested_addr", "10.77.0.9"))
    assert (nak.kind, nak.where) == ("nak", (ALL, EVERYBODY))
    assert nak.options["server_id"] == GATEWAY
    mine = vm.lease().address
    assert vm.ask("request", ("requested_addr", mine)).kind == "ack"  # INIT-REBOOT, its own


def test_rfc2131_4_3_2_renewing_anothers_address_gets_a_nak_and_changes_nothing(site):
    """RFC 2131 section 4.3.2."""
    first, second = Workload(site, "vm-1"), Workload(site, "vm-2")
    mine = first.lease().address
    assert second.ask("request", ciaddr=mine).kind == "nak"
    assert first.pings(mine)
    assert site.leases()["t1", mine]["port"] == "vm-1"


def test_rfc2131_4_3_5_an_inform_is_answered_where_it_came_from_without_a_lease(site):
    """RFC 2131 section 4.3.5."""
    vm = Workload(site, "vm-1")
    mine = vm.lease().address
    told = vm.ask("inform", src=mine, ciaddr=mine)
    assert (told.kind, told.address, told.where) == ("ack", "0.0.0.0", (vm.mac, mine))
    assert told.bootp.ciaddr == mine
    assert "lease_time" not in told.options
    assert told.options["name_server"] == "10.9.9.9"


def test_rfc2131_4_4_6_released_it_may_not_be_used_and_is_anothers(site):
    """RFC 2131 section 4.4.6."""
    vm = Workload(site, "vm-1")
    mine = vm.lease().address
    vm.say("release", ("server_id", GATEWAY), src=mine, ciaddr=mine, **TO_GATEWAY)
    site.wait_nobodys()
    assert site.leases() == {}
    assert not vm.pings(mine, deadline_s=0.5)


def test_rfc2131_4_3_3_a_declined_address_is_nobodys_and_the_next_is_another(site):
    """RFC 2131 section 4.3.3."""
    vm = Workload(site, "vm-1")
    bad = vm.lease().address
    vm.say("decline", ("requested_addr", bad), ("server_id", GATEWAY))
    site.wait_nobodys()
    assert vm.lease().address != bad


def test_a_port_with_an_address_gets_that(site):
    ack = Workload(site, "web1").lease()
    assert ack.address == "192.168.1.8"
    assert site.programmed() == set()


def test_the_same_prefix_in_two_vrfs_is_served_in_both(site):
    here, there = Workload(site, "vm-1"), Workload(site, "twin-1")
    one, two = here.lease().address, there.lease().address
    assert {(101, one), (103, two)} == site.programmed()
    assert {key[0] for key in site.leases()} == {"t1", "t2"}
    assert here.pings(one)
    assert there.pings(two)


def test_an_exhausted_pool_is_told_by_the_name_of_its_segment(site):
    for n in range(1, 5):
        Workload(site, f"vm-{n}").lease()
    last = Workload(site, "vm-5")

    def told():
        last.say("discover")
        return "segment web of VRF t1 has no address left" in site.place.log()

    wait_until(told, "the event", 30)
    wait_until(
        lambda: "POOL_EXHAUSTED" in site.pcgctl("drops", "--over", "0"), "it is in the ledger", 30
    )
    site.pcgctl("dhcp", "release", "192.168.1.100")
    assert last.lease().address == "192.168.1.100"


def test_one_port_that_floods_does_not_keep_the_others_from_their_addresses(site):
    loud, quiet = Workload(site, "vm-1"), Workload(site, "vm-2")
    quiet.ask("discover")
    for _ in range(400):
        loud.say("discover")
    quiet.lease()
    assert site.drops()["DHCP_RATE_PORT"] > 100


def test_bad_messages_end_with_a_reason_and_serve_nobody(site):
    vm = Workload(site, "vm-1")
    vm.lease()
    vm.say("discover", hops=9)
    vm.say("discover", (82, b"\1\2ab"))
    vm.say("request", ("server_id", "10.1.1.1"))
    vm.say("discover", *((224, bytes(250)),) * 5)

    def counted():
        rows = json.loads(site.pcgctl("drops", "--json", "--over", "0"))
        return {r["reason"]: r for r in rows if r["source"] == "relay"}

    wanted = {"HOPS", "OPTION_82", "OTHER_SERVER", "OVERSIZED"}
    wait_until(lambda: wanted <= counted().keys(), "each has its reason", 20)
    assert counted()["HOPS"]["segment"] == "web"
    assert counted()["HOPS"]["means"]


def test_an_operator_sees_leases_and_takes_one_back(site):
    vm = Workload(site, "vm-1")
    mine = vm.lease().address
    assert mine in site.pcgctl("show", "leases")
    (row,) = json.loads(site.pcgctl("show", "leases", "--json"))
    assert (row["address"], row["port"], row["mac"]) == (mine, "vm-1", vm.mac)
    assert "vm-1" in site.pcgctl("dhcp", "release", mine)
    assert site.programmed() == set()
    assert "there is none" in site.pcgctl("dhcp", "release", mine, code=1)
    assert not vm.pings(mine, deadline_s=0.5)


def test_a_gateway_started_anew_takes_no_address_and_remembers_all(site):
    vm = Workload(site, "vm-1")
    mine = vm.lease().address
    before = site.leases()["t1", mine]
    site.place.end("gateway", signal.SIGKILL)
    site.place.start("gateway")
    site.ready()
    assert vm.pings(mine)
    wait_until(lambda: site.leases().get(("t1", mine), {}).get("expires"), "Kea's word for it", 30)
    after = site.leases()["t1", mine]
    assert after["port"] == before["port"]
    assert abs(after["expires"] - before["expires"]) < 5
    assert vm.ask("request", src=mine, ciaddr=mine, **TO_GATEWAY).kind == "ack"


def test_a_datapath_started_anew_has_the_leases_and_serves_on(site):
    vm = Workload(site, "vm-1")
    mine = vm.lease().address
    site.place.end("datapath", signal.SIGKILL)
    site.place.wait_failing("datapath")
    site.place.start("datapath")
    site.ready()
    assert vm.pings(mine)
    assert vm.ask("request", src=mine, ciaddr=mine, **TO_GATEWAY).kind == "ack"
    Workload(site, "vm-2").lease()


def test_all_of_them_started_anew_at_once_the_lease_is_still_the_workloads(site):
    vm = Workload(site, "vm-1")
    mine = vm.lease().address
    for program in ("gateway", "datapath"):
        site.place.end(program, signal.SIGKILL)
    for process in keas(site.engines):
        site.wires.gw.run(f"kill -9 {process}")
    site.place.start("datapath", "gateway")
    site.ready()
    assert vm.ask("request", src=mine, ciaddr=mine).address == mine
    assert vm.pings(mine)


def test_kea_killed_between_offer_and_request_is_served_by_the_next_one(site):
    vm = Workload(site, "vm-1")
    offer = vm.ask("discover")
    for process in keas(site.engines):
        site.wires.gw.run(f"kill -9 {process}")
    wanted = ("requested_addr", offer.address), ("server_id", GATEWAY)
    assert vm.ask("request", *wanted).address == offer.address


def test_a_kea_that_hangs_keeps_only_its_own_vrf_waiting(site):
    vm, twin = Workload(site, "vm-1"), Workload(site, "twin-1")
    mine = vm.lease().address
    stopped = [p for p in keas(site.engines) if serves(p, "t1")]
    assert stopped
    for process in stopped:
        site.wires.gw.run(f"kill -STOP {process}")
    twin.lease()
    assert vm.pings(mine)
    # It is ended and started anew; who renews is served again, with the same address.
    assert vm.ask("request", src=mine, ciaddr=mine, **TO_GATEWAY).address == mine


def serves(process: int, vrf: str) -> bool:
    return f"_config/{vrf}.json".encode() in Path(f"/proc/{process}/cmdline").read_bytes()


def test_a_port_that_was_removed_while_the_gateway_was_away_has_no_address(site):
    vm = Workload(site, "vm-1")
    mine = vm.lease().address
    site.place.end("gateway", signal.SIGTERM)
    fewer = tuple(p for p in SERVED.ports if p.id != "vm-1")
    site.place.save(change(SERVED, ports=fewer))
    site.place.start("gateway")
    site.wait_nobodys()
    assert not vm.pings(mine, deadline_s=0.5)
