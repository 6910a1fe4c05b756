"""Every way a frame ended, as rows of one shape, whoever counted it.

    source      who counts            where           when first and last
    datapath    the C path            uplink, downlink by the datapath, of each kind
    port        its rings             interface       by the gateway, since it runs
    interface   the kernel            interface       by the gateway, since it runs
    driver      the NIC's driver      interface       by the gateway
    cloud       the instance's limits interface       by the gateway
    nftables    our host firewall     chain           by the gateway
    kernel      this host's IP stack  host            by the gateway
    relay       DHCP's relay          segment         by the gateway

Keys are for programs and stay. Times are seconds since 1970; a rate is packets a second.
"""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from pcg.cli.kept import Headers, headers
from pcg.cli.kinds import NOWHERE
from pcg.cli.look import Look
from pcg.cli.names import Names
from pcg.cli.story import end
from pcg.datapath.ledger import KIND

Row = dict[str, Any]
NS = 1_000_000_000


class Earlier:
    """What the datapath had counted a while ago, for rates."""

    def __init__(self, look: Look) -> None:
        self._drops = {_key(d): d["packets"] for d in look.client.ledger()}
        self._missed = {nic["name"]: nic["rx_missed"] for nic in look.client.nics()}
        self._at = time.monotonic()

    def drops(self, drop: Row) -> float:
        """Packets a second since then."""
        return self._rate(drop["packets"] - self._drops.get(_key(drop), 0))

    def missed(self, nic: Row) -> float:
        return self._rate(nic["rx_missed"] - self._missed.get(nic["name"], 0))

    def _rate(self, more: int) -> float:
        return round(max(0, more) / max(time.monotonic() - self._at, 1e-3), 3)


def _key(drop: Row) -> tuple:
    return tuple(drop[key] for key in KIND)


def datapath(look: Look, names: Names, earlier: Earlier | None) -> Iterator[Row]:
    """Of each kind of drop one row, with an example."""
    means, advice = look.client.reasons(), look.client.advice()
    offset_ns = time.time_ns() - time.monotonic_ns()  # both are of this host
    for drop in look.client.ledger():
        reason = drop["reason"]
        example = _example(look, names, drop, offset_ns)
        yield {
            "source": "datapath",
            "where": drop["role"],
            "reason": reason,
            "packets": drop["packets"],
            "rate": earlier.drops(drop) if earlier else None,
            "first": (drop["first_ns"] + offset_ns) / NS,
            "last": (drop["last_ns"] + offset_ns) / NS,
            "vrf": example["vrf"],
            "segment": example["segment"] or _segment(look, drop["vni"]),
            "rule": rule_of(look, drop),
            "example": example,
            "means": means.get(reason, ""),
            "advice": advice.get(reason, ""),
        }


def _segment(look: Look, vni: int | None) -> str:
    if vni is None:
        return "several"
    return look.segment(vni) if vni else ""


def rule_of(look: Look, drop: Row) -> str:
    """The one that decided, by its name."""
    if drop["reason"] == "FIREWALL_DENIED" and not drop["fw_id"]:
        return "default" if drop["vni"] is not None else "several"
    return look.firewall_rule(drop["fw_id"]) or look.nat_rule(drop["nat_id"])


def _example(look: Look, names: Names, drop: Row, offset_ns: int) -> Row:
    index, mac, seen = vrf_of(look, drop), _client(drop), _seen(drop)
    vrf = look.vrf(index) if index is not None else ""

    def who(address: str) -> str:
        public = look.public_at(index, address) if vrf else None
        return names.workload(vrf, address) or (public["name"] if public else "")

    return {
        "at": (drop["at_ns"] + offset_ns) / NS,
        "vrf": vrf,
        "segment": names.segment(vrf, seen.src) or names.segment(vrf, seen.dst),
        "tep": seen.tep if drop["outer_src"] == NOWHERE else drop["outer_src"],
        "vni": drop["vni"],
        "protocol": seen.protocol,
        "source": mac or _address(seen.src, seen.sport, seen.protocol),
        "source_name": names.client(_segment(look, drop["vni"]), mac) if mac else who(seen.src),
        "source_mac": seen.mac,
        "destination": _address(seen.dst, seen.dport, seen.protocol),
        "destination_name": who(seen.dst),
        "length": drop["length"],
        "frame": drop["frame"],
    }


def vrf_of(look: Look, drop: Row) -> int | None:
    """Also where it ended before that was asked: by the VNI that it came with."""
    if drop["vrf"] is not None or not drop["vni"]:
        return drop["vrf"]
    return next((n["vrf"] for n in look.table("segments") if n["vni"] == drop["vni"]), None)


def _seen(drop: Row) -> Headers:
    """As the datapath has read it; what ended before that, by the kept bytes."""
    kept = headers(bytes.fromhex(drop["frame"]))
    mac = kept.mac if kept else ""
    if drop["src"] != NOWHERE or _client(drop) or not kept:
        read = (drop["src"], drop["dst"], mac, drop["sport"], drop["dport"])
        return Headers(drop["protocol"], *read)
    return kept


def _address(address: str, port: int, protocol: str) -> str:
    """
    >>> _address("0.0.0.0", 0, "any"), _address("::1", 9, "udp"), _address("10.0.0.1", 9, "icmp")
    ('', '[::1]:9', '10.0.0.1')
    """
    if address == NOWHERE and protocol != "arp":
        return ""
    return end(f"[{address}]" if port and ":" in address else address, port, protocol)


def _client(drop: Row) -> str:
    """The MAC of a DHCP client without an address; "" of all others."""
    at, asks = drop["l3"] - 8, (drop["sport"], drop["dport"]) == (68, 67)
    if not asks or drop["src"] != NOWHERE or not drop["vni"] or at < 6:
        return ""
    return bytes.fromhex(drop["frame"])[at : at + 6].hex(":")


def ports(look: Look, earlier: Earlier | None) -> Iterator[Row]:
    """What the datapath's rings lost before it saw it, where the gateway does not tell."""
    from pcg.drivers.counters import MISSED

    for nic in look.client.nics():
        row = _plain("port", nic["name"], "rx_missed", nic["rx_missed"], *MISSED)
        yield row | {"rate": earlier.missed(nic) if earlier else None}


def _plain(source: str, where: str, reason: str, packets: int, means: str, advice: str) -> Row:
    told = {"source": source, "where": where, "reason": reason, "packets": packets, "rate": None}
    known = {"first": None, "last": None, "vrf": "", "segment": "", "rule": "", "example": None}
    return told | known | {"means": means, "advice": advice}


def kernel(told: Mapping[str, Any], every: bool) -> Iterator[Row]:
    """From the gateway's answer; frames that went on elsewhere only with `every`."""
    for c in told["counters"]:
        if c["ends"] or every:
            row = _plain(c["source"], c["where"], c["name"], c["packets"], c["means"], c["advice"])
            if c["source"] == "relay":
                row |= {"where": "dhcp", "segment": c["where"]}
            yield row | {key: c[key] for key in ("first", "last", "rate")}
