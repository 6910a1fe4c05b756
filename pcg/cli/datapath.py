"""`pcg datapath`: the packet path in a process of its own."""

import click


@click.command()
@click.option(
    "--settings", default="/etc/pcg/datapath.yaml", show_default=True, help="Its settings file."
)
def datapath(settings: str) -> int:
    """Run the datapath; SIGTERM ends it, and its sessions wait in the arena for the next one.

    It ends with exit code 3 when one of its interfaces was replaced: it wants to be started again.
    """
    from pcg.cli import logs
    from pcg.datapath.process import run
    from pcg.model.load import load_settings
    from pcg.model.settings import DatapathSettings

    loaded = load_settings(settings, DatapathSettings)
    logs.start(loaded.log_level)
    return run(loaded)
