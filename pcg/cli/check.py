"""`pcg check`: is this desired state right? The same judgement that controller and gateway make."""

import click


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
def check(files: tuple[str, ...]) -> int:
    """Check desired-state files as a whole; says every error with its place and mend."""
    from pcg.cli.errors import guarded

    return max([guarded(lambda name=name: _check(name)) for name in files])


def _check(name: str) -> None:
    from pcg.model.load import load_desired

    desired = load_desired(name)
    counts = ", ".join(
        f"{len(getattr(desired, part))} {part}"
        for part in ("vrfs", "teps", "segments", "ports", "routes", "nat")
    )
    click.echo(f"{name}: right; gateway {desired.gateway.id}, {counts}")
