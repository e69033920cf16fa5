"""Writer: readings go from the training to the disk without the training ever waiting for it."""

import atexit
import datetime
import logging
import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from unvanish.errors import BadInput
from unvanish.recording import files
from unvanish.recording.backlog import Backlog, Item, Look, Waiting, pack
from unvanish.recording.endings import machine
from unvanish.recording.records import Event, StepReading, TensorEntry
from unvanish.recording.storing import Store

LIMIT_BYTES: Final = 1 << 30
BACKLOG_BYTES: Final = 64 << 20
PAUSE: Final = 0.2
"""Seconds in which items gather before they are written at once: what a kill can cost at most."""
FAREWELL: Final = 20.0
"""Seconds that closing waits for a slow disk."""

_log = logging.getLogger("unvanish")
_open: weakref.WeakSet["Writer"] = weakref.WeakSet()


class Writer:
    """Writes one recording. Safe to call from several threads; never raises, never waits for disk.

    A folder that already holds a recording gets another one beside it (``recording-2.sqlite``).
    What is written is on its way to the disk within a fifth of a second, by a thread of its own:
    a program killed at any moment loses little more than that. At the end of the program what still waits
    is written, with or without :meth:`close`. In a forked child all methods do nothing.

    Args:
        folder: where the recording goes; made where it is not there.
        tensors: what is watched, in the order of the columns of every reading.
        conditions: anything worth knowing that JSON can hold (other things by their text).
        limit_bytes: the size of the file at which older steps begin to be thinned.
        backlog_bytes: how much may wait for the disk before detail is dropped (and counted).

    Raises:
        BadInput: the folder cannot be written; said where and why.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        tensors: Sequence[TensorEntry],
        conditions: Mapping[str, Any],
        *,
        limit_bytes: int = LIMIT_BYTES,
        backlog_bytes: int = BACKLOG_BYTES,
    ) -> None:
        if limit_bytes < 1 << 20:
            raise BadInput(f"limit_bytes must be at least 1 MiB (1048576), got {limit_bytes}.")
        self.path = files.new_file(Path(folder).absolute())
        self.failed: str | None = None
        self._process = os.getpid()
        self._backlog = Backlog(backlog_bytes)
        self._closing = False
        self._refused = False
        try:
            self._store = Store(self.path, limit_bytes)
            started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            where = {"process": self._process, "machine": machine()}
            self._store.about(conditions=dict(conditions), started=started, **where)
            self._store.save(list(tensors), {})
        except (sqlite3.Error, OSError) as error:
            raise BadInput(
                f"cannot record to {self.path}: {error}; name a folder on a local disk with room."
            ) from error
        self._thread = threading.Thread(target=self._run, name="unvanish-recording", daemon=True)
        self._thread.start()
        _open.add(self)

    def write(self, reading: StepReading) -> None:
        """Record a step. The arrays are copied: they may be used again at once."""
        self._put(lambda: pack(reading))

    def event(self, event: Event) -> None:
        """Record something that happened."""
        self._put(lambda: event)

    def look(self, step: int, diagnosis_json: str) -> None:
        """Record what a step that was observed in full gave, as the JSON of its diagnosis."""
        self._put(lambda: Look(int(step), str(diagnosis_json)))

    def add_tensors(self, entries: Iterable[TensorEntry]) -> None:
        """Tensors that are watched from now on: the next columns of every reading."""
        for entry in entries:
            self._put(lambda entry=entry: entry)

    def flush(self, timeout: float = FAREWELL) -> None:
        """Wait until everything so far is written (or ``timeout`` seconds, or it failed)."""
        waiting = Waiting()
        if self._put(lambda: waiting, hurry=True):
            waiting.done.wait(timeout)

    def close(self) -> None:
        """Write what still waits, and complete the file. Can be called again; does nothing then."""
        if os.getpid() != self._process:
            return
        self._closing = True
        self._backlog.hurry()
        self._thread.join(FAREWELL)
        _open.discard(self)

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _put(self, make: Callable[[], Item], hurry: bool = False) -> bool:
        # The process first: in a forked child the locks may be held by threads that are not there.
        if os.getpid() != self._process or self._closing or self.failed is not None:
            return False
        try:
            self._backlog.put(make(), hurry)
        except Exception as error:  # whatever it was handed: training goes on
            if not self._refused:
                self._refused = True
                _log.warning(
                    "unvanish could not record a reading (%s: %s); this is a fault of unvanish, "
                    "training goes on",
                    type(error).__name__,
                    error,
                )
            return False
        return True

    def _run(self) -> None:
        items: list[Item] = []
        try:
            while not self._closing:
                items = self._backlog.take(PAUSE)
                if items:
                    self._store.save(items, self._backlog.lost)
                    release(items)
            items = self._backlog.drain()
            self._store.save(items, self._backlog.lost)
            release(items)
            self._store.close(finished=True)
        except Exception as error:
            self._fail(error)
            release([*items, *self._backlog.drain()])

    def _fail(self, error: Exception) -> None:
        after = "before its first step" if self._store.newest is None else (
            f"after step {self._store.newest}"
        )  # fmt: skip
        self.failed = f"the recording {self.path} stopped {after}: {error}"
        _log.warning("%s; training goes on unrecorded", self.failed)
        try:
            self._store.close(finished=False)
        except Exception as second:
            _log.debug("and could not be closed: %s", second)


def release(items: Iterable[Item]) -> None:
    """Let those go on who waited for these items."""
    for item in items:
        if isinstance(item, Waiting):
            item.done.set()


def _close_all() -> None:
    for writer in list(_open):
        writer.close()


atexit.register(_close_all)
