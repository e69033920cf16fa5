"""A sign of life on a terminal while something takes long; nothing in a pipe."""

import contextlib
from collections.abc import Generator


@contextlib.contextmanager
def working(what: str) -> Generator[None]:
    """Show a spinner with these words on standard error, if that is a terminal."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(f"{what} ..."):
        yield
