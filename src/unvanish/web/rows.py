"""From ten thousand tensors and a hundred thousand steps to a picture a screen can show.

Columns are steps that were recorded, not means over steps: what a page shows at a place is what was
read there. Rows are tensors, or blocks of neighbours where there are too many, added up as the
numbers of all their entries together.
"""

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from unvanish.errors import BadInput
from unvanish.recording import Recording
from unvanish.recording.blocks import Block, blocks_of
from unvanish.recording.queries import Steps
from unvanish.recording.records import Floats

FEW_ROWS: Final = 40
"""How many blocks a page shows where it is asked for blocks."""
MOST_KEPT: Final = 6
AT_ONCE: Final = 64
SHOWN: Final = (
    "gradient_rms",
    "update_to_weight",
    "gradient_zeros",
    "gradient_nonfinite",
    "gradient_abs_max",
    "weight_rms",
)


Key = tuple[str, tuple[tuple[str, int, int], ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What is asked for: a statistic, steps and tensors from the one to the other, and how many."""

    statistic: str
    first: int | None
    last: int | None
    low: int
    high: int
    blocks: bool
    most_columns: int
    most_rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A table (steps, rows) of float32, NaN where it was not read; ``read``: steps there are."""

    steps: Steps
    rows: tuple[Block, ...]
    table: Floats
    read: int


class Rows:
    """Pictures of one recording; what was read once is not read again when it grows."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sizes = np.zeros(0)
        self._blocks: dict[tuple[int, int, int, bool, int], tuple[Block, ...]] = {}
        self._kept: dict[Key, dict[int, Floats]] = {}

    def picture(self, recording: Recording, window: Window, marked: Sequence[int]) -> Picture:
        """What a window shows.

        Args:
            recording: of which.
            window: what is asked for.
            marked: steps to prefer: something happened there.

        Raises:
            BadInput: the recording has no such statistic, or is damaged.
        """
        with self._lock, recording.snapshot():
            names, sizes = self._tensors(recording)
            rows = self._rows(names, window)
            read = recording.steps_of(window.statistic, window.first, window.last)
            steps = chosen_steps(read, window.most_columns, marked)
            kept = self._known(window.statistic, rows)
            missing = np.array([step for step in steps.tolist() if step not in kept], np.int64)
            if len(missing):
                for begin in range(0, len(missing), AT_ONCE):
                    part = missing[begin : begin + AT_ONCE]
                    kept.update(_read(recording, window.statistic, part, rows, sizes))
            for step in kept.keys() - set(steps.tolist()):
                del kept[step]
            steps = np.array([step for step in steps.tolist() if step in kept], np.int64)
            empty = np.zeros((0, len(rows)), np.float32)
            table = np.stack([kept[step] for step in steps.tolist()]) if len(steps) else empty
        return Picture(steps=steps, rows=rows, table=table, read=len(read))

    def _tensors(self, recording: Recording) -> tuple[Sequence[str], NDArray[np.float64]]:
        """Names and numbers of entries; read anew when there are more of them."""
        names = recording.tensors
        if len(names) != len(self._sizes):
            shapes = [entry.shape for entry in recording.entries]
            self._sizes = np.array([max(math.prod(shape), 1) for shape in shapes], np.float64)
        return names, self._sizes

    def _rows(self, names: Sequence[str], window: Window) -> tuple[Block, ...]:
        key = (len(names), window.low, window.high, window.blocks, window.most_rows)
        if key not in self._blocks:
            if len(self._blocks) > 64:
                self._blocks.clear()
            self._blocks[key] = rows_of(names, window)
        return self._blocks[key]

    def _known(self, statistic: str, rows: tuple[Block, ...]) -> dict[int, Floats]:
        # By name and extent: the arrays of columns in a block are no keys.
        key = (statistic, tuple((row.name, int(row.columns[0]), len(row.columns)) for row in rows))
        kept = self._kept.pop(key, {})
        while len(self._kept) >= MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[key] = kept
        return kept


def rows_of(names: Sequence[str], window: Window) -> tuple[Block, ...]:
    """The rows of a window, in the order of the model.

    Raises:
        BadInput: there are no such tensors.
    """
    inside = names[window.low : window.high + 1]
    if not inside:
        raise BadInput(
            f"there are no tensors {window.low} to {window.high}; there are {len(names)}."
        )
    most = min(FEW_ROWS, window.most_rows) if window.blocks else window.most_rows
    if not window.blocks and len(inside) <= most:
        found = [Block(name, np.array([place])) for place, name in enumerate(inside)]
    else:
        found = list(blocks_of(inside, most))
    return tuple(Block(row.name, row.columns + window.low) for row in found)


def chosen_steps(steps: Steps, most: int, marked: Sequence[int]) -> Steps:
    """At most ``most`` steps (and the last), evenly, those at which something happened first.

    The first of each stretch of 2^k steps: as a recording grows, those once chosen stay chosen.

    >>> chosen_steps(np.arange(20), 5, [6]).tolist()
    [0, 6, 8, 12, 16, 19]
    """
    if len(steps) <= most:
        return steps
    spacing = 2
    while np.count_nonzero(np.diff(steps // spacing)) + 1 > most:
        spacing *= 2
    stretch = steps // spacing
    first = np.flatnonzero(np.diff(stretch, prepend=stretch[0] - 1))
    special = np.flatnonzero(np.isin(steps, np.array(marked, dtype=np.int64)))
    place_of = dict(zip(stretch[first].tolist(), first.tolist(), strict=True))
    place_of |= {int(stretch[place]): int(place) for place in special}
    places = sorted({*place_of.values(), len(steps) - 1})
    return steps[np.array(places)]


def _read(
    recording: Recording,
    statistic: str,
    steps: Steps,
    rows: tuple[Block, ...],
    sizes: NDArray[np.float64],
) -> dict[int, Floats]:
    """The numbers of the rows at these steps."""
    read, table = recording.matrix(statistic, int(steps[0]), int(steps[-1]), None, steps)
    weights = sizes[: table.shape[1]]
    if statistic == "update_to_weight" and any(len(row.columns) > 1 for row in rows):
        weights = weights * np.square(_weight_rms(recording, int(steps[-1]), table.shape[1]))
    values = joined(statistic, table, rows, weights)
    return dict(zip(read.tolist(), values, strict=True))


def _weight_rms(recording: Recording, step: int, tensors: int) -> NDArray[np.float64]:
    """The rms of the weights as last read by this step; they change slowly. 1 where never read."""
    found = np.ones(tensors)
    if "weight_rms" in recording.statistics:
        before = recording.steps_of("weight_rms", None, step)[-1:]
        if len(before):
            _steps, table = recording.matrix("weight_rms", int(before[0]), int(before[0]))
            there = ~np.isnan(table[0])
            found[there] = table[0][there]
    return found


def joined(
    statistic: str, table: Floats, rows: tuple[Block, ...], weights: NDArray[np.float64]
) -> Floats:
    """(steps, tensors) as (steps, rows): of all entries of a row's tensors together.

    ``gradient_zeros`` becomes a share of entries. ``weights`` are the tensors' numbers of entries
    (for ``update_to_weight`` times their mean square). A row of one tensor keeps its number.
    """
    order = np.concatenate([row.columns for row in rows])
    starts = np.cumsum([0, *(len(row.columns) for row in rows[:-1])])
    part = table[:, order].astype(np.float64)
    weight = np.broadcast_to(weights[order], part.shape)
    there = ~np.isnan(part)

    def total(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.add.reduceat(np.where(there, values, 0.0), starts, axis=1)

    if statistic == "gradient_abs_max":
        found = np.maximum.reduceat(np.where(there, part, -np.inf), starts, axis=1)
    elif statistic == "gradient_nonfinite":
        found = total(part)
    elif statistic == "gradient_zeros":
        found = total(part) / np.maximum(total(weight), 1.0)
    elif len(order) == len(rows):
        found = part
    else:
        known = total(weight)
        found = np.sqrt(total(np.square(part) * weight) / np.where(known > 0, known, np.nan))
    none = ~np.logical_or.reduceat(there, starts, axis=1)
    return np.where(none, np.nan, found).astype(np.float32)
