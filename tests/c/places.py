"""Who lives in the world of these tests, and where.

            10.99.3.10 the gateway's TEP          10.99.1.1  the Internet gateway, next hop
TEP 10.99.3.11   A web 192.168.99.9    R app 192.168.100.4    TINY web 192.168.99.77
                 LONE 10.50.0.5 (no NAT)
TEP 10.99.3.12   B app 192.168.100.3   C web 192.168.99.8     PLAIN 198.18.7.7 (routed)
                 RED 192.168.99.9, in the VRF `red`, which has the same prefix
TEP 10.99.3.13   LOST web 192.168.99.33: its TEP's MAC is not known
TEP 10.99.3.14   known, but of no option and of an underlay MTU of 1500: THIN web 192.168.99.44
"""

from socket import inet_aton as ip
from typing import NamedTuple

from pcg.reconcile import records as r


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


class Vm(NamedTuple):
    address: str
    mac: str
    vni: int
    tep: str
    vrf: int = 0

    @property
    def record(self) -> r.Ports:
        return r.Ports(self.vrf, ip(self.address), self.vni, ip(self.tep), mac(self.mac))


WEB, APP, LONELY, ROUTED, TRANSIT, RED_WEB, RED_TRANSIT = 9096, 9100, 9300, 9400, 9000, 19096, 19000
TEP, UP_MAC, DOWN_MAC = "10.99.3.10", "02:00:00:00:00:02", "02:00:00:00:00:01"
TEP1, TEP2, TEP3, TEP4 = "10.99.3.11", "10.99.3.12", "10.99.3.13", "10.99.3.14"
TEP_MAC = {TEP1: "06:00:00:00:00:11", TEP2: "06:00:00:00:00:12", TEP4: "06:00:00:00:00:14"}
HOP, HOP_MAC = "10.99.1.1", "0e:00:00:00:00:01"
LABEL = 0x00ABCD

A = Vm("192.168.99.9", "0a:00:00:00:99:09", WEB, TEP1)
C = Vm("192.168.99.8", "0a:00:00:00:99:08", WEB, TEP2)
TINY = Vm("192.168.99.77", "0a:00:00:00:99:77", WEB, TEP1)
LOST = Vm("192.168.99.33", "0a:00:00:00:99:33", WEB, TEP3)
THIN = Vm("192.168.99.44", "0a:00:00:00:99:44", WEB, TEP4)
B = Vm("192.168.100.3", "0a:00:00:01:00:03", APP, TEP2)
R = Vm("192.168.100.4", "0a:00:00:01:00:04", APP, TEP1)
LONE = Vm("10.50.0.5", "0a:00:00:50:00:05", LONELY, TEP1)
PLAIN = Vm("198.18.7.7", "0a:00:00:07:00:07", ROUTED, TEP2)
RED = Vm("192.168.99.9", "0a:00:00:00:99:09", RED_WEB, TEP2, 1)
NEWCOMER = Vm("0.0.0.0", "0a:00:00:00:99:aa", WEB, TEP1)  # has no address yet, nor a place in VMS
VMS = (A, B, C, R, TINY, LOST, THIN, LONE, PLAIN, RED)

GATEWAY = {  # VNI -> its gateway's address and MAC
    WEB: ("192.168.99.1", "02:50:00:00:00:99"),
    APP: ("192.168.100.1", "02:50:00:00:01:00"),
    LONELY: ("10.50.0.1", "02:50:00:00:00:50"),
    ROUTED: ("198.18.7.1", "02:50:00:00:07:01"),
    TRANSIT: ("0.0.0.0", "02:50:00:00:00:00"),
    RED_WEB: ("192.168.99.1", "02:50:00:00:ed:99"),
    RED_TRANSIT: ("0.0.0.0", "02:50:00:00:ed:00"),
}

NET, OTHER_NET = "198.51.100.9", "198.51.100.10"  # hosts of the Internet


class Public(NamedTuple):
    index: int
    elastic: str
    secondary: str
    vrf: int = 0


POOL_A, POOL_B = Public(0, "203.0.113.10", "10.99.1.10"), Public(1, "203.0.113.11", "10.99.1.11")
SERVER = Public(2, "203.0.113.12", "10.99.1.12")
TWIN = Public(3, "203.0.113.13", "10.99.1.13")  # REFLEXIVE of R
FEW = Public(5, "203.0.113.14", "10.99.1.14")  # TINY's four ports
WHOLE = Public(6, "203.0.113.15", "10.99.1.15")  # every protocol to C
RED_POOL = Public(7, "203.0.113.20", "10.99.1.20", 1)
PUBLICS = (POOL_A, POOL_B, SERVER, TWIN, FEW, WHOLE, RED_POOL)
