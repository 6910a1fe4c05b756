"""`pcg datapath`: the packet path in a process of its own."""

import click


@click.command()
@click.argument("settings", metavar="SETTINGS")
def datapath(settings: str) -> None:
    """Run the datapath by its settings file; SIGTERM ends it."""
    from pcg.cli import logs
    from pcg.datapath.process import run
    from pcg.model.load import load_settings
    from pcg.model.settings import DatapathSettings

    loaded = load_settings(settings, DatapathSettings)
    logs.start(loaded.log_level)
    run(loaded)
