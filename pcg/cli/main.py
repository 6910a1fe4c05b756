"""`pcg`: the programs and what an operator prepares for them.

Each command lives in a module of its own and is imported when it is called, so that one program
does not need another's libraries.
"""

import importlib

import click

from pcg.cli import errors

COMMANDS = {
    "check": "pcg.cli.check:check",
    "controller": "pcg.cli.controller:controller",
    "datapath": "pcg.cli.datapath:datapath",
    "gateway": "pcg.cli.gateway:gateway",
    "keys": "pcg.cli.keys:keys",
}


class LazyGroup(click.Group):
    """A group whose commands are imported by name when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name].split(":")
        return getattr(importlib.import_module(module), name)


@click.group(cls=LazyGroup)
@click.version_option(package_name="pcg")
def cli() -> None:
    """Public Cloud Gateway."""


def main() -> None:
    errors.run(cli, "pcg")
