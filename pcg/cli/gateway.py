"""`pcg gateway`: the control loop of one PCG."""

import click


@click.command()
@click.option(
    "--settings", default="/etc/pcg/gateway.yaml", show_default=True, help="Its settings file."
)
def gateway(settings: str) -> None:
    """Run the gateway by its settings file; SIGTERM ends it and leaves forwarding as it is."""
    from pcg.cli import logs
    from pcg.gateway.process import run
    from pcg.model.load import load_settings
    from pcg.model.settings import GatewaySettings

    loaded = load_settings(settings, GatewaySettings)
    logs.start(loaded.log_level)
    run(loaded)
