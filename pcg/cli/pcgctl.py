"""`pcgctl`: an operator's eyes on one gateway. It asks; only `dhcp` changes anything."""

import click

from pcg.cli import errors
from pcg.cli.capture import capture
from pcg.cli.dhcp import dhcp
from pcg.cli.drops import drops
from pcg.cli.explain import explain
from pcg.cli.look import Look
from pcg.cli.selftest import test
from pcg.cli.show import show
from pcg.cli.trace import trace
from pcg.cli.why import why
from pcg.model.settings import DatapathSettings, GatewaySettings


def _default(settings: type, field: str) -> str:
    """The value that the settings have for it, so that it stands in one place."""
    import msgspec

    (found,) = [f for f in msgspec.structs.fields(settings) if f.name == field]
    return found.default


@click.group()
@click.version_option(package_name="pcg")
@click.option(
    "--datapath",
    envvar="PCG_DATAPATH",
    default=_default(DatapathSettings, "control"),
    show_default=True,
    help="Endpoint of the datapath [PCG_DATAPATH].",
)
@click.option(
    "--gateway",
    envvar="PCG_GATEWAY",
    default=_default(GatewaySettings, "control"),
    show_default=True,
    help="Endpoint of the gateway's control loop [PCG_GATEWAY].",
)
@click.pass_context
def cli(ctx: click.Context, datapath: str, gateway: str) -> None:
    """Look into a running gateway."""
    ctx.obj = ctx.with_resource(Look(datapath, gateway))


cli.add_command(show)
cli.add_command(trace)
cli.add_command(explain)
cli.add_command(capture)
cli.add_command(why)
cli.add_command(drops)
cli.add_command(test)
cli.add_command(dhcp)


def main() -> None:
    errors.run(cli, "pcgctl")


if __name__ == "__main__":
    main()
