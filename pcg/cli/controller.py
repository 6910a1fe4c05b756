"""`pcg controller`: desired-state files to gateways, until SIGTERM."""

import signal

import click

from pcg.cli import logs
from pcg.controller.server import Controller
from pcg.model.load import load_settings
from pcg.model.settings import ControllerSettings


@click.command()
@click.option("--settings", "path", required=True, help="File like configs/controller.yaml.")
def controller(path: str) -> None:
    """Serve the desired state of gateways and follow changes of their files."""
    settings = load_settings(path, ControllerSettings)
    logs.start(settings.log_level)
    served = Controller(settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: served.stop())
    served.run()
