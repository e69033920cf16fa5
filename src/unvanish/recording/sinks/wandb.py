"""Weights & Biases, into a run that you began."""

import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unvanish.errors import BadInput, MissingExtra
from unvanish.recording.records import Event
from unvanish.recording.sinks.board import Board, sentence
from unvanish.recording.statistics import LOWEST_EXPONENT

STEP = "unvanish.step"


class WandB(Board):
    """Adds sections to a run; your own charts keep their steps.

    The numbers have a step axis of their own (``unvanish.step``) and are logged with
    ``commit=False``: they go out with your next ``run.log`` and never move its step. If your
    program logs nothing itself, pass ``commit=True``.

    Args:
        run: what ``wandb.init`` returned. It is not finished here.
        rows: the most rows that tensors are grouped into.
        seconds: the shortest time between two steps that are shown.
        commit: log each step at once, as a step of the run.

    Raises:
        BadInput: ``run`` is not a run.
    """

    def __init__(
        self, run: Any, *, rows: int = 20, seconds: float = 1.0, commit: bool = False
    ) -> None:
        if not callable(getattr(run, "log", None)) or not hasattr(run, "define_metric"):
            raise BadInput(f"run must be what wandb.init returned, got {type(run).__name__}.")
        self._wandb_run = run
        self._commit = commit
        run.define_metric(STEP, hidden=True)
        run.define_metric("unvanish*", step_metric=STEP)
        self._alarms = 0
        super().__init__(rows=rows, seconds=seconds)

    def show(self, step: int, numbers: Mapping[str, float]) -> None:
        self._wandb_run.log({STEP: step, **numbers}, commit=self._commit)

    def show_histograms(self, step: int, counts: Mapping[str, NDArray[np.uint64]]) -> None:
        histogram = _histogram_class()
        edges = np.arange(65) + LOWEST_EXPONENT
        rows = {
            f"unvanish.log2_gradient/{name}": histogram(np_histogram=(row.astype(np.int64), edges))
            for name, row in counts.items()
        }
        self._wandb_run.log({STEP: step, **rows}, commit=self._commit)

    def tell(self, event: Event) -> None:
        if event.kind == "alarm":
            self._alarms += 1
            self._wandb_run.log(
                {STEP: event.step, "unvanish/alarms": self._alarms}, commit=self._commit
            )
            self._wandb_run.summary[f"unvanish/alarm/{event.name}"] = sentence(event)


def _histogram_class() -> Any:
    try:
        return importlib.import_module("wandb").Histogram
    except ImportError as error:
        raise MissingExtra("the W&B sink needs wandb: pip install wandb.") from error
