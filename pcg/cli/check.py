"""`pcg check`: is this desired state right? The same judgement that controller and gateway make."""

import click


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
def check(files: tuple[str, ...]) -> None:
    """Check desired-state files as a whole; says every error with its place and mend."""
    from pcg.model.load import load_desired

    for name in files:
        desired = load_desired(name)
        counts = ", ".join(
            f"{len(getattr(desired, part))} {part}"
            for part in ("vrfs", "teps", "segments", "ports", "routes", "nat")
        )
        click.echo(f"{name}: right; gateway {desired.gateway.id}, {counts}")
