"""Somebody's file under our command: it finds its own name in ``sys.argv``, and may end the program."""

import contextlib
import sys
from collections.abc import Generator


@contextlib.contextmanager
def own_arguments(script: str, *arguments: str) -> Generator[None]:
    """``sys.argv`` as it is under ``python SCRIPT ARGUMENTS``; ours is put back afterwards."""
    before = sys.argv
    sys.argv = [script, *arguments]
    try:
        yield
    finally:
        sys.argv = before


def exit_status(leaving: SystemExit) -> tuple[int, str | None]:
    """What Python makes of a ``SystemExit``: the status, and what is said on standard error."""
    if leaving.code is None:
        return 0, None
    if isinstance(leaving.code, int):
        return leaving.code, None
    return 1, str(leaving.code)
