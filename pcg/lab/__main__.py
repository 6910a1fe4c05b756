"""python -m pcg.lab ..."""

from pcg.lab.cli import main

main()
