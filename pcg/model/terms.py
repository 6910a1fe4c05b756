"""What a NAT rule may say about the sessions that it makes, beside how it translates them."""

from typing import Annotated

import msgspec

from pcg.model.kinds import Value

Amount = Annotated[int, msgspec.Meta(ge=1, le=16_777_216)]


class Quota(Value):
    """What one overlay address may hold at a time. Absent: as the gateway says, or any number.

    All that the address holds is counted together, by whatever rules it came to it.
    """

    sessions: Amount | None = None
    ports: Amount | None = None  # outside ports of SNAT, of all protocols together
