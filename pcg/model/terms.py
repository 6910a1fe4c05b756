"""What gateway and NAT rules may say beside what they are and translate: amounts and rates."""

import enum
from typing import Annotated

import msgspec

from pcg.model.kinds import Value

Amount = Annotated[int, msgspec.Meta(ge=1, le=16_777_216)]

Rate = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
RateOrNone = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]


class ErrorRates(Value):
    """ICMP errors and RST that the gateway makes in a second (RFC 1812 section 4.3.2.8).

    Uplink and downlink have such a rate each, so that the one cannot use up the other's.
    """

    per_second: RateOrNone = 1000  # 0: none at all (RFC 5508 REQ-9), whatever per_source says
    per_source: Rate = 100  # about packets of one source


class DhcpRates(Value):
    """DHCP packets of workloads that are answered in a second; more are dropped, and counted."""

    per_second: Rate = 10_000
    per_port: Rate = 10


class Quota(Value):
    """What one overlay address may hold at a time. Absent: as the gateway says, or any number.

    All that the address holds is counted together, by whatever rules it came to it.
    """

    sessions: Amount | None = None
    ports: Amount | None = None  # outside ports of SNAT, of all protocols together


Seconds = Annotated[int, msgspec.Meta(ge=1, le=7 * 86400)]


class Timers(Value):
    """How long a session of a rule may be silent. Absent: as the RFCs have it.

    The order is that of enum pcgdp_timer.
    """

    tcp_opening_s: Seconds | None = None  # 240: no handshake yet
    tcp_established_s: Seconds | None = None  # 7440
    tcp_closing_s: Seconds | None = None  # 240: both sides have ended it, or one by RST
    udp_s: Seconds | None = None  # 300
    icmp_s: Seconds | None = None  # 60: echo
    other_s: Seconds | None = None  # 300


# The least that the RFCs allow: 5382 REQ-5, 4787 REQ-5, 5508 REQ-2.
TIMERS_LEAST = {
    "tcp_opening_s": 240,
    "tcp_established_s": 7440,
    "tcp_closing_s": 240,
    "udp_s": 120,
    "icmp_s": 60,
}


class Filtering(enum.Enum):
    """Whom an outside endpoint of SNAT is open to, once it is there (RFC 4787 REQ-8)."""

    ADDRESS_DEPENDENT = "ADDRESS_DEPENDENT"  # to those whom the workload sent something
    ENDPOINT_INDEPENDENT = "ENDPOINT_INDEPENDENT"  # to all whom the firewall lets in
