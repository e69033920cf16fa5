"""Files that commands write: looked at before anything runs, and one sentence where it fails."""

import contextlib
import errno
import os
from collections.abc import Generator
from pathlib import Path

import click

from unvanish.errors import BadInput


def html_name(name: str) -> str:
    """The name given to ``--html``, refused if it is not that of a page."""
    if Path(name).suffix.lower() not in (".html", ".htm"):
        raise click.UsageError(f"--html: {name} must end in .html")
    return name


def check_files(**named: str | None) -> None:
    """The files that options name, before the work is done that is to be written into them.

    Nothing is opened: a pipe would take it for the end. What only shows later says :func:`writing`.

    Raises:
        UsageError: the name given to ``--html`` is not that of a page.
        BadInput: a file cannot be written.
    """
    for option, name in named.items():
        if name is None:
            continue
        if option == "html":
            html_name(name)
        with writing(f"--{option}", name):
            _check_place(Path(name))


@contextlib.contextmanager
def writing(option: str, name: str) -> Generator[None]:
    """Around what writes the file that an option names.

    Raises:
        BadInput: it cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise BadInput(
            f"{option}: cannot write {name}: {error.strerror or type(error).__name__}."
        ) from error


def _check_place(path: Path) -> None:
    """What opening it for writing would raise."""
    if path.is_dir():
        reason = errno.EISDIR
    elif path.exists():
        reason = 0 if os.access(path, os.W_OK) else errno.EACCES
    elif not path.parent.exists():
        reason = errno.ENOENT
    elif not path.parent.is_dir():
        reason = errno.ENOTDIR
    else:
        reason = 0 if os.access(path.parent, os.W_OK | os.X_OK) else errno.EACCES
    if reason:
        raise OSError(reason, os.strerror(reason))
