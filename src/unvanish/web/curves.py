"""Scalars and histograms over time, thinned so that no spike is lost."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from unvanish.errors import BadInput
from unvanish.recording import Recording
from unvanish.recording.layout import HISTOGRAM
from unvanish.recording.queries import Steps
from unvanish.recording.records import Floats
from unvanish.web.rows import chosen_steps

COUNTS_AT_ONCE: Final = 400_000
"""Histograms (of any tensor) that are unpacked for one picture: half a second of work."""


def scalar(
    recording: Recording, name: str, first: int | None, last: int | None, points: int
) -> dict[str, Any]:
    """A scalar over the steps: ``{"steps", "values"}``, null where it was NaN.

    Raises:
        BadInput: no such scalar in this recording.
    """
    steps, values = recording.scalars(name)
    inside = slice(
        int(np.searchsorted(steps, first)) if first is not None else 0,
        int(np.searchsorted(steps, last, "right")) if last is not None else len(steps),
    )
    steps, values = steps[inside], values[inside]
    kept = extremes(values, points)
    return {
        "steps": steps[kept].tolist(),
        "values": [value if np.isfinite(value) else None for value in values[kept].tolist()],
    }


def extremes(values: NDArray[np.float64], points: int) -> NDArray[np.intp]:
    """Places of at most about ``points`` values: of each stretch its least and its greatest.

    A value that is not finite is kept first: it is what somebody looks for.

    >>> extremes(np.array([1.0, 9, 1, 1, 2, -5, 2, 2, 3, 3, 3, 3]), 6).tolist()
    [0, 1, 4, 5, 8, 11]
    """
    count = len(values)
    if count <= points:
        return np.arange(count)
    width = -(-2 * count // points)
    stretches = -(-count // width)
    padded = np.full(stretches * width, values[-1])
    padded[:count] = values
    table = padded.reshape(stretches, width)
    bad = ~np.isfinite(table)
    low = np.where(bad, -np.inf, table).argmin(axis=1)
    high = np.where(bad, -np.inf, table).argmax(axis=1)
    places = np.concatenate([low, high]) + np.tile(np.arange(stretches) * width, 2)
    return np.unique(np.concatenate([[0], np.minimum(places, count - 1), [count - 1]]))


def histogram_picture(
    recording: Recording, tensor: int, first: int | None, last: int | None, most: int
) -> tuple[Steps, Floats]:
    """The histogram of one tensor over time: steps, and (steps, 64) shares of its entries.

    Raises:
        BadInput: there is no such tensor, or no histogram was recorded.
    """
    with recording.snapshot():
        tensors = len(recording.tensors)
        if not 0 <= tensor < tensors:
            raise BadInput(f"there is no tensor {tensor}; there are {tensors}.")
        fit = max(COUNTS_AT_ONCE // max(tensors, 1), 40)
        steps = chosen_steps(recording.steps_of(HISTOGRAM, first, last), min(most, fit), [])
        table = np.full((len(steps), 64), np.nan, np.float32)
        for row, step in zip(table, steps.tolist(), strict=True):
            counts = recording.histogram(step)
            if tensor < len(counts) and counts[tensor].any():
                row[:] = counts[tensor] / counts[tensor].sum(dtype=np.float64)
    return steps, table
