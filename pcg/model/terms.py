"""What gateway and NAT rules may say beside what they are and translate: amounts and rates."""

from typing import Annotated

import msgspec

from pcg.model.kinds import Value

Amount = Annotated[int, msgspec.Meta(ge=1, le=16_777_216)]

Rate = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


class ErrorRates(Value):
    """ICMP errors and RST that the gateway makes in a second (RFC 1812 section 4.3.2.8).

    Uplink and downlink have such a rate each, so that the one cannot use up the other's.
    """

    per_second: Rate = 1000
    per_source: Rate = 100  # about packets of one source


class Quota(Value):
    """What one overlay address may hold at a time. Absent: as the gateway says, or any number.

    All that the address holds is counted together, by whatever rules it came to it.
    """

    sessions: Amount | None = None
    ports: Amount | None = None  # outside ports of SNAT, of all protocols together
