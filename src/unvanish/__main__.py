"""python -m unvanish."""

from unvanish.cli import main

main()
