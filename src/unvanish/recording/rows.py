"""Items as rows of tables, and many rows put into a table at once."""

import sqlite3
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from unvanish.recording import layout
from unvanish.recording.backlog import Item, Look, Packed
from unvanish.recording.records import Event, TensorEntry

AT_ONCE: Final = 256
COLUMNS: Final = {
    "tensor": "tensor (position, name, shape, dtype)",
    "step": "step (step, seconds, stage)",
    "scalar": "scalar (name, step, value)",
    "reading": "reading (statistic, step, numbers)",
    "event": "event (step, kind, said)",
    "look": "look (step, diagnosis)",
}


@dataclass(slots=True)
class Rows:
    """What some items come to: rows for each table. ``tensors`` is how many columns there are."""

    tensors: int
    newest: int | None = None
    of: dict[str, list[tuple[Any, ...]]] = field(
        default_factory=lambda: {table: [] for table in COLUMNS}
    )

    def add(self, item: Item) -> None:
        """Put an item's rows behind those that are there."""
        of = self.of
        if isinstance(item, Packed):
            step = item.step
            of["step"].append((step, item.seconds, item.stage))
            of["scalar"] += [(name, step, value) for name, value in item.scalars.items()]
            of["reading"] += [(name, step, blob) for name, blob in item.numbers.items()]
            if item.histogram is not None:
                packed = zlib.compress(item.histogram, 1)
                of["reading"].append((layout.HISTOGRAM, step, packed))
            self.newest = step
        elif isinstance(item, Event):
            of["event"].append((item.step, item.kind, layout.to_json(item.plain())))
        elif isinstance(item, Look):
            said = item.diagnosis.encode("utf-8", "replace")
            of["look"].append((item.step, zlib.compress(said, 6)))
        elif isinstance(item, TensorEntry):
            shape = layout.to_json(list(item.shape))
            of["tensor"].append((self.tensors, item.name, shape, item.dtype))
            self.tensors += 1

    def insert(self, connection: sqlite3.Connection) -> None:
        """Put all rows into their tables; a row of the same key is replaced."""
        for table, rows in self.of.items():
            _insert(connection, table, rows)


def _insert(connection: sqlite3.Connection, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Few statements of many rows, because each statement waits for the interpreter's lock.

    ``executemany`` waits once a row: beside a training loop that is busy in Python each wait takes
    the 5 ms after which the interpreter changes threads. Counts are powers of two, so that there
    are few different statements.
    """
    begin, count = 0, AT_ONCE
    while begin < len(rows):
        while count > len(rows) - begin:
            count //= 2
        now = rows[begin : begin + count]
        begin += count
        one = f"({', '.join('?' * len(now[0]))})"
        connection.execute(
            f"INSERT OR REPLACE INTO {COLUMNS[table]} VALUES {', '.join([one] * count)}",
            [value for row in now for value in row],
        )
