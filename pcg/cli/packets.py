"""One packet built from words, as a workload's host or the uplink's router would send it."""

from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

from pcg.cli.inner import Wanted, inner
from pcg.cli.kinds import GENEVE_PORT
from pcg.cli.look import Look
from pcg.model.errors import BackendError

OPTION_CLASS, OPTION_TYPE = 0x0104, 0x80  # DESIGN section 7; type 0x80: critical
ETHERNET = 0x6558
NOBODY, EVERYBODY, ALL_MACS = "0.0.0.0", "255.255.255.255", "ff:ff:ff:ff:ff:ff"
DHCP_SERVER, DHCP_CLIENT = 67, 68
GENEVE_AT, INNER_AT = 42, 64  # bytes into a tunnel frame; the inner IP packet, without options
UNKNOWN_MAC = "02:00:00:00:00:01"  # of a sender that no table knows


def _asked_network(look: Look, wanted: Wanted) -> dict[str, Any] | None:
    """The segment or transit that the operator named; None when nothing was said."""
    if not wanted.segment and not wanted.vni:
        return None
    for network in look.table("segments"):
        if wanted.segment == network["name"] or wanted.vni == network["vni"]:
            return network
    if wanted.segment:
        why, mend = "does not exist", "see `pcgctl show segments`"
        raise BackendError(f"segment {wanted.segment}", why, mend)
    return {"vni": wanted.vni, "gateway_mac": UNKNOWN_MAC}  # not ours: explain shall say so


def _port_of(look: Look, wanted: Wanted) -> dict[str, Any] | None:
    """The workload's port that has the source address; None when no port has it."""
    asked = _asked_network(look, wanted)
    vrf = look.vrf_index(wanted.vrf) if wanted.vrf else asked.get("vrf") if asked else None
    found = [
        p for p in look.table("ports") if p["address"] == wanted.source and vrf in (None, p["vrf"])
    ]
    if len(found) > 1 and wanted.entry:  # the same address of several VRFs, seldom on one host
        found = [p for p in found if p["tep"] == wanted.entry] or found
    if len(found) > 1:
        names = " or ".join(look.vrf(p["vrf"]) for p in found)
        raise BackendError(f"source {wanted.source}", "is in several VRFs", f"say --vrf {names}")
    return found[0] if found else None


def _network(look: Look, wanted: Wanted, port: dict[str, Any] | None) -> dict[str, Any]:
    """What the packet arrives on: as asked, or as a host with distributed routing would send it.

    Such a host sends north by the VRF's transit and delivers everything else itself; so without a
    word the transit is taken, and the port's segment where there is none.
    """
    if asked := _asked_network(look, wanted):
        return asked
    if not port:
        mend = "say --from uplink, or --from TEP with --vni or --segment"
        raise BackendError(f"source {wanted.source}", "is no workload's address", mend)
    networks = look.table("segments")
    transits = [n for n in networks if n["kind"] == "transit" and n["vrf"] == port["vrf"]]
    return (transits or [n for n in networks if n["vni"] == port["vni"]])[0]


def _nic_mac(look: Look, role: str) -> str:
    for nic in look.client.nics():
        if nic["role"] == role:
            return nic["mac"]
    raise BackendError(f"{role} of the datapath", "is not open", "see `pcgctl show nics`")


def from_uplink(look: Look, wanted: Wanted) -> bytes:
    """As the uplink's router sends it: the cloud has put the secondary for the Elastic IP."""
    from scapy.layers.l2 import Ether

    seen = {public["address"]: public["secondary"] for public in look.table("publics")}
    wanted = replace(wanted, destination=seen.get(wanted.destination, wanted.destination))
    hops = [hop["mac"] for hop in look.table("nexthops") if hop["resolved"]]
    source = hops[0] if hops else UNKNOWN_MAC
    return bytes(Ether(src=source, dst=_nic_mac(look, "uplink")) / inner(wanted))


def from_overlay(look: Look, wanted: Wanted) -> bytes:
    """The packet in the tunnel of the source's TEP, with the MACs its host would write."""
    from scapy.layers.l2 import Ether

    port = _port_of(look, wanted)
    if port and (home := _renewal_home(look, wanted, port)):
        frame = _request(port["mac"], wanted.source, wanted.destination, home["gateway_mac"])
        return tunnelled(look, wanted.entry or port["tep"], home["vni"], frame)
    network = _network(look, wanted, port)
    sender = wanted.entry or (port["tep"] if port else "")
    if not sender:
        raise BackendError(f"source {wanted.source}", "is no workload's address", "say --from TEP")
    frame = Ether(src=_mac(port and port["mac"]), dst=network["gateway_mac"]) / inner(wanted)
    return tunnelled(look, sender, network["vni"], frame, wanted.sport)


def tunnelled(look: Look, sender: str, vni: int, frame, hashed: int = 0) -> bytes:
    """An inner frame as its host sends it; `hashed` stands for the flow in the outer port."""
    from scapy.contrib.geneve import GENEVE, GeneveOptions
    from scapy.layers.inet import IP, UDP
    from scapy.layers.l2 import Ether

    tep = next((t for t in look.table("teps") if t["address"] == sender), {})
    ours = [GeneveOptions(classid=OPTION_CLASS, type=OPTION_TYPE, length=1, data=bytes(4))]
    options = ours if tep.get("option") else []
    header = {"vni": vni, "proto": ETHERNET, "critical": len(options)}
    geneve = GENEVE(**header, options=options)
    outer = Ether(src=_mac(tep.get("mac")), dst=_nic_mac(look, "downlink"))
    outer /= IP(src=sender, dst=look.table("local")[0]["tep"], ttl=64, flags="DF")
    outer /= UDP(sport=49152 + hashed % 16384, dport=GENEVE_PORT)
    return bytes(outer / geneve / frame)


def _mac(known: str | None) -> str:
    return known if known and known != "00:00:00:00:00:00" else UNKNOWN_MAC


def _renewal_home(look: Look, wanted: Wanted, port: dict[str, Any]) -> dict[str, Any] | None:
    """The port's segment when the packet is DHCP to its gateway: a host sends that by the VNI of
    the segment, a whole message of its own MAC; None for any other packet, as of a length that was
    asked for, whole or in pieces.
    """
    asked = wanted.vni or wanted.segment or wanted.length
    if (wanted.protocol, wanted.dport) != ("udp", DHCP_SERVER) or asked:
        return None
    home = next((n for n in look.table("segments") if n["vni"] == port["vni"]), None)
    return home if home and wanted.destination in (EVERYBODY, home["gateway"]) else None


def _request(mac: str, source: str, destination: str, to: str):
    """A DHCP message of a client, in its Ethernet frame to the MAC `to`."""
    from scapy.layers.dhcp import BOOTP, DHCP
    from scapy.layers.inet import IP, UDP
    from scapy.layers.l2 import Ether

    kind = "discover" if source == NOBODY else "request"
    message = BOOTP(chaddr=bytes.fromhex(mac.replace(":", "")), ciaddr=source)
    message /= DHCP(options=[("message-type", kind), "end"])
    datagram = IP(src=source, dst=destination) / UDP(sport=DHCP_CLIENT, dport=DHCP_SERVER)
    return Ether(src=mac, dst=to) / datagram / message


def dhcp(look: Look, mac: str, entry: str = "", segment: str = "") -> tuple[str, bytes]:
    """A DHCPDISCOVER of the workload's port with this MAC, as its host sends it on.

    entry, segment   where it comes from; else where the port is
    """
    wanted = Wanted(source=NOBODY, destination=EVERYBODY, segment=segment)
    vni = (_asked_network(look, wanted) or {}).get("vni")
    clients = [c for c in look.table("clients") if c["mac"] == mac and vni in (None, c["vni"])]
    if len(clients) > 1:
        names = " or ".join(look.segment(c["vni"]) for c in clients)
        raise BackendError(f"MAC {mac}", "is in several segments", f"say --segment {names}")
    if not clients and not (vni and entry):
        why = "is no port's of a segment with DHCP"
        raise BackendError(f"MAC {mac}", why, "say --from TEP and --segment, or look for its port")
    vni, entry = vni or clients[0]["vni"], entry or clients[0]["tep"]
    frame = _request(mac, NOBODY, EVERYBODY, ALL_MACS)
    return "downlink", tunnelled(look, entry, vni, frame)


def build(look: Look, wanted: Wanted) -> tuple[str, bytes]:
    """(role it arrives by, frame). Without a word: a workload's source comes by its tunnel."""
    tunnelled = wanted.entry or wanted.vni or wanted.segment or _port_of(look, wanted)
    if wanted.entry == "uplink" or not tunnelled:
        return "uplink", from_uplink(look, wanted)
    return "downlink", from_overlay(look, wanted)


def complaint(
    look: Look, role: str, left: bytes, error: str, by: str = "", mtu: int = 0
) -> tuple[str, bytes]:
    """(role it arrives by, frame) of an ICMP error about a packet that left by `role` as `left`.

    by    who sends it; else whom the packet was for
    mtu   what it says of the next hop, if it is a "too-big"
    """
    quoted = left[INNER_AT + 4 * (left[GENEVE_AT] & 0x3F) :] if role == "downlink" else left[14:]
    sender, receiver = (str(IPv4Address(quoted[at : at + 4])) for at in (16, 12))
    wanted = Wanted(
        source=by or sender,
        destination=receiver,
        protocol="icmp",
        df=False,
        error=error,
        quoted=quoted,
        mtu=mtu,
    )
    if role == "uplink":
        return role, from_uplink(look, wanted)
    wanted = replace(wanted, vni=int.from_bytes(left[GENEVE_AT + 4 : GENEVE_AT + 7]))
    if not _port_of(look, wanted):  # a router behind the same host
        wanted = replace(wanted, entry=str(IPv4Address(left[30:34])))
    return role, from_overlay(look, wanted)


def describe(frame: bytes) -> str:
    """A frame's layers in one line, through the tunnel if it is in one."""
    from scapy.contrib import geneve  # noqa: F401 (teaches UDP 6081)
    from scapy.layers.inet import IP
    from scapy.layers.l2 import Ether

    packet = Ether(frame)
    parts = [packet.summary()]
    inmost = packet
    while inmost and inmost.payload and inmost.payload.haslayer(IP):
        inmost = inmost.payload.getlayer(IP)
        more = ", more pieces follow" if inmost.flags.MF else ""
        parts.append(f"{inmost.src} -> {inmost.dst} ttl {inmost.ttl} length {inmost.len}{more}")
    return "; ".join(parts)
