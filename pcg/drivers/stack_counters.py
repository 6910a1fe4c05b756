"""What this host's own IP stack lost, as the kernel counts it, by the names that `nstat` uses.

Of frames that were the host's: what the datapath takes never comes this far.
"""

from collections.abc import Iterator
from typing import NamedTuple

from pcg.model.errors import BackendError

FOLDER = "/proc/thread-self/net"  # of the network namespace of the caller
TABLES = ("snmp", "netstat", "snmp6")


class Words(NamedTuple):
    means: str
    advice: str


_BUFFER = "look which program of this host reads too slowly; raise net.core.rmem_max"
_STRAY = "nothing, when it is stray; else `tcpdump` on that interface shows who sends it"
_MEMORY = "look at the host's memory"
_HEADER = Words("to this host, its IP header bad or its TTL at an end", _STRAY)
_UNKNOWN = Words(
    "for an address that this host has not, and it forwards nothing; of uplink and downlink the "
    "same frames are in *_not_owned and *_ipv6",
    "see *_not_owned there; on management look at the subnet's route table",
)
_PIECES = Words("to this host in fragments that never came together", "see who sends fragments")
_SUM = Words("to this host, its checksum wrong", _STRAY)
_NOBODY = Words("UDP to this host, for a port that no program listens on", _STRAY)
_FULL = Words("UDP to this host, the program's receive buffer was full", _BUFFER)
_DISCARD_IN = Words("to this host: no memory for it, or dropped by routing or a filter", _MEMORY)
_DISCARD_OUT = Words(
    "of this host itself, not sent: a queue, a filter or want of memory stopped it",
    "nothing, when they are few; else look at the host's memory and queues",
)
LOSSES = {
    "IpInHdrErrors": _HEADER,
    "IpInAddrErrors": _UNKNOWN,
    "IpInUnknownProtos": Words("to this host, a protocol it does not speak", _STRAY),
    "IpInDiscards": _DISCARD_IN,
    "IpOutDiscards": _DISCARD_OUT,
    "IpReasmFails": _PIECES,
    "TcpExtIPReversePathFilter": Words(
        "to this host, from an address that it would answer by another interface",
        "look at its routes and rules (`ip rule`): each interface answers for itself",
    ),
    "TcpInErrs": Words("TCP to this host, its checksum or header bad", _STRAY),
    "TcpExtListenDrops": Words(
        "TCP to this host: the program takes new connections too slowly",
        "look which program of this host is stuck or flooded (`ss -ltn`)",
    ),
    "UdpNoPorts": _NOBODY,
    "UdpInCsumErrors": _SUM,
    "UdpRcvbufErrors": _FULL,
    "Ip6InHdrErrors": _HEADER,
    "Ip6InNoRoutes": _UNKNOWN,
    "Ip6InAddrErrors": _UNKNOWN,
    "Ip6InDiscards": Words(
        "IPv6, not for this host, which forwards none; of uplink and downlink the same frames are "
        "in *_ipv6",
        "see *_ipv6 there; else look at the host's memory",
    ),
    "Ip6OutDiscards": _DISCARD_OUT,
    "Ip6ReasmFails": _PIECES,
    "Udp6NoPorts": _NOBODY,
    "Udp6InCsumErrors": _SUM,
    "Udp6RcvbufErrors": _FULL,
}


def read() -> dict[str, int]:
    """Those of LOSSES that this kernel counts. Raises BackendError."""
    found: dict[str, int] = {}
    for table in TABLES:
        try:
            with open(f"{FOLDER}/{table}") as file:
                found |= dict(parsed(file.read()))
        except FileNotFoundError:
            continue  # a kernel without IPv6
        except OSError as e:
            raise BackendError(f"{FOLDER}/{table}", e.strerror or str(e)) from None
    return {name: found[name] for name in LOSSES if name in found}


def parsed(text: str) -> Iterator[tuple[str, int]]:
    """Both layouts: a line of names above one of values, and a name and its value in each line.

    >>> list(parsed("Udp: NoPorts InErrors\\nUdp: 3 4\\n"))
    [('UdpNoPorts', 3), ('UdpInErrors', 4)]
    >>> list(parsed("Ip6InDiscards  \\t7\\n"))
    [('Ip6InDiscards', 7)]
    """
    names: list[str] = []
    for line in text.splitlines():
        first, *rest = line.split()
        if not first.endswith(":"):
            yield first, int(rest[0])
        elif names and names[0] == first:
            pairs = zip(names[1:], rest, strict=True)
            yield from ((f"{first[:-1]}{name}", int(value)) for name, value in pairs)
            names = []
        else:
            names = [first, *rest]
