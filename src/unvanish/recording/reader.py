"""Recording: reading what a watched training left behind, also while it is being written."""

import difflib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from unvanish.errors import BadInput
from unvanish.recording import export, layout, opening
from unvanish.recording.facts import Facts
from unvanish.recording.queries import Steps, integers, numbers, parsed
from unvanish.recording.records import Counts, Floats
from unvanish.recording.statistics import HISTOGRAM_BINS

MOST_LOOK_BYTES = 1 << 30


class Recording(Facts):
    """Every statistic of every watched tensor at every step that was kept, and what happened when.

    All properties read the file anew: a recording that is still being written grows under one's
    hands. Absent is never zero: steps at which a number was not read are not there. Older steps
    may have been thinned (``thinned``). Can be used from several threads.

    >>> import tempfile, numpy as np
    >>> from unvanish.recording import StepReading, TensorEntry, Writer
    >>> weight = TensorEntry(name="weight", shape=(2, 2), dtype="float32")
    >>> values = {"gradient_l2": np.array([0.5], np.float32)}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with Writer(folder, [weight], {}) as writer:
    ...         writer.write(StepReading(step=0, seconds=0.0, stage="unscaled", values=values))
    ...     with Recording.open(folder) as recording:
    ...         steps, norms = recording.values("gradient_l2", "weight")
    >>> steps.tolist(), norms.tolist()
    ([0], [0.5])
    """

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "Recording":
        """The newest recording in a folder, or this file.

        Of a folder that several processes trained into it is all of theirs, joined
        (:mod:`unvanish.recording.joined`).

        Raises:
            BadInput: there is none, it is of a newer version, or something else.
        """
        place = opening.find(path)
        found = cls(opening.connect(place), place)
        if not Path(path).is_dir():
            return found
        from unvanish.recording.joined import with_mates  # it is made of recordings itself

        return with_mates(found)

    @property
    def ranks(self) -> tuple["Recording", ...]:
        """The recordings of the single processes that it was joined from; itself where one wrote it."""
        return (self,)

    def __enter__(self) -> "Recording":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Recording {self.path}: {len(self.steps)} steps, {len(self.tensors)} tensors>"

    def values(self, statistic: str, tensor: str) -> tuple[Steps, NDArray[Any]]:
        """One statistic of one tensor over the steps.

        Returns:
            The steps, ascending, and a float32 for each; of the histogram (steps, 64) uint32.

        Raises:
            BadInput: no such statistic or tensor in this recording; near names are said.
        """
        with self._file.snapshot():
            column = self._column(tensor)
            _known(statistic, self.statistics, "statistic")
            if statistic == layout.HISTOGRAM:
                return self._histograms(column)
            rows = self._file.rows(
                "SELECT step, substr(numbers, ?, 4), length(numbers) % 4 FROM reading "
                "WHERE statistic = ? ORDER BY step",
                4 * column + 1,
                statistic,
            )
        found = [(step, part) for step, part, _ in rows if part]
        for step, part, rest in rows:
            if rest or not isinstance(part, bytes):
                layout.floats_from_bytes(b"?", f"{statistic} at step {step}")
        steps = integers([step for step, _ in found])
        values = layout.floats_from_bytes(b"".join(part for _, part in found), statistic)
        read = ~np.isnan(values)
        return steps[read], values[read]

    def matrix(
        self,
        statistic: str,
        first: int | None = None,
        last: int | None = None,
        at_most: int | None = None,
        steps: Sequence[int] | Steps | None = None,
    ) -> tuple[Steps, Floats]:
        """One statistic of all tensors: (steps, tensors) float32, NaN where it was not read.

        Args:
            statistic: its name; not the histogram, which has :meth:`values`.
            first: no step before this one.
            last: no step after this one.
            at_most: that many steps, evenly chosen, the first and the last among them.
            steps: of these only, as far as it was read there.

        Raises:
            BadInput: no such statistic in this recording; near names are said.
        """
        if statistic == layout.HISTOGRAM:
            raise BadInput(
                f"matrix: {statistic} has 64 numbers a tensor; use values(statistic, tensor)."
            )
        with self._file.snapshot():
            _known(statistic, self.statistics, "statistic")
            read = self.steps_of(statistic, first, last)
            if steps is not None:
                read = np.intersect1d(read, np.asarray(steps, dtype=np.int64))
            if at_most is not None and len(read) > at_most:
                places = np.linspace(0, len(read) - 1, max(int(at_most), 1)).round().astype(int)
                read = read[places]
            table = np.full((len(read), len(self.tensors)), np.nan, dtype=np.float32)
            query = "SELECT numbers FROM reading WHERE statistic = ? AND step = ?"
            for row, step in zip(table, read.tolist(), strict=True):
                ((blob,),) = self._file.rows(query, statistic, step)
                numbers = layout.floats_from_bytes(blob, f"{statistic} at step {step}")
                row[: len(numbers)] = numbers[: len(row)]
        return read, table

    def steps_of(self, statistic: str, first: int | None = None, last: int | None = None) -> Steps:
        """The steps at which a statistic was read of any tensor, from ``first`` to ``last``."""
        return self._file.steps(
            "SELECT step FROM reading WHERE statistic = ? AND step BETWEEN ? AND ? ORDER BY step",
            statistic,
            -(2**63) if first is None else int(first),
            2**63 - 1 if last is None else int(last),
        )

    def histogram(self, step: int) -> Counts:
        """The histograms of all tensors at one step, (tensors, 64) uint32.

        Raises:
            BadInput: none was read at this step.
        """
        with self._file.snapshot():
            query = "SELECT numbers FROM reading WHERE statistic = ? AND step = ?"
            rows = self._file.rows(query, layout.HISTOGRAM, int(step))
            if not rows:
                raise BadInput(
                    f"no histogram was read at step {step}; steps_of({layout.HISTOGRAM!r}) has those."
                )
            tensors = len(self.tensors)
        return layout.counts_from_bytes(rows[0][0], tensors, f"{layout.HISTOGRAM} at step {step}")

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write a row for each step and tensor, a column for each statistic but the histogram.

        Raises:
            BadInput: the file cannot be written.
        """
        export.to_csv(self, Path(path))

    def to_parquet(self, path: str | os.PathLike[str]) -> None:
        """Write the same table as Parquet, with histograms; facts and events are its metadata.

        Raises:
            MissingExtra: pyarrow is not installed.
            BadInput: the file cannot be written.
        """
        export.to_parquet(self, Path(path))

    def scalars(self, name: str) -> tuple[Steps, NDArray[np.float64]]:
        """What a step has only one of, over the steps.

        Raises:
            BadInput: no such name in this recording; near names are said.
        """
        with self._file.snapshot():
            _known(name, self.scalar_names, "scalar")
            rows = self._file.rows(
                "SELECT step, value FROM scalar WHERE name = ? ORDER BY step", name
            )
        return integers([step for step, _ in rows]), numbers([value for _, value in rows])

    def look(self, step: int) -> dict[str, Any]:
        """The diagnosis of a step that was observed in full, as its JSON.

        Raises:
            BadInput: there was no such look at this step.
        """
        with self._file.snapshot():
            rows = self._file.rows("SELECT diagnosis FROM look WHERE step = ?", int(step))
            if not rows:
                looks = self.looks.tolist()
                near = sorted(looks, key=lambda there: abs(there - step))[:3]
                said = f"the nearest are {near}" if near else "there are none at all"
                raise BadInput(f"step {step} was not observed in full; {said}.")
        place = f"the look at step {step}"
        text = layout.unpacked(rows[0][0], MOST_LOOK_BYTES, place)
        found = parsed(text, place)
        if not isinstance(found, dict):
            raise BadInput(f"the recording is damaged: {place} is no diagnosis.")
        return cast(dict[str, Any], found)

    def _column(self, tensor: str) -> int:
        names = self.tensors
        _known(tensor, names, "tensor")
        return names.index(tensor)

    def _histograms(self, column: int) -> tuple[Steps, Counts]:
        query = "SELECT step, numbers FROM reading WHERE statistic = ? ORDER BY step"
        steps: list[int] = []
        found: list[Counts] = []
        for step, blob in self._file.rows(query, layout.HISTOGRAM):
            place = f"{layout.HISTOGRAM} at step {step}"
            counts = layout.counts_from_bytes(blob, column + 1, place)
            if len(counts) > column:
                steps.append(step)
                found.append(counts[column])
        empty = np.zeros((0, HISTOGRAM_BINS), np.uint32)
        return integers(steps), np.stack(found) if found else empty


def _known(name: str, names: Sequence[str], kind: str) -> None:
    """Raise BadInput, with near names, unless this is one of them."""
    if name in names:
        return
    near = difflib.get_close_matches(str(name), names, n=3, cutoff=0.5) or list(names[:3])
    said = f"; did you mean {' or '.join(near)}?" if near else "; it has none yet."
    raise BadInput(f"this recording has no {kind} {name!r}{said}")
