"""`pcg controller`: desired-state files to gateways, until SIGTERM."""

import signal

import click

from pcg.cli import logs
from pcg.controller.server import Controller
from pcg.model.load import load_settings
from pcg.model.settings import ControllerSettings


@click.command()
@click.option(
    "--settings", default="/etc/pcg/controller.yaml", show_default=True, help="Its settings file."
)
def controller(settings: str) -> None:
    """Serve the desired state of gateways and follow changes of their files."""
    loaded = load_settings(settings, ControllerSettings)
    logs.start(loaded.log_level)
    served = Controller(loaded)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: served.stop())
    served.run()
