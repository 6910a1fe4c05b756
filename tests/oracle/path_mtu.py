"""What the underlay says of tunnel packets that were too big for it (RFC 1191): the slow twin of
path_mtu.c.
"""

from tests.oracle.decision import Policy, num
from tests.oracle.dhcp import PuntedError
from tests.oracle.ipv4 import DF, UDP, Ip, header, right

COMMON = (32000, 17914, 8166, 4352, 2002, 1492, 1006)  # section 7: of those who name none
FLOOR = 576 + 20 + 8 + 8 + 8 + 14  # RFC 791: what every host takes, behind the longest headers
AGE_S = 600


class PathMtus:
    """By TEP. What was told counts from housekeeping's next round on."""

    def __init__(self) -> None:
        self.told: dict[int, int] = {}
        self.known: dict[int, tuple[int, int]] = {}  # and when it was told

    def read(self, ip: Ip, policy: Policy, dropped: type) -> None:
        """An ICMP message to our TEP; ends in one way or the other."""
        data = ip.payload
        if len(data) < 8 + 20 + 8 or data[:2] != b"\3\4" or not right(data):
            raise dropped("OUTER_ICMP")
        inside, length = header(data[8:]), num(data[10:12])
        sport, dport = inside.ports if inside.proto == UDP else (0, 0)
        ours = data[8] == 0x45 and inside.src == num(policy.local.tep_be) and inside.frag == DF
        if not ours or sport < 0xC000 or dport != 6081:
            raise dropped("OUTER_ICMP")
        mtu = num(data[6:8]) or next((one for one in COMMON if one < length), 0)
        if inside.dst not in policy.teps or not FLOOR <= mtu < length:
            raise dropped("OUTER_ICMP")
        self.told[inside.dst] = min(mtu, self.told.get(inside.dst, mtu))
        raise PuntedError

    def learn(self, policy: Policy, now_s: int) -> None:
        for tep in policy.teps:
            told, (mtu, at_s) = self.told.pop(tep, 0), self.known.get(tep, (0, 0))
            if told and (not mtu or told <= mtu):  # a higher one was sent before it was known
                self.known[tep] = told, now_s
            elif mtu and now_s > at_s + AGE_S:
                del self.known[tep]

    def of(self, tep: int, configured: int) -> int:
        return min(configured, self.known.get(tep, (configured, 0))[0])

    def forget(self, tep: int) -> None:
        self.told.pop(tep, None)
        self.known.pop(tep, None)
