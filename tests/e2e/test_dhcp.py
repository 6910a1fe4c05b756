"""DHCP when things go wrong: real clients in the lab, engines and programs killed under them."""

import itertools
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from pcg.lab import flows, ns
from pcg.lab.capture import Capture
from pcg.lab.checks.dhcp import leased
from pcg.lab.clients import Ping, curl
from pcg.lab.dhcp_clients import DhcpClient
from pcg.lab.frames import OPTION, send
from pcg.lab.lab import Lab
from pcg.lab.layout import HTTP, INTERNET, PCG_MACS, STRANGER
from pcg.model.desired import Desired
from pcg.model.dhcp import AddressRange
from tests.waiting import wait_until

FLOOD = 3000  # messages, as fast as they go
EXPIRY_S = 60  # the shortest lease there is
UDP_PORT_AT = 58 + 14 + 20 + 3  # low byte of the inner destination port, in a frame of the underlay


def engines(lab: Lab) -> list[int]:
    """Process ids of the Keas, one for each VRF with a scope."""
    return [pid for pid in ns.pids(lab.layout.ns("pcg")) if name(pid) == "kea-dhcp4"]


def name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def kill_engines(lab: Lab) -> None:
    for pid in engines(lab):
        os.kill(pid, signal.SIGKILL)


def restart(lab: Lab, what: str) -> None:
    if what == "kea":
        kill_engines(lab)  # the gateway starts them again
    else:
        lab.restart(what)


def addresses(lab: Lab) -> dict[str, str]:
    return {row["port"]: row["address"] for row in lab.ask.show("leases")}


def page(lab: Lab, port: str) -> str:
    return curl(lab.layout.workload_ns(port), f"http://{INTERNET}:{HTTP}/")


def renewed(lab: Lab, port: str) -> str:
    """The address that the client is given when it asks for its own again."""
    client = lab.clients[port]
    before = client.events()
    client.renew()
    return client.wait_leased(before, limit_s=40)["ip"]


@pytest.fixture
def told(lab: Lab) -> dict[str, str]:
    """Port -> address that it was leased."""
    return {port: lease["ip"] for port, lease in leased(lab).items()}


@pytest.fixture
def restored(lab: Lab) -> Iterator[None]:
    """The desired state is the same afterwards, and in force."""
    before = lab.desired
    yield
    lab.publish(lambda _: before)
    lab.wait_settled()


def test_engines_killed_while_a_client_renews(lab: Lab, told):
    kill_engines(lab)
    assert renewed(lab, "web2") == told["web2"]
    wait_until(lambda: len(engines(lab)) == 2, "both engines again")
    assert addresses(lab) == told


def test_others_forward_while_engines_die(lab: Lab, told):
    with Ping(lab.layout.workload_ns("t2-web1"), INTERNET) as ping:
        kill_engines(lab)
        assert renewed(lab, "web2") == told["web2"]
        wait_until(lambda: ping.answered() > 20, "pings")
    assert not ping.lost


@pytest.mark.parametrize(
    "order", list(itertools.permutations(("kea", "gateway", "datapath"))), ids="-".join
)
def test_leases_survive_restarts_in_any_order(lab: Lab, told, order):
    for what in order:
        restart(lab, what)
    lab.wait_settled()
    wait_until(lambda: addresses(lab) == told, "the leases")
    for port in told:
        wait_until(lambda port=port: answers(lab, port), f"a page for {port}")
    assert renewed(lab, "web2") == told["web2"]


def answers(lab: Lab, port: str) -> bool:
    try:
        return page(lab, port) == "a page\n"
    except ns.CommandError:
        return False


def discover(
    lab: Lab, xid: int, chaddr: str = "", giaddr: str = "0.0.0.0", sport: int = 68
) -> bytes:
    """Of the probe's port on segment web, as it stands on the underlay."""
    port = lab.layout.port("probe-web")
    raw = bytes.fromhex((chaddr or port.mac).replace(":", ""))
    inner = (
        Ether(src=port.mac, dst="ff:ff:ff:ff:ff:ff")
        / IP(src="0.0.0.0", dst="255.255.255.255")
        / UDP(sport=sport, dport=67)
        / BOOTP(chaddr=raw, xid=xid, giaddr=giaddr)
        / DHCP(options=[("message-type", "discover"), "end"])
    )
    vni = lab.layout.segment("web").vni
    header = bytes([len(OPTION) // 4, 0x40, 0x65, 0x58]) + (vni << 8).to_bytes(4) + OPTION
    outer = IP(src=port.tep, dst=lab.desired.gateway.tep, flags="DF")
    ether = Ether(src=STRANGER[1], dst=PCG_MACS["down0"])
    return bytes(ether / outer / UDP(sport=40000, dport=6081) / (header + bytes(inner)))


def test_a_flood_from_one_port_leaves_others_unaffected(lab: Lab, told):
    before = lab.ask.drops().get("DHCP_RATE_PORT", 0)
    half = [discover(lab, xid) for xid in range(10)] * (FLOOD // 20)
    send(lab.layout, *half)
    assert renewed(lab, "web2") == told["web2"]
    send(lab.layout, *half)

    def dropped() -> int:
        return lab.ask.drops().get("DHCP_RATE_PORT", 0) - before

    wait_until(lambda: dropped() > FLOOD // 2, "the flood being counted")
    assert addresses(lab) == told


@pytest.mark.parametrize(
    "reason, wrong",
    [
        ("DHCP_SPOOFED", {"chaddr": "06:17:1e:00:06:02"}),
        ("DHCP_RELAYED", {"giaddr": "10.0.0.1"}),
        ("DHCP_SERVER", {"sport": 67}),
    ],
)
def test_what_a_workload_must_not_say(lab: Lab, told, reason, wrong):
    before = lab.ask.drops().get(reason, 0)
    send(lab.layout, discover(lab, 1, **wrong))
    wait_until(lambda: lab.ask.drops().get(reason, 0) == before + 1, reason)
    assert addresses(lab) == told


def narrowed(address: str):
    """The pool of `web` is this one address."""

    def change(desired: Desired) -> Desired:
        pool = (AddressRange(first=address, last=address),)
        scopes = tuple(
            replace(s, pools=pool, exclusions=()) if s.id == "web" else s for s in desired.dhcp
        )
        ports = tuple(replace(p, addresses=()) if p.id == "probe-web" else p for p in desired.ports)
        return replace(desired, dhcp=scopes, ports=ports)

    return change


def test_an_exhausted_pool_is_an_event_that_names_the_segment(lab: Lab, told, restored):
    log = lab.layout.run / "gateway.log"
    said = len(log.read_text())
    lab.publish(narrowed(told["web2"]))
    lab.wait_settled()

    def event() -> list[str]:
        send(lab.layout, discover(lab, 7))
        lines = log.read_text()[said:].splitlines()
        return [line for line in lines if "web" in line and "pool" in line]

    (line, *_) = wait_until(event, "the event", 20)
    assert "segment" in line


def shortened(desired: Desired) -> Desired:
    return replace(desired, dhcp=tuple(replace(s, lease_s=EXPIRY_S) for s in desired.dhcp))


def rebooted(client: DhcpClient) -> str:
    """The address it is given when it asks for what it had."""
    before = client.events()
    client.kill()
    client.start()
    return client.wait_leased(before)["ip"]


def test_in_a_minute_one_lease_is_renewed_one_rebound_and_one_ends(lab: Lab, told, restored):
    """The client of t2-web2 renews at half of the time by itself, that of legacy2 is killed.

    RFC 2131 section 4.4.5: whose server does not answer asks everybody, in its own name. The host
    of web2 loses what it says to the gateway alone; what it says to all is answered."""
    renewing, rebinding, ending = (lab.clients[port] for port in ("t2-web2", "web2", "legacy2"))
    mac, gateway = lab.layout.port("web2").mac, lab.layout.segment("web").gateway
    unicast = f"table=0,priority=99,in_port={flows.WORKLOAD},udp,tp_dst=67,nw_dst={gateway}"
    lab.publish(shortened)
    lab.wait_settled()
    assert rebooted(renewing) == told["t2-web2"]
    assert renewed(lab, "web2") == told["web2"]
    assert rebooted(ending) == told["legacy2"]
    ending.kill()
    of_renewing, of_rebinding = renewing.events(), rebinding.events()
    lab.hosts["h6"].ofctl("add-flow", "nsx-managed", f"{unicast},actions=drop")
    with Capture(lab.layout.ns("vpc"), "pcg", only=(UDP_PORT_AT, 67)) as wire:
        again = rebinding.wait_leased(of_rebinding, limit_s=EXPIRY_S + 20)
    assert again["ip"] == told["web2"]
    asked = [p.inner for p in wire.overlay() if BOOTP in p.inner and p.inner.src == mac]
    assert {(p[IP].dst, p[BOOTP].ciaddr) for p in asked} == {("255.255.255.255", told["web2"])}
    wait_until(lambda: "legacy2" not in addresses(lab), "the end of legacy2's lease", 90)
    assert renewing.wait_leased(of_renewing)["ip"] == told["t2-web2"]
    assert addresses(lab) == {k: v for k, v in told.items() if k != "legacy2"}
    before = ending.events()
    ending.start()
    assert ending.wait_leased(before)["ip"]
    leased(lab)  # and the host of web2 has its own flows again


def test_an_address_that_somebody_uses_is_declined(lab: Lab, told):
    """RFC 2131 section 3.1 step 5: the client probes, is answered, and takes another."""
    client, host, port = lab.clients["legacy2"], lab.hosts["h8"], lab.layout.port("legacy2")
    client.kill()
    for lease in client.folder.glob("*.lease"):  # a workload made anew has neither
        lease.unlink()
    ns.ip("addr flush dev nsx-eth0", client.space)
    answer = flows.arp_answer("06:17:1e:00:99:99", told["legacy2"])
    guard = f"table=0,priority=99,arp,in_port={flows.WORKLOAD},arp_op=1,arp_tpa={told['legacy2']}"
    host.ofctl("add-flow", "nsx-managed", f"{guard},actions={answer}")
    before = client.events()
    client.start()
    other = client.wait_leased(before, limit_s=60)["ip"]
    assert other != told["legacy2"]
    leased(lab)
    assert page(lab, "legacy2") == "a page\n"
    assert port.mac in {row["mac"] for row in lab.ask.show("leases")}
