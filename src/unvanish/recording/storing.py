"""Putting waiting items into the file: one transaction for many of them."""

import contextlib
import logging
import sqlite3
import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

from unvanish.recording import layout
from unvanish.recording.backlog import Item, Packed
from unvanish.recording.rows import Rows
from unvanish.recording.thinning import Thinning

_log = logging.getLogger("unvanish")

PATIENCE = 60.0
"""Seconds to wait for somebody who locked the file, before giving the recording up."""
TRANSACTION_BYTES = 16 << 20


class Moved(OSError):
    """The file is no longer where it was: what is written to it would be lost."""


class Store:
    """The writing side of one recording file. For one thread at a time."""

    def __init__(self, path: Path, limit: int) -> None:
        self._path = path
        self._connection = sqlite3.connect(
            path, timeout=2.0, isolation_level=None, check_same_thread=False
        )
        try:
            # Where the file system has no shared memory the mode stays what it was; that works too.
            self._connection.execute("PRAGMA journal_mode = WAL")
            for setting in ("synchronous = NORMAL", "wal_autocheckpoint = 1000", "secure_delete = OFF",
                            "journal_size_limit = 33554432", "cache_size = -8192"):  # fmt: skip
                self._connection.execute(f"PRAGMA {setting}")
        except sqlite3.Error:
            self._connection.close()
            raise
        self._inode = path.stat().st_ino
        self._tensors = 0
        self._thinning = Thinning(self._connection, limit)
        self._transaction_bytes = max(min(TRANSACTION_BYTES, limit // 16), 1 << 16)
        self._refused = 0
        self._lost: dict[str, int] = {}
        self.newest: int | None = None

    def about(self, **values: object) -> None:
        """Keep facts about the whole recording."""
        rows = [(key, layout.to_json(value)) for key, value in values.items()]
        with self._transaction():
            self._connection.executemany("INSERT OR REPLACE INTO about VALUES (?, ?)", rows)

    def save(self, items: Sequence[Item], lost: dict[str, int]) -> None:
        """Write the items in order and commit.

        Raises:
            sqlite3.Error: the file cannot be written.
            Moved: the file is no longer there.
        """
        self._check_place()
        for part in self._parts(items):
            with self._transaction():
                rows = self._insert(part)
            # Apart from what was just written, which is safe by now.
            if self._thinning.due():
                with self._transaction():
                    self._thinning.turn(rows)
                    self._say("thinned", self._thinning.levels)
        lost = {**lost, "refused": self._refused}
        if lost != self._lost:
            self._lost = lost
            self.about(lost=lost)

    def close(self, finished: bool) -> None:
        """Bring everything into the one file and let go of it."""
        with contextlib.closing(self._connection):
            if finished:
                self.about(finished=True)
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            with contextlib.suppress(sqlite3.Error):  # refused while somebody reads
                self._connection.execute("PRAGMA journal_mode = DELETE")

    def _check_place(self) -> None:
        try:
            here = self._path.stat().st_ino == self._inode
        except OSError:
            here = False
        if not here:
            raise Moved("the file was removed or moved")

    def _parts(self, items: Sequence[Item]) -> Iterator[list[Item]]:
        part: list[Item] = []
        size = 0
        for item in items:
            part.append(item)
            size += item.size if isinstance(item, Packed) else 64
            if size >= self._transaction_bytes:
                yield part
                part, size = [], 0
        if part:
            yield part

    @contextlib.contextmanager
    def _transaction(self) -> Generator[None]:
        self._retried("BEGIN IMMEDIATE")
        try:
            yield
            self._retried("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise

    def _retried(self, statement: str) -> None:
        until = time.monotonic() + PATIENCE
        while True:
            try:
                self._connection.execute(statement)
                return
            except sqlite3.OperationalError as error:
                busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
                if not busy or time.monotonic() > until:
                    raise

    def _insert(self, items: Sequence[Item]) -> int:
        """How many rows of readings were written."""
        try:
            return self._at_once(items)
        except (ValueError, TypeError, OverflowError) as error:  # nothing that a file can hold
            if len(items) > 1:
                return sum(self._insert([item]) for item in items)
            self._refused += 1
            _log.debug("not recorded: %s", error)
            return 0

    def _at_once(self, items: Sequence[Item]) -> int:
        rows = Rows(self._tensors)
        for item in items:
            rows.add(item)
        rows.insert(self._connection)
        self._tensors = rows.tensors
        self.newest = self.newest if rows.newest is None else rows.newest
        readings = rows.of["reading"]
        self._thinning.wrote(len(rows.of["step"]), sum(len(row[2]) for row in readings))
        return len(readings)

    def _say(self, key: str, value: object) -> None:
        row = (key, layout.to_json(value))
        self._connection.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", row)
