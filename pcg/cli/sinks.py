"""Where captured frames go, and the words they go with."""

import platform
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, BinaryIO, Protocol

import click

from pcg.cli import pcapng
from pcg.cli.look import Look
from pcg.datapath.captured import Captured, Flow
from pcg.datapath.pack import CaptureWanted

ROLES = ("downlink", "uplink")  # by their number
NAMES_S = 1.0  # a rule without a name: how often the tables are read again for it


class Fates:
    """What became of a frame's packet, in one line."""

    def __init__(self, look: Look) -> None:
        self.look, self.texts, self.read_at = look, look.client.reasons(), time.monotonic()

    def rule(self, kind: str, number: int) -> str:
        """Its name; policy may have changed since the capture began."""
        name = getattr(self.look, f"{kind}_rule")(number)
        if name == str(number) and time.monotonic() > self.read_at + NAMES_S:
            self.look.forget()
            self.read_at = time.monotonic()
            name = getattr(self.look, f"{kind}_rule")(number)
        return name

    def rules(self, c: Captured) -> list[str]:
        names = []
        if c.nat_id:
            names.append(f"NAT rule {self.rule('nat', c.nat_id)}")
        if c.fw_id:
            names.append(f"firewall rule {self.rule('firewall', c.fw_id)}")
        elif c.reason == "FIREWALL_DENIED":
            names.append("by the VRF's default, no rule matched")
        return names

    def __call__(self, c: Captured) -> str:
        if c.verdict == "dropped":
            words = [f"dropped: {c.reason} ({self.texts.get(c.reason, '')})", f"at {c.stage}"]
        elif c.made:
            words = ["made by the gateway, sent"]
        elif c.answer:
            words = ["answered by the gateway"]
        else:
            words = [c.verdict]
        if c.session is not None:
            words.append(f"{'new ' if c.new else ''}session {c.session}")
        return ", ".join(words + self.rules(c))


class Sink(Protocol):
    def frames(self, frames: Sequence[Captured], offset_ns: int) -> None:
        """`offset_ns`: from the path's clock to the time since 1970."""

    def end(self, began_ns: int, flow: Flow) -> None: ...


class ToTerminal:
    """Two lines a frame: when, where, what; what became of it."""

    def __init__(self, look: Look) -> None:
        self.fate = Fates(look)

    def frames(self, frames: Sequence[Captured], offset_ns: int) -> None:
        from pcg.cli import packets

        for c in frames:
            at_ns = c.at_ns + offset_ns
            when = time.strftime("%H:%M:%S", time.localtime(at_ns // 10**9))
            place = f"{c.role:<8} {'in ' if c.incoming else 'out'}"
            what = f"{packets.describe(c.frame)}\n    {self.fate(c)}"
            click.echo(f"{when}.{at_ns % 10**9 // 1000:06} {place} {what}")

    def end(self, began_ns: int, flow: Flow) -> None:
        pass


class ToFile:
    """pcapng. The interfaces stand in it by their role's number."""

    def __init__(self, look: Look, out: BinaryIO, expression: str, wanted: CaptureWanted) -> None:
        self.fate, self.written = Fates(look), Counter()
        nics = {nic["role"]: nic for nic in look.client.nics()}
        self.writer = pcapng.Writer(
            out,
            [_interface(role, nics.get(role)) for role in ROLES],
            program="pcgctl capture",
            host=f"{platform.system()} {platform.release()}",
            comment=_described(expression, wanted),
            filter_=expression,
            snaplen=wanted.snaplen,
        )

    def _packet(self, c: Captured, offset_ns: int) -> pcapng.Packet:
        self.written[c.role] += 1
        return pcapng.Packet(
            interface=ROLES.index(c.role),
            at_ns=c.at_ns + offset_ns,
            frame=c.frame,
            length=c.length,
            incoming=c.incoming,
            number=c.packet,
            queue=c.worker,
            lost=c.lost,
            comment=self.fate(c),
        )

    def frames(self, frames: Sequence[Captured], offset_ns: int) -> None:
        self.writer.packets(self._packet(c, offset_ns) for c in frames)

    def end(self, began_ns: int, flow: Flow) -> None:
        counted = [
            pcapng.Counted(seen, taken + lost, lost, self.written[role])
            for role, seen, taken, lost in zip(ROLES, *flow, strict=True)
        ]
        self.writer.end(began_ns, time.time_ns(), counted)


def _interface(role: str, nic: dict[str, Any] | None) -> pcapng.Interface:
    mac = bytes.fromhex(nic["mac"].replace(":", "")) if nic else bytes(6)
    return pcapng.Interface(nic["name"] if nic else role, f"PCG {role}", mac)


def _described(expression: str, wanted: CaptureWanted) -> str:
    words = [f"filter {expression!r} on the {'inner' if wanted.inner else 'outer'} frame"]
    words += ["dropped packets only"] if wanted.only_drops else []
    words += ["both sides of a packet"] if wanted.both else []
    return ", ".join(words)
