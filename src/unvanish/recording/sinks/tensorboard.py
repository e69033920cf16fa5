"""TensorBoard, through torch's own writer."""

from collections.abc import Mapping
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unvanish.errors import MissingExtra
from unvanish.recording.records import Event
from unvanish.recording.sinks.board import Board, sentence
from unvanish.recording.statistics import LOWEST_EXPONENT


class TensorBoard(Board):
    """Writes to a folder that TensorBoard reads, or to a ``SummaryWriter`` that you already have.

    Sections: gradient rms, update to weight, share of zeros, totals; alarms as text. Histograms
    are of log2 of the gradient's magnitude, counted beforehand: what is not finite is in none.

    Args:
        to: a folder, or a ``torch.utils.tensorboard.SummaryWriter`` (then it stays open).
        rows: the most rows that tensors are grouped into.
        seconds: the shortest time between two steps that are shown.

    Raises:
        MissingExtra: tensorboard is not installed.
    """

    def __init__(
        self, to: str | PathLike[str] | Any, *, rows: int = 20, seconds: float = 1.0
    ) -> None:
        self._own = isinstance(to, str | PathLike)
        self._writer: Any = _summary_writer(to) if self._own else to
        super().__init__(rows=rows, seconds=seconds)

    def show(self, step: int, numbers: Mapping[str, float]) -> None:
        for name, number in numbers.items():
            self._writer.add_scalar(name, number, step)

    def show_histograms(self, step: int, counts: Mapping[str, NDArray[np.uint64]]) -> None:
        right = np.arange(1, 65, dtype=np.float64) + LOWEST_EXPONENT
        for name, row in counts.items():
            filled = np.flatnonzero(row)
            if not len(filled):
                continue
            weights = row.astype(np.float64)
            middle = right - 0.5
            self._writer.add_histogram_raw(
                f"unvanish.log2_gradient/{name}",
                min=float(right[filled[0]] - 1),
                max=float(right[filled[-1]]),
                num=float(weights.sum()),
                sum=float((weights * middle).sum()),
                sum_squares=float((weights * middle**2).sum()),
                bucket_limits=right.tolist(),
                bucket_counts=weights.tolist(),
                global_step=step,
            )

    def tell(self, event: Event) -> None:
        self._writer.add_text(f"unvanish/{event.kind}", sentence(event), event.step)

    def finish(self) -> None:
        if self._own:
            self._writer.close()
        else:
            self._writer.flush()


def _summary_writer(folder: Any) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingExtra(
            "the TensorBoard sink needs tensorboard: pip install tensorboard."
        ) from error
    return SummaryWriter(str(folder))
