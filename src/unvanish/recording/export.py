"""A recording as one flat table, for tools that read tables: Parquet and CSV.

One row for each step and tensor: ``step``, ``seconds``, ``stage``, the step's scalars, ``tensor``,
and a column for each statistic. What was not read is empty (a scalar that was NaN is NaN). A
step of which only scalars are left has one row without a tensor.
"""

import contextlib
import csv
import importlib
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unvanish.errors import BadInput, MissingExtra
from unvanish.recording import layout
from unvanish.recording.statistics import HISTOGRAM_BINS

if TYPE_CHECKING:
    from unvanish.recording.reader import Recording

ROWS_AT_ONCE = 1 << 17
Column = NDArray[Any] | list[Any]


def to_csv(recording: "Recording", path: Path) -> None:
    """Write the table as CSV, without histograms."""
    with (
        recording.snapshot(),
        _in_place(path) as draft,
        _written(path),
        draft.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        for number, table in enumerate(_tables(recording, histograms=False)):
            if number == 0:
                writer.writerow(table)
            writer.writerows(zip(*map(_cells, table.values()), strict=True))


def to_parquet(recording: "Recording", path: Path) -> None:
    """Write the table as Parquet; histograms are lists of 64 counts, facts and events metadata.

    Raises:
        MissingExtra: pyarrow is not installed.
    """
    try:
        arrow: Any = importlib.import_module("pyarrow")
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise MissingExtra(
            "to_parquet needs pyarrow: pip install 'unvanish[export]'; to_csv needs nothing."
        ) from error
    with (
        recording.snapshot(),
        _in_place(path) as draft,
        _written(path),
        contextlib.ExitStack() as open_,
    ):
        writer: Any = None
        for table in _tables(recording, histograms=True):
            columns = {name: _arrow_column(arrow, name, column) for name, column in table.items()}
            made = arrow.table(columns).replace_schema_metadata(_metadata(recording))
            if writer is None:
                writer = open_.enter_context(parquet.ParquetWriter(str(draft), made.schema))
            writer.write_table(made)


def _metadata(recording: "Recording") -> dict[str, str]:
    facts: dict[str, Any] = {
        "conditions": recording.conditions,
        "events": [event.plain() for event in recording.events],
        "started": recording.started,
        "finished": recording.finished,
    }
    return {f"unvanish.{key}": layout.to_json(value) for key, value in facts.items()}


def _tables(recording: "Recording", *, histograms: bool) -> Iterator[dict[str, Column]]:
    """The flat table in pieces; at least one, so that an empty recording has its columns too."""
    tensors = recording.tensors
    every = max(1, ROWS_AT_ONCE // max(len(tensors), 1))
    steps = recording.steps
    facts = list(zip(steps.tolist(), recording.seconds.tolist(), recording.stages, strict=True))
    scalars = {
        name: dict(zip(*map(np.ndarray.tolist, recording.scalars(name)), strict=True))
        for name in recording.scalar_names
    }
    statistics = [name for name in recording.statistics if name != layout.HISTOGRAM]
    counted = histograms and layout.HISTOGRAM in recording.statistics
    for begin in range(0, max(len(facts), 1), every):
        part = facts[begin : begin + every]
        table = _piece(recording, part, scalars, statistics)
        if counted:
            table[layout.HISTOGRAM] = _counts(recording, table["step"], len(tensors), part)
        yield table


def _piece(
    recording: "Recording",
    part: list[tuple[int, float, str]],
    scalars: dict[str, dict[int, float]],
    statistics: list[str],
) -> dict[str, Column]:
    tensors = recording.tensors
    first, last = (part[0][0], part[-1][0]) if part else (0, -1)
    read: dict[int, dict[str, NDArray[np.float32]]] = {}
    for statistic in statistics:
        for step, row in zip(*recording.matrix(statistic, first, last), strict=True):
            read.setdefault(int(step), {})[statistic] = row
    counted = set(recording.steps_of(layout.HISTOGRAM, first, last).tolist())
    rows = [(fact, len(tensors) if fact[0] in read or fact[0] in counted else 0) for fact in part]
    repeats = [max(count, 1) for _, count in rows]
    table: dict[str, Column] = {
        "step": np.repeat(np.array([fact[0] for fact, _ in rows], np.int64), repeats),
        "seconds": np.repeat(np.array([fact[1] for fact, _ in rows], np.float64), repeats),
        "stage": [
            fact[2] for (fact, _), count in zip(rows, repeats, strict=True) for _ in range(count)
        ],
    }
    for name, values in scalars.items():
        table[name] = [
            values.get(fact[0])
            for (fact, _), count in zip(rows, repeats, strict=True)
            for _ in range(count)
        ]
    table["tensor"] = [name for _, count in rows for name in (tensors if count else [None])]
    absent = np.full(len(tensors), np.nan, np.float32)
    for statistic in statistics:
        pieces = [
            read.get(fact[0], {}).get(statistic, absent) if count else absent[:1]
            if len(absent) else np.full(1, np.nan, np.float32)
            for fact, count in rows
        ]  # fmt: skip
        table[statistic] = np.concatenate(pieces) if pieces else absent[:0]
    return table


def _counts(
    recording: "Recording", steps: Column, tensors: int, part: list[tuple[int, float, str]]
) -> list[Any]:
    first, last = (part[0][0], part[-1][0]) if part else (0, -1)
    column: list[Any] = [None] * len(steps)
    starts = {int(step): place for place, step in reversed(list(enumerate(steps)))}
    for step in recording.steps_of(layout.HISTOGRAM, first, last).tolist():
        counts = recording.histogram(step)
        for place in range(min(len(counts), tensors)):
            column[starts[step] + place] = counts[place]
    return column


def _arrow_column(arrow: Any, name: str, column: Column) -> Any:
    if name == layout.HISTOGRAM:
        return arrow.array(column, type=arrow.list_(arrow.uint32(), HISTOGRAM_BINS))
    if isinstance(column, list):
        words = name in ("stage", "tensor")
        return arrow.array(column, type=arrow.string() if words else arrow.float64())
    return arrow.array(column, from_pandas=column.dtype.kind == "f")  # NaN: was not read


def _cells(column: Column) -> list[Any]:
    if isinstance(column, list):
        return ["" if value is None else value for value in column]
    if column.dtype.kind != "f":
        return column.tolist()
    # A float32 by the fewest digits that give it back, not by those of the double it becomes.
    return ["" if np.isnan(number) else str(number) for number in column]


@contextlib.contextmanager
def _in_place(path: Path) -> Generator[Path]:
    """A name to write to first, so that there is never half a table under the real one."""
    draft = path.with_name(path.name + ".part")
    try:
        yield draft
        with _written(path):
            draft.replace(path)
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()


@contextlib.contextmanager
def _written(path: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise BadInput(f"cannot write {path}: {error.strerror or error}.") from error
