"""`python -m pcg` is `pcg`."""

from pcg.cli.main import main

main()
