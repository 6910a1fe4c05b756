"""python -m pcg.lab up | down | demo | figures: the lab for people, as root."""

import os
import shlex
import signal
import sys
from pathlib import Path

import click

from pcg.lab.lab import Lab, LabInUseError, how_to_end, labs, lock
from pcg.lab.layout import HTTP, INTERNET, PREFIX
from pcg.lab.ns import CommandError
from pcg.lab.programs import PLACES
from pcg.lab.sweep import sweep


class Group(click.Group):
    """One clear line for what a person can mend; the lab is down by then."""

    def invoke(self, ctx: click.Context):
        try:
            return super().invoke(ctx)
        except (LabInUseError, CommandError, RuntimeError, TimeoutError) as wrong:
            raise click.ClickException(str(wrong)) from None


@click.group(cls=Group)
def main() -> None:
    """A cloud in network namespaces around one gateway."""
    if os.geteuid():
        raise click.ClickException("the lab makes network namespaces: run it as root")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was raised comes down


def looking_around(lab: Lab, started: bool) -> str:
    """What to type now."""
    programs, tools = lab.programs, Path(sys.executable).parent
    where = [f"PCG_{p.upper()}={programs.socket(p)}" for p in ("datapath", "gateway")]
    lines = ["", "look around:", f"  export {' '.join(where)}"]
    lines += [
        f"  {tools}/pcgctl show {what}" for what in ("drops", "sessions", "leases", "realised")
    ]
    lines.append(f"  ip netns exec {lab.layout.workload_ns('web1')} curl {INTERNET}:{HTTP}/whoami")
    lines.append(f"  logs, settings, desired state: {lab.layout.run}")
    if not started:
        lines += ["", "start a gateway, each in a terminal of its own:"]
        lines += [f"  {shlex.join(programs.command(p))}" for p in PLACES]
    return "\n".join([*lines, "", "take it down:", f"  {how_to_end(lab.layout.prefix)}"])


@main.command()
@click.option("--prefix", default=PREFIX, show_default=True, help="Of its namespaces' names.")
@click.option("--programs", is_flag=True, help="Start controller, datapath and gateway too.")
def up(prefix: str, programs: bool) -> None:
    """Raise the lab and leave it up."""
    from pcg.lab.checks.dhcp import leased

    lab = Lab(prefix)
    try:
        lab.up()
        if programs:
            lab.start_programs()
            lab.boot_clients()
            leased(lab)
    except BaseException:
        lab.down()
        raise
    lab.keep()
    print(looking_around(lab, started=programs))


@main.command()
@click.option("--prefix", default="", help="One lab, even in use; without it, all that are not.")
def down(prefix: str) -> None:
    """Take down what was left up; also what a crash left behind."""
    for one in [prefix] if prefix else labs():
        if not prefix and not lock(one):
            print(f"{one}: in use, left alone; `--prefix {one}` takes it down all the same")
            continue
        print(f"{one}: {sweep(one)} namespaces removed")


@main.command()
@click.option("--prefix", default=PREFIX, show_default=True)
@click.option("--keep", is_flag=True, help="Leave the lab up at the end.")
@click.option("--only", default="", help="Checks whose name contains this.")
@click.option("--driver", default="", help="Of the datapath's ports, e.g. af_xdp or auto.")
def demo(prefix: str, keep: bool, only: str, driver: str) -> None:
    """Run the scenario on real packets; exit code 0 when every check passed."""
    from pcg.lab.demo import run

    sys.exit(run(prefix, keep, only, driver))


@main.command()
@click.option("--prefix", default=PREFIX, show_default=True)
@click.option("--rounds", default=5, show_default=True, help="Turns of each gateway.")
@click.option("--seconds", default=4, show_default=True, help="Of one transfer.")
def figures(prefix: str, rounds: int, seconds: int) -> None:
    """Latency and throughput through PCG, beside Open vSwitch in its place."""
    from pcg.lab.figures import run

    sys.exit(run(prefix, rounds, seconds))
