"""A recording stays below its limit: of older steps, fewer are kept.

Histograms (the dearest) are thinned first and stay eight times sparser than readings, scalars (the
cheapest) are thinned last and stay 64 times denser. Each kind has a spacing, a power of two: of
the old steps the first in each stretch of ``spacing`` steps stays. Of steps that were read every
time these are the ones divisible by it, and no other rhythm of reading is lost. What stays at one
spacing contains what stays at the next, so it does not matter in how many rounds a recording was
thinned. Never thinned are the first step, the last ones, and steps at which something happened.
"""

import sqlite3
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
"""The most that is kept back for what is never thinned; more of it than that is thinned too."""
TURN_BYTES: Final = 32 << 20

Doomed = tuple[str, list[tuple[Any, ...]]]
"""A statement that deletes a row, and the rows it is for."""


def surplus(steps: list[int], spacing: int, kept: set[int]) -> list[int]:
    """The steps (ascending) that are not the first of their stretch of ``spacing``.

    >>> surplus([0, 1, 2, 3, 4, 5, 6], 4, {5})
    [1, 2, 3, 6]
    >>> surplus([1, 3, 5, 7, 9], 4, set())  # no rhythm of reading vanishes
    [3, 7]
    """
    gone: list[int] = []
    stretch = None
    for step in steps:
        if step // spacing == stretch:
            if step not in kept:
                gone.append(step)
        else:
            stretch = step // spacing
    return gone


class Thinning:
    """Deletes a little in each turn, inside the writer's own transactions."""

    def __init__(self, connection: sqlite3.Connection, limit: int) -> None:
        self._connection = connection
        self._limit = limit
        self._doomed: list[Doomed] = []
        self._running = False
        self.levels: dict[str, int] = dict.fromkeys(KINDS, 0)

    def turn(self, rows_written: int, row_bytes: int) -> bool:
        """Delete some of what is too much; true where anything was deleted.

        At least twice the rows that were just written, so that it always catches up.
        """
        used = self._used()
        if used < (END_AT if self._running else BEGIN_AT) * self._limit:
            self._running = False
            self._doomed = []
            return False
        self._running = True
        if not self._doomed:
            self._doomed = self._plan()
        rows = max(2 * rows_written, TURN_BYTES // max(row_bytes, 512), 64)
        while rows > 0 and self._doomed:
            statement, keys = self._doomed.pop()
            self._connection.executemany(statement, keys[:rows])
            if keys[rows:]:
                self._doomed.append((statement, keys[rows:]))
            rows -= len(keys)
        return True

    def _used(self) -> int:
        return (self._number("PRAGMA page_count") - self._number("PRAGMA freelist_count")) * (
            self._number("PRAGMA page_size")
        )

    def _plan(self) -> list[Doomed]:
        """What goes next: each kind at the smallest spacing at which anything goes."""
        if self._number("SELECT total(length(diagnosis)) FROM look") > LOOKS_SHARE * self._limit:
            return self._looks()
        if self._number("SELECT total(length(said)) FROM event") > ACTIONS_SHARE * self._limit:
            return self._actions()
        last, step_bytes = self._last()
        events = self._eventful(step_bytes)
        level = self.levels
        while level["readings"] < MOST_LEVEL:
            if level["histograms"] < level["readings"] + HISTOGRAMS_SPARSER:
                level["histograms"] += 1
                doomed = self._readings("histograms", last, events)
            elif level["scalars"] < level["readings"] - SCALARS_DENSER:
                level["scalars"] += 1
                doomed = self._scalars(last, events)
            else:
                level["readings"] += 1
                doomed = self._readings("readings", last, events)
            if any(rows for _, rows in doomed):
                return doomed
        for kind in KINDS[:3]:
            level[kind] = 0  # begin anew: by now, other steps are the old ones
        return []

    def _last(self) -> tuple[int, float]:
        """Where the last steps begin, which are not thinned, and the bytes that one of them takes."""
        newest = self._steps("SELECT step FROM step ORDER BY step DESC LIMIT ?", LAST_STEPS)
        if not newest:
            return 0, 1.0
        total = 0
        query = "SELECT total(length(numbers)) FROM reading WHERE statistic = ? AND step >= ?"
        for statistic in self._statistics():
            total += self._number(query, statistic, newest[-1])
        step_bytes = max(total / len(newest), 1.0)
        fit = max(int(LAST_SHARE * self._limit / step_bytes), FEWEST_LAST_STEPS)
        return newest[min(fit, len(newest)) - 1], step_bytes

    def _eventful(self, step_bytes: float) -> set[int]:
        """Steps with events; where there are very many, evenly fewer of them."""
        steps = list(dict.fromkeys(self._steps("SELECT step FROM event ORDER BY id")))
        first = self._steps("SELECT step FROM step ORDER BY step LIMIT 1")
        every = 1
        while len(steps) / every * step_bytes > EVENTS_SHARE * self._limit:
            every *= 2
        return {*first, *steps[::every]}

    def _readings(self, kind: str, last: int, events: set[int]) -> list[Doomed]:
        query = "SELECT step FROM reading WHERE statistic = ? AND step < ? ORDER BY step"
        statement = "DELETE FROM reading WHERE statistic = ? AND step = ?"
        doomed: list[Doomed] = []
        for statistic in self._statistics():
            if (statistic == HISTOGRAM) == (kind == "histograms"):
                steps = self._steps(query, statistic, last)
                gone = surplus(steps, 1 << self.levels[kind], events)
                doomed.append((statement, [(statistic, step) for step in gone]))
        return doomed

    def _scalars(self, last: int, events: set[int]) -> list[Doomed]:
        """Steps of which scalars are all that is left."""
        steps = self._steps("SELECT step FROM step WHERE step < ? ORDER BY step", last)
        read: set[int] = set()
        for statistic in self._statistics():
            query = "SELECT step FROM reading WHERE statistic = ? AND step < ?"
            read.update(self._steps(query, statistic, last))
        gone = surplus(steps, 1 << self.levels["scalars"], events | read)
        doomed: list[Doomed] = [("DELETE FROM step WHERE step = ?", [(step,) for step in gone])]
        for (name,) in self._connection.execute("SELECT DISTINCT name FROM scalar").fetchall():
            rows = [(name, step) for step in gone]
            doomed.append(("DELETE FROM scalar WHERE name = ? AND step = ?", rows))
        return doomed

    def _looks(self) -> list[Doomed]:
        steps = self._steps("SELECT step FROM look ORDER BY step")[:-LAST_LOOKS]
        return [("DELETE FROM look WHERE step = ?", self._sparser("looks", steps))]

    def _actions(self) -> list[Doomed]:
        last, _ = self._last()
        query = "SELECT step FROM event WHERE kind = 'action' AND step < ? ORDER BY step"
        steps = list(dict.fromkeys(self._steps(query, last)))
        statement = "DELETE FROM event WHERE kind = 'action' AND step = ?"
        return [(statement, self._sparser("actions", steps))]

    def _sparser(self, kind: str, steps: list[int]) -> list[tuple[Any, ...]]:
        gone: list[int] = []
        while not gone and len(steps) > 1:
            self.levels[kind] += 1
            gone = surplus(steps, 1 << self.levels[kind], {steps[0]})
        return [(step,) for step in gone]

    def _statistics(self) -> list[str]:
        # A list of names by jumping through the index: DISTINCT alone would read all of it.
        query = "SELECT min(statistic) FROM reading WHERE statistic > ?"
        names: list[str] = []
        while (found := self._connection.execute(query, (names[-1] if names else "",)).fetchone())[
            0
        ]:
            names.append(found[0])
        return names

    def _steps(self, query: str, *given: Any) -> list[int]:
        return [step for (step,) in self._connection.execute(query, given)]

    def _number(self, query: str, *given: Any) -> int:
        return int(self._connection.execute(query, given).fetchone()[0])
