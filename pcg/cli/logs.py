"""One log format for all programs: to stderr, where systemd and a terminal both read it."""

import logging


def start(level: str) -> None:
    """`level` as the settings have it: debug, info, warning or error."""
    logging.basicConfig(
        level=level.upper(), format="%(asctime)s %(levelname)-7s %(name)s: %(message)s"
    )
