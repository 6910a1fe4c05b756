"""drivers/nft.py on the kernel: ours replaced whole, others' untouched, meddling seen."""

import json
import os
import socket
import sys

import pytest

from pcg.drivers import nft_counters, stack_counters
from pcg.drivers.nft import Nft
from pcg.drivers.nft_rules import COUNTERS, SERVICES
from pcg.model.errors import BackendError
from pcg.reconcile.host import Steering
from tests.waiting import wait_until

STEERING = Steering(
    uplink="up0",
    downlink="down0",
    management="mgmt0",
    tep="10.0.2.10",
    kept=("10.0.0.10", "10.0.1.10", "10.0.2.10"),
    owned=("10.0.1.0/28", "192.168.2.0/24"),  # covers our primary address, which stays ours
)
SSH = SERVICES["management"][0]


@pytest.fixture
def nft(inside):
    """Applied in the gateway's namespace; interfaces have their addresses."""
    for name, net in (("up0", 1), ("down0", 2), ("mgmt0", 0)):
        inside.gw.run(f"ip link set {name} mtu 9001 up; ip addr add 10.0.{net}.10/24 dev {name}")
    made = Nft()
    made.apply(STEERING)
    return made


def test_applied_is_held_and_a_new_process_knows_it(nft):
    assert nft.holds(STEERING)
    assert Nft().holds(STEERING)
    assert not nft.holds(STEERING._replace(tep="10.0.2.11"))


def test_before_the_first_time_there_is_nothing(inside):
    nft = Nft()
    assert not nft.exists()
    assert not nft.holds(STEERING)


def test_tables_of_others_stay_as_they_are(nft, inside):
    inside.gw.run(
        "nft add table inet filter; nft add chain inet filter pcg;"
        "nft add rule inet filter pcg tcp dport 99 drop; nft add table ip pcg"
    )
    before = [inside.gw.run(f"nft -a list table {t}") for t in ("inet filter", "ip pcg")]
    nft.apply(STEERING._replace(owned=()))
    nft.clear()
    assert [inside.gw.run(f"nft -a list table {t}") for t in ("inet filter", "ip pcg")] == before
    assert not nft.exists()


def test_replaced_whole_or_not_at_all(nft, inside):
    before = inside.gw.run("nft -a list ruleset")
    with pytest.raises(BackendError, match="nftables"):
        nft.apply(STEERING._replace(tep="no address"))
    assert inside.gw.run("nft -a list ruleset") == before
    assert nft.holds(STEERING)


MEDDLING = [
    "nft flush chain inet pcg input",
    "nft add rule inet pcg input accept",
    "nft insert rule inet pcg input accept",
    "nft delete table netdev pcg",
    "nft delete table inet pcg",
    "nft delete element netdev pcg owned '{ 192.168.2.0/24 }'",
    "nft add element netdev pcg kept '{ 192.168.2.9 }'",
    "nft chain inet pcg input '{ policy accept; }'",
    "nft flush chain inet pcg stamp",
    "nft add chain inet pcg another",
]


@pytest.mark.parametrize("command", MEDDLING)
def test_meddling_is_seen_and_repaired(nft, inside, command):
    inside.gw.run(command)
    assert not nft.holds(STEERING)
    nft.apply(STEERING)
    assert nft.holds(STEERING)


def test_counting_is_no_meddling(nft, inside):
    inside.peer.run("ping -c 1 -W 1 10.0.1.10")
    inside.peer.works("ping -c 1 -W 1 -I u1 10.0.1.5")
    assert nft.holds(STEERING)


def test_host_firewall_alone_needs_no_interface(inside):
    steering = STEERING._replace(uplink="up9", ingress=False)
    nft = Nft()
    nft.apply(steering)
    assert nft.holds(steering)
    assert not nft.holds(steering._replace(ingress=True))
    assert "policy drop" in inside.gw.run("nft list chain inet pcg input")


def test_many_owned_addresses(nft):
    owned = tuple(f"10.{100 + i // 65536}.{i // 256 % 256}.{i % 256}/32" for i in range(1, 9000, 2))
    nft.apply(STEERING._replace(owned=owned))
    assert nft.holds(STEERING._replace(owned=owned))


# ---- what that does to packets ----


def dropped(wires, chain: str) -> int:
    """Packets that our ingress rules of one chain kept from the kernel."""
    with wires.gw.inside():
        counts = nft_counters.read()
    kept = {name for name, counter in COUNTERS.items() if not counter.ends}
    return sum(n for name, n in counts.items() if name in kept and name.startswith(f"{chain}_"))


def send_udp(wires, to: tuple[str, int], size: int = 100) -> None:
    with wires.peer.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(bytes(size), to)


def test_tunnel_and_its_fragments_end_before_the_kernel(nft, inside):
    send_udp(inside, ("10.0.2.10", 6081), 20_000)  # three fragments at MTU 9001
    wait_until(lambda: dropped(inside, "downlink") == 3, "all three fragments dropped")
    send_udp(inside, ("10.0.2.10", 6082))
    assert inside.peer.works("ping -c 1 -W 2 10.0.2.10")
    assert dropped(inside, "downlink") == 3


def test_a_tap_sees_what_the_kernel_does_not(nft, inside):
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as tap:
        tap.bind(("down0", 3))
        tap.settimeout(5)
        send_udp(inside, ("10.0.2.10", 6081))
        wanted = (6081).to_bytes(2, "big")
        wait_until(lambda: tap.recv(2000)[36:38] == wanted, "the tunnel's frame on the tap")
    wait_until(lambda: dropped(inside, "downlink") == 1, "and dropped behind it")


def test_arp_for_owned_is_not_answered_even_if_the_kernel_has_the_address(nft, inside):
    inside.gw.run("ip addr add 10.0.1.5/32 dev up0")
    assert not inside.peer.works("ping -c 1 -W 1 10.0.1.5")
    assert "10.0.1.5" not in inside.peer.run("ip neigh show nud reachable")
    assert dropped(inside, "uplink") >= 1


def test_primary_address_stays_the_kernels_though_an_owned_prefix_covers_it(nft, inside):
    assert inside.peer.works("ping -c 1 -W 2 10.0.1.10")


def frames_to(wires, device: str, mac: str, *packets) -> None:
    from scapy.layers.l2 import Ether

    frames = [bytes(Ether(src="02:00:00:00:00:77", dst=mac) / packet) for packet in packets]
    with wires.peer.inside(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.bind((device, 0))
        for frame in frames:
            sock.send(frame)


def test_what_is_nobodys_is_counted_and_the_kernel_says_the_same(nft, inside):
    """Addresses neither taken nor kept, and IPv6; not what is for many, nor for others' MACs."""
    from scapy.layers.inet import IP, UDP
    from scapy.layers.inet6 import IPv6

    with inside.gw.inside():
        before = stack_counters.read()
    for device, taken, net in (("u1", "up0", 1), ("d1", "down0", 2)):
        (link,) = json.loads(inside.gw.run(f"ip -json link show {taken}"))
        mac = link["address"]
        strange = [IP(src=f"10.0.{net}.1", dst=f"10.0.{net}.99") / UDP()] * 5
        v6 = [IPv6(src="2001:db8::1", dst="2001:db8::2") / UDP()] * 3
        ours = [IP(src=f"10.0.{net}.1", dst=f"10.0.{net}.10") / UDP(dport=9)]
        many = [IP(dst="224.0.0.9") / UDP(), IP(dst="255.255.255.255") / UDP()]
        frames_to(inside, device, mac, *strange, *v6, *ours, *many)
        frames_to(inside, device, "02:00:00:00:00:99", *strange, *v6)

    def counted() -> dict[str, int]:
        with inside.gw.inside():
            return nft_counters.read()

    wanted = {"uplink_not_owned": 5, "downlink_not_owned": 5, "uplink_ipv6": 3, "downlink_ipv6": 3}
    wait_until(lambda: wanted.items() <= counted().items(), "all of them counted")
    assert dropped(inside, "uplink") == dropped(inside, "downlink") == 0
    with inside.gw.inside():
        grown = {n: v - before[n] for n, v in stack_counters.read().items() if v != before[n]}
    assert grown["IpInAddrErrors"] == 10


def listener(address: str, port: int) -> socket.socket:
    sock = socket.create_server((address, port))
    sock.setblocking(False)
    return sock


def connects(wires, address: str, port: int) -> str:
    with wires.peer.inside(), socket.socket() as sock:
        sock.settimeout(1)
        try:
            sock.connect((address, port))
        except TimeoutError:
            return "silence"
        except ConnectionRefusedError:
            return "refused"
        return "connected"


def test_management_serves_ssh_and_the_others_are_silent(nft, inside):
    with listener("0.0.0.0", SSH):
        assert connects(inside, "10.0.0.10", SSH) == "connected"
        assert connects(inside, "10.0.1.10", SSH) == "silence"
        assert connects(inside, "10.0.2.10", SSH) == "silence"


def test_closed_port_is_silent_too_and_counted(nft, inside):
    assert connects(inside, "10.0.0.10", SSH + 1) == "silence"
    assert connects(inside, "10.0.1.10", SSH) == "silence"
    counts = nft_counters.read()
    assert counts["input_management"] >= 1  # the kernel may have sent its SYN again
    assert counts["input_uplink"] >= 1
    assert (counts["input_downlink"], counts["input_other"]) == (0, 0)
    assert counts.keys() == COUNTERS.keys()


def test_metrics_are_served_on_management_alone(nft, inside):
    steering = STEERING._replace(metrics=9464)
    nft.apply(steering)
    assert nft.holds(steering)
    with listener("0.0.0.0", 9464):
        assert connects(inside, "10.0.0.10", 9464) == "connected"
        assert connects(inside, "10.0.1.10", 9464) == "silence"


def test_counters_of_others_are_not_ours(nft, inside):
    inside.gw.run(
        "nft add table inet other; nft add counter inet other input_uplink '{ packets 7 bytes 9 }'"
    )
    assert nft_counters.read()["input_uplink"] == 0


def test_counting_without_permission_is_an_error(inside):
    assert unprivileged(nft_counters.read) == "nftables counters: Operation not permitted"


def test_without_tables_nothing_is_counted(inside):
    assert nft_counters.read() == {}


def test_our_own_connections_get_their_answers(nft, inside):
    with inside.peer.inside():
        server = listener("10.0.0.1", 5550)
    with server, socket.create_connection(("10.0.0.1", 5550), timeout=2):
        pass


# ---- when it cannot ----


def unprivileged(call) -> str:
    """What `call` says when it runs without any right."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            call()
            said = "nothing"
        except BackendError as e:
            said = str(e)
        except BaseException as e:  # a child that returned would run pytest on
            said = repr(e)
        os.write(write_end, said.encode())
        os._exit(0)
    os.close(write_end)
    with open(read_end, "rb") as answer:
        said = answer.read().decode()
    os.waitpid(pid, 0)
    return said


def test_no_permission_is_one_clear_message(inside):
    assert unprivileged(lambda: Nft().apply(STEERING)) == (
        "nftables: no permission; run as root or give CAP_NET_ADMIN"
    )


def test_missing_binding_names_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "nftables", None)  # importing it fails
    with pytest.raises(BackendError, match="binding is missing; install .* pip-nftables"):
        Nft().exists()


def test_missing_library_names_the_debian_package(monkeypatch):
    import nftables

    def absent(*_):
        raise OSError("libnftables.so.1: cannot open shared object file")

    monkeypatch.setattr(nftables, "Nftables", absent)
    with pytest.raises(BackendError, match="Debian package libnftables1"):
        Nft().exists()
