"""Reads documents: desired state and settings. The only part of the model that touches files.

What is wrong with a document is told whole, in one ConfigError: first what could not be converted,
then every rule that the rest breaks.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pcg.model.convert import convert
from pcg.model.desired import SCHEMA, Desired
from pcg.model.document import read_tree
from pcg.model.errors import ConfigError, Problem
from pcg.model.forms import canonical, rewriter
from pcg.model.rules.settings import check_settings
from pcg.model.validate import validate

T = TypeVar("T")


def load_desired(path: str | os.PathLike[str], gateway: str = "") -> Desired:
    """Canonical and valid desired state. Raises ConfigError with every problem of the file.

    gateway   whose it has to be; "": anybody's
    """
    return parse_desired(read_file(path), str(path), gateway)


def parse_desired(text: str | bytes, source: str = "desired state", gateway: str = "") -> Desired:
    """The same from YAML or JSON at hand; `source` names it in the error."""
    tree = read_tree(text, source)
    check_schema(tree, source)
    made = convert({} if tree is None else tree, Desired)
    problems = list(made.problems)
    desired = made.value
    if desired is not None:
        desired = canonical(desired)
        its = desired.gateway.id if gateway and desired.gateway else gateway
        if its not in ("", gateway):  # all else that it breaks would mislead
            mend = f"is not what the file is called; write {gateway}, or rename it to {its}.yaml"
            raise ConfigError([Problem("gateway.id", its, mend)], source)
        problems += validate(desired, made.missing)
    if problems:
        raise ConfigError(problems, source)
    return desired


def check_schema(tree: Any, source: str) -> None:
    """A newer document is refused by its number, before its unknown fields confuse anybody."""
    schema = tree.get("schema", SCHEMA) if isinstance(tree, dict) else SCHEMA
    if isinstance(schema, int) and not isinstance(schema, bool) and schema > SCHEMA:
        mend = f"is newer than this version reads ({SCHEMA}); upgrade the gateway first"
        raise ConfigError([Problem("schema", schema, mend)], source)


def load_settings(path: str | os.PathLike[str], cls: type[T]) -> T:
    """Settings of one program, with paths in them resolved to the file's own folder.

    Raises ConfigError with every problem of the file.
    """
    tree = read_tree(read_file(path), str(path))
    made = convert({} if tree is None else tree, cls)
    if made.problems:
        raise ConfigError(made.problems, str(path))
    resolve = rewriter(cls, path_forms(Path(path).absolute().parent))
    settings = resolve(made.value) if resolve else made.value
    if problems := check_settings(settings):
        raise ConfigError(problems, str(path))
    return settings


def path_forms(folder: Path) -> Mapping[str, Any]:
    """What makes the paths of settings independent of where a program was started."""

    def file(text: str) -> str:
        return os.path.normpath(folder / Path(text).expanduser())

    def endpoint(text: str) -> str:
        scheme, _, rest = text.partition("://")
        return f"ipc://{file(rest)}" if scheme == "ipc" and not rest.startswith("@") else text

    return {"file": file, "endpoint": endpoint}


def read_file(path: str | os.PathLike[str]) -> bytes:
    try:
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        wrong = Problem("document", "", f"cannot be read ({why}); look at its path and permissions")
        raise ConfigError([wrong], str(path)) from None
