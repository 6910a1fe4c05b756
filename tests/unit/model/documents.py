"""A good document that uses every part, and how a test makes one small thing of it wrong."""

from pathlib import Path

from pcg.model.errors import ConfigError
from pcg.model.load import parse_desired

GOOD = (Path(__file__).parent / "good.yaml").read_text()


def edited(*edits: tuple[str, str]) -> str:
    """GOOD with each old text, which stands in it once, replaced by the new one."""
    text = GOOD
    for old, new in edits:
        assert text.count(old) == 1, f"{old!r} stands there {text.count(old)} times"
        text = text.replace(old, new)
    return text


def problems(text: str | bytes) -> list[str]:
    """What is told about a document, a line each; none when it is right."""
    try:
        parse_desired(text)
    except ConfigError as error:
        return [str(problem) for problem in error.problems]
    return []
