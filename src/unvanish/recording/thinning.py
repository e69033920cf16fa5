"""A recording stays below its limit: of older steps, fewer are kept.

Histograms (the dearest) are thinned first and stay eight times sparser than readings, scalars (the
cheapest) are thinned last and stay 64 times denser. Each kind has a spacing, a power of two: of
the old steps the first in each stretch of ``spacing`` steps stays. Of steps that were read every
time these are the ones divisible by it, and no other rhythm of reading is lost. What stays at one
spacing contains what stays at the next, so it does not matter in how many rounds a recording was
thinned. Never thinned are the first step, the last ones, and steps at which something happened;
unless these alone were too much: then there are fewer last ones, and every second event counts.
"""

import sqlite3
import time
from dataclasses import dataclass, field
from typing import Any, Final

from unvanish.recording.layout import HISTOGRAM

KINDS: Final = ("histograms", "readings", "scalars", "looks", "actions")
LAST_STEPS: Final = 1000
FEWEST_LAST_STEPS: Final = 16
LAST_LOOKS: Final = 8
HISTOGRAMS_SPARSER: Final = 3
SCALARS_DENSER: Final = 6
MOST_LEVEL: Final = 60
BEGIN_AT: Final = 0.9
END_AT: Final = 0.75
"""Shares of the limit: thinning begins at the one, and goes on until the other is reached."""
LAST_SHARE, EVENTS_SHARE, LOOKS_SHARE, ACTIONS_SHARE = 0.4, 0.2, 0.2, 0.1
"""Shares of the limit that what is not thinned may take."""
CHUNK: Final = 512
TURN_SECONDS: Final = 0.1


@dataclass(slots=True)
class Sweep:
    """How far a list of steps has been thinned at the present spacing, and in which stretch."""

    next: int = 0
    stretch: int | None = None

    def surplus(self, steps: list[int], spacing: int, kept: set[int]) -> list[int]:
        """Those of these steps (ascending) that are not the first of their stretch.

        >>> Sweep().surplus([0, 1, 2, 3, 4, 5, 6], 4, {5})
        [1, 2, 3, 6]
        >>> Sweep().surplus([1, 3, 5, 7, 9], 4, set())  # no rhythm of reading vanishes
        [3, 7]
        """
        gone: list[int] = []
        for step in steps:
            if step // spacing != self.stretch:
                self.stretch = step // spacing
            elif step not in kept:
                gone.append(step)
        self.next = steps[-1] + 1 if steps else self.next
        return gone


@dataclass(slots=True)
class _Moment:
    """What is old, and what must stay, at the beginning of a turn."""

    last: int
    events_every: int
    statistics: list[str] = field(default_factory=list[str])


class Thinning:
    """Deletes a little in each turn, in a transaction of the writer's."""

    def __init__(self, connection: sqlite3.Connection, limit: int) -> None:
        self._connection = connection
        self._limit = limit
        self._running = False
        self._steps_written = self._bytes = 0.0
        self._sweeps: dict[str, dict[str, Sweep]] = {kind: {} for kind in KINDS}
        self.levels: dict[str, int] = dict.fromkeys(KINDS, 0)

    def due(self) -> bool:
        """The file is too large, or was and is not yet small enough."""
        self._running = self._used() > (END_AT if self._running else BEGIN_AT) * self._limit
        return self._running

    def wrote(self, steps: int, size: int) -> None:
        """Learn what a step takes: of the last thousand or two that were written."""
        self._steps_written += steps
        self._bytes += size
        if self._steps_written > 2 * LAST_STEPS:
            self._steps_written /= 2
            self._bytes /= 2

    def turn(self, rows_written: int) -> None:
        """Delete for a tenth of a second, and at least twice what was just written."""
        self._sparser_looks()
        moment = self._moment()
        rows, until = 2 * rows_written, time.monotonic() + TURN_SECONDS
        while (rows > 0 or time.monotonic() < until) and self.due():
            place = self._unfinished(moment)
            if place is None:
                if 1 << self.levels["readings"] > moment.last:
                    return  # of the old steps only the first is left
                self._next_level()
            else:
                rows -= self._chunk(*place, moment)

    def _used(self) -> int:
        pages = self._number("PRAGMA page_count") - self._number("PRAGMA freelist_count")
        return pages * self._number("PRAGMA page_size")

    def _next_level(self) -> None:
        level = self.levels
        kind = "readings"
        if level["histograms"] < level["readings"] + HISTOGRAMS_SPARSER:
            kind = "histograms"
        elif level["scalars"] < level["readings"] - SCALARS_DENSER:
            kind = "scalars"
        level[kind] += 1
        self._sweeps[kind] = {}

    def _unfinished(self, moment: _Moment) -> tuple[str, str] | None:
        """A kind and its statistic that are not yet thinned to the present spacing."""
        for kind in ("histograms", "readings", "scalars"):
            if self.levels[kind] == 0:
                continue
            for name in [""] if kind == "scalars" else moment.statistics:
                fits = kind == "scalars" or (name == HISTOGRAM) == (kind == "histograms")
                sweep = self._sweeps[kind].setdefault(name, Sweep())
                if fits and sweep.next < moment.last:
                    return kind, name
        return None

    def _chunk(self, kind: str, name: str, moment: _Moment) -> int:
        """Take one sweep a little further; how many rows went."""
        sweep = self._sweeps[kind][name]
        if kind == "scalars":
            query = "SELECT step FROM step WHERE step >= ? AND step < ? ORDER BY step LIMIT ?"
            steps = self._steps(query, sweep.next, moment.last, CHUNK)
        else:
            query = (
                "SELECT step FROM reading WHERE statistic = ? AND step >= ? AND step < ? "
                "ORDER BY step LIMIT ?"
            )
            steps = self._steps(query, name, sweep.next, moment.last, CHUNK)
        if not steps:
            sweep.next = moment.last
            return 0
        query = "SELECT step FROM event WHERE step BETWEEN ? AND ? AND id % ? = 0"
        kept = set(self._steps(query, steps[0], steps[-1], moment.events_every))
        if kind == "scalars":
            for statistic in moment.statistics:
                query = "SELECT step FROM reading WHERE statistic = ? AND step BETWEEN ? AND ?"
                kept.update(self._steps(query, statistic, steps[0], steps[-1]))
        gone = sweep.surplus(steps, 1 << self.levels[kind], kept)
        if kind != "scalars":
            self._delete("reading WHERE statistic = ? AND step", gone, name)
            return len(gone)
        self._delete("step WHERE step", gone)
        for (scalar,) in self._connection.execute("SELECT DISTINCT name FROM scalar").fetchall():
            self._delete("scalar WHERE name = ? AND step", gone, scalar)
        return len(gone)

    def _delete(self, rows: str, steps: list[int], *given: str) -> None:
        # One statement, padded to one length: each statement waits for the interpreter's lock.
        if steps:
            padded = steps + [steps[-1]] * (CHUNK - len(steps))
            marks = ", ".join("?" * CHUNK)
            self._connection.execute(f"DELETE FROM {rows} IN ({marks})", [*given, *padded])

    def _moment(self) -> _Moment:
        newest = self._steps("SELECT step FROM step ORDER BY step DESC LIMIT ?", LAST_STEPS)
        if not newest:
            return _Moment(0, 1)
        step_bytes = max(self._bytes / max(self._steps_written, 1), 1.0)
        fit = max(int(LAST_SHARE * self._limit / step_bytes), FEWEST_LAST_STEPS)
        every = 1
        events = self._number("SELECT total(id) FROM (SELECT max(id) AS id FROM event)")
        while events / every * step_bytes > EVENTS_SHARE * self._limit:
            every *= 2
        return _Moment(newest[min(fit, len(newest)) - 1], every, self._statistics())

    def _sparser_looks(self) -> None:
        """Diagnoses, and the acts of a guard that acts at every step, are bounded too."""
        looks = "SELECT total(length(diagnosis)) FROM look"
        acts = "SELECT total(length(said)) FROM event"
        if self._number(looks) > LOOKS_SHARE * self._limit:
            self._sparser("looks", self._steps("SELECT step FROM look ORDER BY step")[:-LAST_LOOKS])
        if self._number(acts) > ACTIONS_SHARE * self._limit:
            query = "SELECT DISTINCT step FROM event WHERE kind = 'action' ORDER BY step"
            self._sparser("actions", self._steps(query)[:-LAST_STEPS])

    def _sparser(self, kind: str, steps: list[int]) -> None:
        gone: list[int] = []
        while not gone and len(steps) > 1 and self.levels[kind] < MOST_LEVEL:
            self.levels[kind] += 1
            gone = Sweep().surplus(steps, 1 << self.levels[kind], set())
        rows = "look WHERE step" if kind == "looks" else "event WHERE kind = 'action' AND step"
        for begin in range(0, len(gone), CHUNK):
            self._delete(rows, gone[begin : begin + CHUNK])

    def _statistics(self) -> list[str]:
        # A list of names by jumping through the index: DISTINCT alone would read all of it.
        query = "SELECT min(statistic) FROM reading WHERE statistic > ?"
        names: list[str] = []
        while (row := self._connection.execute(query, (names[-1] if names else "",)).fetchone())[0]:
            names.append(row[0])
        return names

    def _steps(self, query: str, *given: Any) -> list[int]:
        return [step for (step,) in self._connection.execute(query, given).fetchall()]

    def _number(self, query: str, *given: Any) -> int:
        return int(self._connection.execute(query, given).fetchone()[0])
