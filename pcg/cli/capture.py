"""`pcgctl capture`: frames as they came and left, with what became of each, for Wireshark."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import click

from pcg.cli import bpf
from pcg.cli.kinds import Seconds
from pcg.cli.look import Look
from pcg.cli.sinks import ROLES, Sink, ToFile, ToTerminal
from pcg.datapath.captured import Captured, Flow
from pcg.datapath.pack import CaptureWanted

LOOK_S = 0.05  # between two reads of an empty ring
DIRECTIONS = {"in": 1, "out": 2, "both": 3}
MIB = 1 << 20
ENDS = (signal.SIGINT, signal.SIGTERM)


class Capture:
    """One capture from its start to its end. Use it as a context: it is ended whatever happens."""

    def __init__(
        self,
        look: Look,
        wanted: CaptureWanted,
        program: bytes,
        count: int | None,
        seconds: float | None,
    ) -> None:
        self.look, self.flow, self.written, self.count = look, Flow(), 0, count
        self.offset_ns = time.time_ns() - time.monotonic_ns()  # the path's clock is monotonic
        self.began_ns = time.time_ns()
        self.token = look.client.capture_start(wanted, program)
        self.end_ns = None if seconds is None else time.monotonic_ns() + int(seconds * 1e9)

    def __enter__(self) -> "Capture":
        return self

    def __exit__(self, kind, *_exc) -> None:
        with contextlib.suppress(Exception) if kind else contextlib.nullcontext():
            self.look.client.capture_stop(self.token)

    def end_now(self) -> None:
        """What has come until now is still to be had from `follow`."""
        self.end_ns = time.monotonic_ns()

    def follow(self) -> Iterator[list[Captured]]:
        """Frames in the order of their times, as far as one read knows it."""
        while self.count is None or self.written < self.count:
            over = self.end_ns is not None and time.monotonic_ns() > self.end_ns
            read, self.flow = self.look.client.capture_read(self.token)
            frames = sorted(read, key=lambda c: c.at_ns)
            if over:
                frames = [c for c in frames if c.at_ns <= self.end_ns]
            if self.count is not None:
                frames = frames[: self.count - self.written]
            self.written += len(frames)
            if frames:
                yield frames
            elif over:
                return
            else:
                time.sleep(LOOK_S)

    def into(self, sink: Sink) -> None:
        """All of it. SIGINT and SIGTERM are an orderly end."""
        with _orderly(self.end_now):
            for frames in self.follow():
                sink.frames(frames, self.offset_ns)
        sink.end(self.began_ns, self.flow)


def _interrupt(*_given) -> None:
    raise KeyboardInterrupt


@contextlib.contextmanager
def _orderly(end: Callable[[], None]) -> Iterator[None]:
    """SIGINT or SIGTERM calls `end`, and loses nothing that is just being read or written; a second
    one interrupts, for when that never ends."""

    def first(*_given) -> None:
        for number in ENDS:
            signal.signal(number, _interrupt)
        end()

    before = [signal.signal(number, first) for number in ENDS]
    try:
        yield
    finally:
        for number, handler in zip(ENDS, before, strict=True):
            signal.signal(number, handler)


def _say_end(look: Look, capture: Capture, refused: int) -> None:
    seen, lost = sum(capture.flow.seen), sum(capture.flow.lost)
    click.echo(f"{capture.written} frames of {seen} looked at", err=True)
    if lost:
        mend = "narrow the filter, shorten --snaplen or raise --buffer"
        click.echo(f"{lost} frames lost, they came faster than they were read: {mend}", err=True)
    if refused:
        what = "frames that left were refused by the kernel afterwards (TX_FAILED)"
        click.echo(f"{refused} {what}, captured ones perhaps among them", err=True)


def _roles(look: Look, name: str) -> int:
    """By role, or by an interface's name."""
    if not name:
        return 3
    for nic in look.client.nics():
        if name in (nic["role"], nic["name"]):
            return 1 << ROLES.index(nic["role"])
    names = ", ".join(f"{nic['name']} ({nic['role']})" for nic in look.client.nics())
    raise click.BadParameter(f"{name} is no interface of the datapath; there are: {names}")


@contextlib.contextmanager
def _opened(look: Look, write: str, expression: str, wanted: CaptureWanted) -> Iterator[Sink]:
    if not write:
        yield ToTerminal(look)
        return
    if write == "-":
        if sys.stdout.isatty():
            raise click.BadParameter("a terminal cannot show pcapng; name a file, or pipe it")
        yield ToFile(look, sys.stdout.buffer, expression, wanted)
        return
    try:
        out = os.open(write, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise click.BadParameter(f"{write}: {error.strerror}") from None
    with os.fdopen(out, "wb") as file:
        yield ToFile(look, file, expression, wanted)


@click.command()
@click.argument("expression", nargs=-1, metavar="[FILTER]")
@click.option("-w", "--write", default="", metavar="FILE", help="pcapng; - is stdout.")
@click.option("--inner", is_flag=True, help="The filter reads the frame inside the tunnel.")
@click.option("--both", is_flag=True, help="Also a packet's other side, as it came or left.")
@click.option("--drops", is_flag=True, help="Only packets that are dropped.")
@click.option("--interface", default="", help="uplink, downlink or a name; else both.")
@click.option("--direction", type=click.Choice(list(DIRECTIONS)), default="both")
@click.option("--count", type=click.IntRange(1), help="End after as many frames.")
@click.option("--seconds", type=Seconds(), help="End after as long.")
@click.option("--snaplen", type=click.IntRange(14, 9216), help="Bytes kept of a frame.")
@click.option("--buffer", type=click.IntRange(1, 256), default=8, help="MiB of each worker.")
@click.pass_obj
def capture(look: Look, expression: tuple[str, ...], write: str, **given: Any) -> None:
    """Capture frames that a FILTER in tcpdump's syntax fits; see `man pcap-filter`.

    Without -w they are printed. The filter reads frames as they are on the wire; with --inner, of a
    tunnel's frame what is inside, and a frame without a tunnel as it is.
    """
    words = " ".join(expression)
    try:
        program = bpf.compiled(words)
    except bpf.FilterError as error:
        raise click.BadParameter(str(error), param_hint="filter") from None
    wanted = CaptureWanted(
        ring_bytes=1 << (given["buffer"] * MIB - 1).bit_length(),
        snaplen=given["snaplen"] or 0,
        roles=_roles(look, given["interface"]),
        directions=DIRECTIONS[given["direction"]],
        inner=int(given["inner"]),
        both=int(given["both"]),
        only_drops=int(given["drops"]),
    )
    signal.signal(signal.SIGTERM, _interrupt)  # of `timeout`: an orderly end, like Ctrl-C
    refused = look.client.drops().get("TX_FAILED", 0)
    limits = given["count"], given["seconds"]
    with (
        Capture(look, wanted, program, *limits) as running,
        _opened(look, write, words, wanted) as sink,  # behind it: who is refused spoils no file
    ):
        running.into(sink)
    _say_end(look, running, look.client.drops().get("TX_FAILED", 0) - refused)
