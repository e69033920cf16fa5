"""Opening a recording to read: while it is written, after a kill, from a folder without rights."""

import contextlib
import os
import shutil
import sqlite3
import tempfile
import urllib.parse
from pathlib import Path
from typing import cast

from unvanish.errors import BadInput
from unvanish.recording import files, layout


def find(path: str | os.PathLike[str]) -> Path:
    """The recording that a path means: that file, or the newest in that folder.

    Raises:
        BadInput: there is none.
    """
    place = Path(path)
    try:
        if place.is_dir():
            found = files.recordings_in(place)
            if not found:
                raise BadInput(
                    f"there is no recording in {place}: name the folder that was given to "
                    "unvanish.watch(to=...)."
                )
            return found[-1].absolute()
        if place.is_file():
            return place.absolute()
    except OSError as error:
        raise BadInput(f"cannot read {place}: {error.strerror or error}.") from error
    raise BadInput(f"there is no recording at {place}: check the path (relative to {Path.cwd()}).")


def connect(path: Path) -> sqlite3.Connection:
    """A connection that can only read.

    Raises:
        BadInput: the file is not a recording, or of a newer version.
    """
    try:
        connection = _connect(path)
    except sqlite3.Error as error:
        raise BadInput(_unreadable(path, error)) from error
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror or error}.") from error
    try:
        _check(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _unreadable(path: Path, error: sqlite3.Error) -> str:
    return f"{path} cannot be read as a recording: {error}; name a file that unvanish.watch wrote."


def _connect(path: Path) -> sqlite3.Connection:
    try:
        return _tried(path, "mode=ro")
    except sqlite3.OperationalError:
        log = path.with_name(path.name + "-wal")
        if log.exists() and log.stat().st_size:
            return _copied(path, log)
        # Nobody may write here, so nobody writes: then the file alone is complete.
        return _tried(path, "immutable=1")


def _copied(path: Path, log: Path) -> sqlite3.Connection:
    """Where a killed program's last steps lie beside the file, and nothing may be written there."""
    with tempfile.TemporaryDirectory(prefix="unvanish-") as folder:
        copy = Path(folder, path.name)
        shutil.copyfile(path, copy)
        shutil.copyfile(log, copy.with_name(log.name))
        memory = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        with contextlib.closing(sqlite3.connect(copy)) as source:
            source.backup(memory)
    return memory


def _tried(path: Path, mode: str) -> sqlite3.Connection:
    # One decision for every kind of name: '?', '#' and '%' mean something in a URI.
    connection = sqlite3.connect(
        f"file:{urllib.parse.quote(str(path))}?{mode}",
        uri=True,
        timeout=10.0,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA query_only = ON")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def _check(connection: sqlite3.Connection, path: Path) -> None:
    """Raise BadInput unless this is a recording that this version reads."""
    try:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    except sqlite3.Error as error:
        raise BadInput(_unreadable(path, error)) from error
    if application != layout.APPLICATION:
        raise BadInput(f"{path} is not a recording; name a file that unvanish.watch wrote.")
    if version > layout.VERSION:
        raise BadInput(
            f"{path} was written by a newer unvanish (recording version {version}, this one reads "
            f"up to {layout.VERSION}): install a newer unvanish."
        )
    missing = set(layout.TABLES) - {name for (name,) in cast(list[tuple[str]], rows)}
    if missing:
        raise BadInput(f"{path} is damaged: it has no table {', '.join(sorted(missing))}.")
