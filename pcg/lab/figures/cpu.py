"""CPU time of a gateway, without the time of those behind it.

A veth has no wire: what a gateway sends is received, routed, tracked and answered by the other
hosts of the lab inside its own send call, in softirqs that the kernel charges to the process that
happens to run. Two thirds of the time charged to a gateway were theirs. `others_pay` gives the two
veth ends that receive from the gateway a kernel thread each (threaded NAPI, which a veth has once
GRO is on), so that a send ends where a NIC's would: with the frame handed over.

What it does not show, for any gateway: receiving. The frame's way into the gateway's socket runs
where its sender runs, as it would on a core that serves the NIC's interrupts, and cannot be told
from the sender's own work without a profiler. perf found, in core-seconds per Gbit at MTU 1500 and
9001: PCG 0.12 and 0.04, since the copy into its ring is made there; Open vSwitch 0.06 and 0.02,
whose copy is made by recvmmsg, in its own time.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from pcg.lab import ns
from pcg.lab.layout import Layout

TICKS = os.sysconf("SC_CLK_TCK")
RECEIVERS = (("igw", "vpc0"), ("vpc", "pcg"))  # the other ends of up0 and down0


@dataclass(frozen=True)
class Cpu:
    """Seconds of a process, all its threads."""

    user_s: float
    system_s: float

    def __sub__(self, earlier: "Cpu") -> "Cpu":
        return Cpu(self.user_s - earlier.user_s, self.system_s - earlier.system_s)

    @property
    def total_s(self) -> float:
        return self.user_s + self.system_s


def used(pid: int) -> Cpu:
    """The sum is exact to 10 ms; its parts are the kernel's estimate, by ticks of 4 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return Cpu(int(fields[11]) / TICKS, int(fields[12]) / TICKS)


def others_pay(layout: Layout) -> None:
    """From here on, what the gateway sends is received at the receivers' own expense."""
    for part, device in RECEIVERS:
        space = layout.ns(part)
        ns.run("ethtool", "-K", device, "gro", "on", ns=space)
        threaded = f"/sys/class/net/{device}/threaded"  # /sys of that namespace, by `ip netns exec`
        ns.run("tee", threaded, ns=space, stdin="1")
        if ns.run("cat", threaded, ns=space).strip() != "1":
            raise RuntimeError(f"{device}: this kernel has no threaded NAPI; CPU time would lie")
