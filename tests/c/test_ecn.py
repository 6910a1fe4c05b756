"""inner.c: congestion marks at decapsulation, RFC 6040 section 4.2, figure 4, row by row."""

import pytest
from scapy.layers.inet import fragment

from tests.c.packets import udp
from tests.c.places import SERVER, A, B

NOT, ECT1, ECT0, CE = range(4)
DSCP = 0x2E << 2  # expedited forwarding: of the inner header, never touched

# fmt: off
ROWS = [
    # inner   outer: NOT   ECT0  ECT1  CE
    (NOT,           [NOT,  NOT,  NOT,  None]),
    (ECT0,          [ECT0, ECT0, ECT1, CE]),
    (ECT1,          [ECT1, ECT1, ECT1, CE]),
    (CE,            [CE,   CE,   CE,   CE]),
]
# fmt: on
CASES = [
    (inner, outer, left)
    for inner, out in ROWS
    for outer, left in zip((NOT, ECT0, ECT1, CE), out, strict=True)
]


@pytest.mark.parametrize("inner, outer, left", CASES)
def test_decapsulation(world, inner, outer, left):
    """RFC 6040 section 4.2."""
    sent = world.down(A, udp(tos=DSCP | inner), outer={"tos": outer})
    if left is None:
        assert (sent, world.drops()) == ([], {"ECN_CONGESTED": 1})
    else:
        assert [seen.ip.tos for seen in sent] == [DSCP | left]  # World checked the checksum


def test_a_datagram_that_is_turned_round_bears_its_first_pieces_mark(world):
    """RFC 3168 section 5.3: the last piece's outer header spoke of that piece alone."""
    first, last = fragment(udp(dst=SERVER.elastic, dport=7003, tos=ECT0, data=bytes(64)), 48)
    assert not world.down(A, first, outer={"tos": ECT0})
    (there,) = world.down(A, last, outer={"tos": ECT1})
    assert (there.ip.dst, there.ip.tos) == (B.address, ECT0)
