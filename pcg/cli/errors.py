"""How our errors reach a person: one message on stderr, an exit code, no traceback.

2  what was asked for is wrong (ConfigError, and click's own usage errors)
1  the world is wrong (BackendError, ProtocolError)
3  of `pcg datapath`: one of its interfaces was replaced, start it again
"""

import errno
import sys
from collections.abc import Callable

import click

from pcg.model.errors import ConfigError, PcgError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)  # of who reads our output


def run(command: click.Command, name: str) -> None:
    """Run a command line to its end; never returns."""
    sys.exit(guarded(lambda: command.main(prog_name=name, standalone_mode=False)))


def guarded(call: Callable[[], object]) -> int:
    """The exit code of `call`; its errors have been said."""
    try:
        code = call()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:  # Ctrl-C
        return 130
    except PcgError as error:
        click.echo(f"error: {error}", err=True)
        return 2 if isinstance(error, ConfigError) else 1
    except BrokenPipeError:  # `pcgctl ... | head`
        sys.stdout = None
        return 0
    except OSError as error:
        if error.errno not in FULL:
            raise
        sys.stdout = None  # what is left in its buffer finds no room either
        click.echo(f"error: the output could not be written: {error.strerror}", err=True)
        return 1
    return code if isinstance(code, int) else 0
