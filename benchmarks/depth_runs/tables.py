"""Which tables there are."""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from depth_runs.cell import Cell, Measurement
from depth_runs.recurrences import NOTE as ABOUT_RECURRENCES
from depth_runs.recurrences import recurrence_cells
from depth_runs.textbook import NOTE as ABOUT_TEXTBOOK
from depth_runs.textbook import textbook_cells, textbook_measurements
from depth_runs.transformers import NOTE as ABOUT_TRANSFORMERS
from depth_runs.transformers import transformer_cells
from depth_runs.vision import NOTE as ABOUT_CONVOLUTIONS
from depth_runs.vision import (
    activation_cells,
    convolution_cells,
    convolution_measurements,
    depth_cells,
)


def nothing_measured() -> Iterator[Measurement]:
    yield from ()


@dataclass(frozen=True, slots=True)
class Table:
    """Its rows, what is measured beside them without training, and what a reader must know."""

    cells: Callable[[argparse.Namespace], Iterator[Cell]]
    measurements: Callable[[], Iterator[Measurement]] = nothing_measured
    note: str = ""


TABLES = {
    "depth": Table(depth_cells),
    "activations": Table(activation_cells),
    "convolutions": Table(convolution_cells, convolution_measurements, ABOUT_CONVOLUTIONS),
    "textbook": Table(textbook_cells, textbook_measurements, ABOUT_TEXTBOOK),
    "transformers": Table(transformer_cells, note=ABOUT_TRANSFORMERS),
    "recurrences": Table(recurrence_cells, note=ABOUT_RECURRENCES),
}
