"""Where frames end outside the datapath, as kernel, driver, cloud and nftables count them.

Names are the kernel's, the driver's and nft's own, so that they are found in their documents too.
What a counter means and what to do about it is written here, once.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pyroute2 import IPRoute

from pcg.drivers import stack_counters
from pcg.drivers.ethtool import tool
from pcg.drivers.netlink import said
from pcg.drivers.nft_rules import COUNTERS
from pcg.drivers.stack_counters import Words
from pcg.model.errors import BackendError

PER_INTERFACE = 64  # counters of one driver that are looked at; each kind of queue counts once
ALLOWANCE = "_allowance_exceeded"  # AWS ENA: frames that the instance's limits took


class Count(NamedTuple):
    """One counter now. `ends` False: the frames go on elsewhere, they are only told for context."""

    source: str  # "interface", "driver", "cloud", "nftables", "kernel", "port"
    where: str  # interface, nft chain, or "host"
    name: str
    packets: int
    ends: bool = True


INTERFACE = {  # of struct rtnl_link_stats64, those that are no part of another one
    "rx_dropped": Words(
        "received, but nobody on this host wanted it, or there was no memory for it",
        "nothing, when it is stray protocols (LLDP, IPv6); else look at the host's memory",
    ),
    "rx_errors": Words(
        "received damaged: length, checksum of the frame, alignment",
        "look at `ethtool -S` for the kind; replace cable, NIC or driver, or stop and start the VM",
    ),
    "rx_missed_errors": Words(
        "the host took frames too slowly and the NIC had no room left",
        "enlarge its ring (ethtool -G), give the datapath more workers, or take a larger instance",
    ),
    "tx_dropped": Words(
        "not sent: the queue was full, or the other end of the link is down",
        "look whether the link is up; enlarge the queue (txqueuelen) or take a larger instance",
    ),
    "tx_errors": Words(
        "the NIC failed to send it",
        "look at `ethtool -S` for the kind, and whether the link is up",
    ),
}
CLOUD = {  # https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/monitoring-network-performance-ena.html
    "bw_in": Words(
        "inbound bandwidth was above what the instance may have; the cloud queued or dropped",
        "take a larger instance, or spread the load over several gateways",
    ),
    "bw_out": Words(
        "outbound bandwidth was above what the instance may have; the cloud queued or dropped",
        "take a larger instance, or spread the load over several gateways",
    ),
    "pps": Words(
        "packets a second were more than the instance may have; the cloud queued or dropped",
        "take a larger instance; raise MTUs so that fewer packets carry the same",
    ),
    "conntrack": Words(
        "the cloud's own connection tracking was full; it dropped packets of new connections",
        "let the security groups of uplink and downlink allow all, so that nothing is tracked",
    ),
    "linklocal": Words(
        "packets to the cloud's DNS, metadata and time services were too many a second",
        "cache DNS answers on the hosts",
    ),
}
OTHER_ALLOWANCE = Words(
    "a limit that the cloud sets the instance was exceeded",
    "look the counter up in the cloud's documents; take a larger instance",
)
DRIVER = Words(
    "the driver dropped frames, or failed to; the interface's own counters may hold them too",
    "look the counter up in the driver's documents",
)
MISSED = Words(
    "lost in the ring before the datapath saw it: frames came faster than it took them",
    "give the datapath more workers or a faster driver (af_xdp), or take a larger instance",
)
_START = (
    "see why it was away (`systemctl status pcg-datapath`, its log), and start it if it still is"
)
AWAY = {
    "uplink_datapath_away": Words("came by the uplink while no datapath ran to take it", _START),
    "downlink_datapath_away": Words("came in a tunnel while no datapath ran to take it", _START),
}
NFTABLES = {name: Words(c.means, c.advice) for name, c in COUNTERS.items()} | AWAY
LOSS = re.compile(
    r"drop(s|ped)?|discard(s|ed)?|missed|errs?|errors?|fail(s|ed|ures?)?"
    r"|bad|timeouts?|overruns?|overflows?|aborted|oob"
)
NO_ROOM = re.compile(r"(no|out of) (buffer|buf|desc|dma|rxbd|memory|mem)")
TAKEN_YET = {"csum", "checksum"}  # beside "bad": the frame goes on, its checksum looked at again


def words(source: str, name: str) -> Words:
    """What a counter means and what to do about it."""
    if source == "interface":
        return INTERFACE[name]
    if source == "cloud":
        return CLOUD.get(name, OTHER_ALLOWANCE)
    if source == "kernel":
        return stack_counters.LOSSES[name]
    if source == "port":
        return MISSED
    return NFTABLES[name] if source == "nftables" else DRIVER


def plain(statistic: str) -> str:
    """A driver's statistic without the number of its queue.

    >>> plain("queue_3_rx_dma_mapping_err"), plain("rx_queue_0_drops"), plain("rx7_discards")
    ('queue_rx_dma_mapping_err', 'rx_queue_drops', 'rx_discards')
    """
    return re.sub(r"_?\d+", "", statistic).strip("_")


def lossy(statistic: str) -> bool:
    """
    >>> [lossy(n) for n in ("rx_bad_desc_num", "rx_out_of_buffer", "tx_timeout", "rx_no_buffer")]
    [True, True, True, True]
    >>> [lossy(n) for n in ("queue_rx_bad_csum", "rx_packets", "tx_queue_stopped")]
    [False, False, False]
    """
    words = re.split("[ _]+", statistic.lower())
    if "bad" in words and TAKEN_YET & {*words}:
        return False
    return any(map(LOSS.fullmatch, words)) or bool(NO_ROOM.search(" ".join(words)))


def of_driver(interface: str, statistics: dict[str, int]) -> list[Count]:
    """The statistics that tell of lost frames, of all queues together.

    >>> statistics = {"pps_allowance_exceeded": 3, "rx_queue_0_drops": 1, "tx_queue_1_packets": 9}
    >>> [count[:4] for count in of_driver("eth1", statistics)]
    [('cloud', 'eth1', 'pps', 3), ('driver', 'eth1', 'rx_queue_drops', 1)]
    """
    limits = {n: v for n, v in statistics.items() if n.endswith(ALLOWANCE)}
    made = [Count("cloud", interface, n.removesuffix(ALLOWANCE), v) for n, v in limits.items()]
    lost: Counter[str] = Counter()
    for name, value in statistics.items():
        if name not in limits and lossy(plain(name)):
            lost[plain(name)] += value
    return [
        *made[:PER_INTERFACE],
        *(Count("driver", interface, name, lost[name]) for name in sorted(lost)[:PER_INTERFACE]),
    ]


def read_stack() -> Iterator[Count]:
    """Of this host's own IP stack. Raises BackendError."""
    for name, packets in stack_counters.read().items():
        yield Count("kernel", "host", name, packets)


def of_link(interface: str, stats: dict[str, int]) -> list[Count]:
    return [Count("interface", interface, name, stats.get(name, 0)) for name in INTERFACE]


def read_links(ip: IPRoute, interfaces: Iterable[str]) -> Iterator[Count]:
    """Of the interfaces that are there. Raises BackendError."""
    with said("netlink"):
        links = {link.get("ifname"): link.get("stats64") for link in ip.get_links()}
    for name in dict.fromkeys(interfaces):
        if name not in links:
            continue
        yield from of_link(name, dict(links[name] or {}))
        with tool(name) as it:
            yield from _driver_counts(name, it)


def _driver_counts(name: str, it) -> list[Count]:
    try:
        return of_driver(name, it.statistics())
    except BackendError:  # a driver need not count, and an interface may go while we ask
        return []
