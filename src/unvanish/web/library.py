"""The recordings below a folder: found, opened once, and watched for what happens to them.

A browser never names a path. It gets a short name for each recording that was found, and may ask for
these names only.
"""

import contextlib
import hashlib
import os
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from starlette.exceptions import HTTPException

from unvanish.errors import BadInput
from unvanish.languages import gettext as _
from unvanish.recording import Recording
from unvanish.recording.files import recordings_in
from unvanish.web.rows import Rows

MOST_RECORDINGS: Final = 300
DEEPEST: Final = 8
LONGEST_SEARCH: Final = 2.0
"""Seconds after which a search below a folder ends: somebody may have named their home."""
_NAME = re.compile(r"recording(?:-\d+)?\.sqlite")


@dataclass(slots=True)
class Opened:
    """A recording that is open, what was already read of it, and when it last changed."""

    recording: Recording
    path: Path
    file: tuple[int, int]
    rows: Rows
    lock: threading.Lock = field(default_factory=threading.Lock)


class Library:
    """All recordings below a place.

    Args:
        place: a folder, or one recording's file.

    Raises:
        BadInput: there is no such folder or file.
    """

    def __init__(self, place: Path) -> None:
        if not place.exists():
            raise BadInput(f"there is no {place}: name a folder with recordings, or one of them.")
        self.place = place.absolute()
        self._lock = threading.Lock()
        self._paths: dict[str, Path] = {}
        self._open: dict[str, Opened] = {}
        self.complete = True

    def search(self) -> dict[str, Path]:
        """The recordings by their short names, the last changed first."""
        with self._lock:
            found = sorted(self._walk(), key=changed, reverse=True)[:MOST_RECORDINGS]
            self._paths |= {short_name(path): path for path in found}
            return {short_name(path): path for path in found}

    def shown_name(self, path: Path) -> str:
        """The path as seen from the folder; of its only recording the folder alone."""
        root = self.place if self.place.is_dir() else self.place.parent
        where = path.relative_to(root) if path.is_relative_to(root) else path
        if path.name == "recording.sqlite":
            where = where.parent if where.parent != Path() else Path(root.name)
        return where.as_posix()

    def open(self, name: str) -> Opened:
        """The recording with this short name.

        Raises:
            HTTPException: 404, there is none of that name; 410, it was deleted.
            BadInput: it cannot be read.
        """
        if name not in self._paths:
            self.search()
        path = self._paths.get(name)
        if path is None:
            raise HTTPException(404, _("There is no such recording here."))
        with self._lock:
            known = self._open.get(name)
            file = identity(path)
            if known is not None and known.file != file:
                known.recording.close()
                del self._open[name]
            if file is None:
                raise HTTPException(410, _("This recording was deleted or moved."))
            if known is None or known.file != file:
                recording = opened(path)
                self._open[name] = Opened(recording, path, file, Rows())
            return self._open[name]

    def state(self, name: str) -> dict[str, Any]:
        """What a page that follows a recording must know; cheap enough for four times a second."""
        try:
            there = self.open(name)
            moment = changed(there.path)
            return {
                "changed": moment,
                "finished": there.recording.finished,
                "last": there.recording.last_step,
            }
        except (HTTPException, BadInput) as error:
            said = error.detail if isinstance(error, HTTPException) else str(error)
            return {"gone": said}

    def _walk(self) -> Iterator[Path]:
        self.complete = True
        if self.place.is_file():
            yield self.place
            return
        until = time.monotonic() + LONGEST_SEARCH
        depth = len(self.place.parts)
        for folder, inner, files in os.walk(self.place):
            # In place: os.walk goes where this list says.
            inner[:] = sorted(
                name for name in inner if not name.startswith(".") and name != "node_modules"
            )
            if len(Path(folder).parts) - depth >= DEEPEST:
                inner.clear()
            if time.monotonic() > until:
                self.complete = False
                return
            yield from (Path(folder, name) for name in files if _NAME.fullmatch(name))


def opened(path: Path) -> Recording:
    """The recording in a file; with those of its mates, if it is the newest in its folder.

    Raises:
        BadInput: it cannot be read.
    """
    with contextlib.suppress(OSError):
        newest = recordings_in(path.parent)[-1:]
        if newest == (path,):
            return Recording.open(path.parent)
    return Recording.open(path)


def short_name(path: Path) -> str:
    """The name by which a browser asks for a recording."""
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]


def identity(path: Path) -> tuple[int, int] | None:
    """Which file this is on disk; ``None``: it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def changed(path: Path) -> float:
    """When it was last written to, seconds since 1970; 0: it is not there."""
    moments = [0.0]
    for file in (path, path.with_name(f"{path.name}-wal")):
        with contextlib.suppress(OSError):
            moments.append(file.stat().st_mtime)
    return max(moments)
