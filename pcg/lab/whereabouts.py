"""Where pings of a workload to the internet were last seen, on both sides of the gateway.

A host that has no CPU for a while loses frames in its own switch, with any gateway. Frames taken on
both sides of ours tell those from what the gateway lost.
"""

from collections import defaultdict
from contextlib import ExitStack

from pcg.lab.capture import Capture
from pcg.lab.lab import Lab

ICMP, ASKED, ANSWERED = 1, 8, 0
# Side -> namespace, device, offset of the IPv4 packet: plain, and in a tunnel with our option.
SIDES = {"downlink": ("vpc", "pcg", 72), "uplink": ("igw", "vpc0", 14)}
WAY = (("downlink", ASKED), ("uplink", ASKED), ("uplink", ANSWERED), ("downlink", ANSWERED))
LAST = ("never came", "last seen coming", "last seen outside", "answered", "last seen going back")
COUNTERS = ("rx_packets", "tx_packets", "rx_missed")


class Whereabouts:
    """Watches while the `with` lasts. Two workloads that ping at once are not told apart."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.taken = {
            side: Capture(lab.layout.ns(space), device, only=(at + 9, ICMP))
            for side, (space, device, at) in SIDES.items()
        }

    def __enter__(self) -> "Whereabouts":
        self.before = self._gateway()
        self.stack = ExitStack()
        for capture in self.taken.values():
            self.stack.enter_context(capture)
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()
        self.after = self._gateway()

    def _gateway(self) -> dict[str, int]:
        nics = {
            f"{nic['name']} {counter}": nic[counter]
            for nic in self.lab.ask.nics()
            for counter in COUNTERS
        }
        return self.lab.ask.drops() | nics

    def places(self) -> dict[int, int]:
        """Sequence number -> how far it came on the WAY, 1 to 4; 0: not to the gateway."""
        reached: dict[int, int] = defaultdict(int)
        for side, (_, _, at) in SIDES.items():
            for _, frame in self.taken[side].frames:
                number, place = int.from_bytes(frame[at + 26 : at + 28]), (side, frame[at + 20])
                if place in WAY:
                    reached[number] = max(reached[number], 1 + WAY.index(place))
        return reached

    def of(self, lost: list[int]) -> str:
        """For each sequence number the last place, and what the gateway counted meanwhile."""
        reached = self.places()
        places = (f"{n}: {LAST[reached[n]]}" for n in lost[:10])
        counted = {
            name: n - self.before.get(name, 0)
            for name, n in self.after.items()
            if n != self.before.get(name, 0)
        }
        return f"{', '.join(places)}; gateway: {counted}"
