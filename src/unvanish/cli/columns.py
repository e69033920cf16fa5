"""How wide a report is: a terminal's own width, a fixed one in a pipe."""


def columns(in_pipe: int) -> int:
    """The terminal's columns; where the output is no terminal, as many as are given."""
    from rich.console import Console

    console = Console()
    return console.width if console.is_terminal else in_pipe
