"""`pcg keys`: a CURVE key pair for a controller, gateway or agent."""

from pathlib import Path

import click
import msgspec

from pcg.model.desired import Id
from pcg.wire import curve


@click.command()
@click.argument("name")
@click.option("--dir", "folder", default=".", help="Where to write; made when it is not there.")
def keys(name: str, folder: str) -> None:
    """Make NAME.key, to give to others, and NAME.key_secret, to keep.

    For a gateway NAME is its id: in the controller's allow folder the file's name is who may come.
    """
    try:
        msgspec.convert(name, Id)
    except msgspec.ValidationError:
        text = f"{name} is no id; a letter, then letters, digits, '.', '_', '-', at most 47"
        raise click.BadParameter(text, param_hint="NAME") from None
    public, secret = curve.make_keys(Path(folder), name)
    click.echo(f"{public}  public: copy it to those who shall know {name}")
    click.echo(f"{secret}  secret: keep it, readable by you alone")
