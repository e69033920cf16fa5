"""Which file a recording gets: never one that is there already, never one that is half made."""

import contextlib
import os
import re
import sqlite3
from pathlib import Path

from unvanish.errors import BadInput
from unvanish.recording import layout

_NAME = re.compile(r"recording(?:-(\d+))?\.sqlite")


def recordings_in(folder: Path) -> tuple[Path, ...]:
    """The recordings in a folder, oldest first."""
    found: list[tuple[int, Path]] = []
    for path in folder.iterdir():
        named = _NAME.fullmatch(path.name)
        # An empty one is a name that was claimed a moment ago.
        if named and path.is_file() and path.stat().st_size:
            found.append((int(named[1] or 1), path))
    return tuple(path for _, path in sorted(found))


def new_file(folder: Path) -> Path:
    """An empty recording with all of its tables, under the next free name in this folder.

    It is made under another name and then linked into place, which fails where the name is taken:
    two programs that begin at the same moment get two files, and no reader ever meets half a one.

    Raises:
        BadInput: the folder cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / f".recording-{os.getpid()}-{os.urandom(4).hex()}.new"
        try:
            _create(draft)
            return _link(draft, folder)
        finally:
            for leftover in (draft, draft.with_name(draft.name + "-journal")):
                with contextlib.suppress(OSError):
                    leftover.unlink()
    except FileExistsError as error:
        raise BadInput(f"cannot record to {folder}: it is a file; name a folder.") from error
    except OSError as error:
        said = error.strerror or str(error)
        raise BadInput(
            f"cannot record to {folder}: {said}; name a folder that can be written."
        ) from error
    except sqlite3.Error as error:
        raise BadInput(
            f"cannot record to {folder}: {error}; name a folder that can be written."
        ) from error


def _create(draft: Path) -> None:
    os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    with contextlib.closing(sqlite3.connect(draft)) as connection:
        connection.executescript(layout.creation())


def _link(draft: Path, folder: Path) -> Path:
    last = max((int(m[1] or 1) for m in _names(folder)), default=0)
    while True:
        last += 1
        path = folder / ("recording.sqlite" if last == 1 else f"recording-{last}.sqlite")
        try:
            os.link(draft, path)
        except FileExistsError:
            continue
        except OSError:  # a file system without links: claim the name, then fill it
            try:
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            except FileExistsError:
                continue
            draft.replace(path)  # over what was claimed a moment ago
        return path


def _names(folder: Path) -> list[re.Match[str]]:
    return [named for path in folder.iterdir() if (named := _NAME.fullmatch(path.name))]
