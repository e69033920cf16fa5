"""Files that commands write."""

from pathlib import Path

import click


def html_name(name: str) -> str:
    """The name given to ``--html``, refused if it is not that of a page."""
    if Path(name).suffix.lower() not in (".html", ".htm"):
        raise click.UsageError(f"--html: {name} must end in .html")
    return name
