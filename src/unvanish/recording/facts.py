"""What a recording says of itself: its steps, tensors, events, and how it came about."""

import contextlib
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from unvanish.recording import layout
from unvanish.recording.queries import Queries, Steps, number, shape_of
from unvanish.recording.records import Event, TensorEntry


class Facts:
    """One recording as a whole; every property reads the file anew."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._file = Queries(connection, path)
        self.path = path

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def snapshot(self) -> contextlib.AbstractContextManager[None]:
        """``with recording.snapshot():`` everything read inside is of one moment."""
        return self._file.snapshot()

    @property
    def steps(self) -> Steps:
        """The steps of which anything is kept, ascending; of old ones perhaps scalars only."""
        return self._file.steps("SELECT step FROM step ORDER BY step")

    @property
    def last_step(self) -> int | None:
        """The last of ``steps``, at once also in a long recording; ``None``: there is none yet."""
        steps = self._file.steps("SELECT step FROM step ORDER BY step DESC LIMIT 1")
        return int(steps[0]) if len(steps) else None

    @property
    def seconds(self) -> NDArray[np.float64]:
        """When each of ``steps`` was, in seconds since the watch began."""
        rows = self._file.rows("SELECT seconds FROM step ORDER BY step")
        return np.array([number(second) for (second,) in rows], dtype=np.float64)

    @property
    def stages(self) -> tuple[str, ...]:
        """Which gradient was read at each of ``steps`` (see :class:`StepReading`)."""
        return tuple(
            str(stage) for (stage,) in self._file.rows("SELECT stage FROM step ORDER BY step")
        )

    @property
    def tensors(self) -> tuple[str, ...]:
        """Names of the watched tensors, in the order of the columns."""
        rows = self._file.rows("SELECT name FROM tensor ORDER BY position")
        return tuple(str(name) for (name,) in rows)

    @property
    def entries(self) -> tuple[TensorEntry, ...]:
        """The watched tensors with shape and dtype."""
        rows = self._file.rows("SELECT name, shape, dtype FROM tensor ORDER BY position")
        return tuple(
            TensorEntry(name=str(name), shape=shape_of(shape), dtype=str(dtype))
            for name, shape, dtype in rows
        )

    @property
    def statistics(self) -> tuple[str, ...]:
        """Names of the statistics of which there is any number."""
        names: list[str] = []
        query = "SELECT min(statistic) FROM reading WHERE statistic > ?"
        with self._file.snapshot():
            while (found := self._file.rows(query, names[-1] if names else "")[0][0]) is not None:
                names.append(str(found))
        return tuple(names)

    @property
    def scalar_names(self) -> tuple[str, ...]:
        """Names of what a step has only one of (``loss``, ``learning_rate``, ...)."""
        return tuple(str(name) for (name,) in self._file.rows("SELECT DISTINCT name FROM scalar"))

    @property
    def events(self) -> tuple[Event, ...]:
        """Alarms, actions, looks and notes, in the order in which they came."""
        rows = self._file.rows("SELECT said FROM event ORDER BY id")
        return tuple(layout.event_from_json(said) for (said,) in rows)

    @property
    def looks(self) -> Steps:
        """The steps that were observed in full."""
        return self._file.steps("SELECT step FROM look ORDER BY step")

    @property
    def conditions(self) -> dict[str, Any]:
        """Under which the recording was made."""
        return dict(cast(Mapping[str, Any], self._file.about("conditions", {})))

    @property
    def started(self) -> str:
        """Date and time at which it began, UTC, by the computer's clock."""
        return str(self._file.about("started", ""))

    @property
    def process(self) -> int | None:
        """The number of the process that writes or wrote it, on its machine."""
        return self._file.about("process", 0) or None

    @property
    def machine(self) -> str:
        """Which machine that was (see :func:`unvanish.recording.endings.machine`); may be empty."""
        return str(self._file.about("machine", ""))

    @property
    def finished(self) -> bool:
        """The writer was closed: nothing more will come. False also after a kill."""
        return bool(self._file.about("finished", False))

    @property
    def lost(self) -> dict[str, int]:
        """How many readings were dropped because the disk was too slow, by kind; usually none."""
        lost = cast(Mapping[str, int], self._file.about("lost", {}))
        return {str(kind): int(count) for kind, count in lost.items() if count}

    @property
    def thinned(self) -> dict[str, int]:
        """Of which kinds of old rows only every 2^n-th is kept, and n; empty: all are there."""
        levels = cast(Mapping[str, int], self._file.about("thinned", {}))
        return {str(kind): int(level) for kind, level in levels.items() if level}
