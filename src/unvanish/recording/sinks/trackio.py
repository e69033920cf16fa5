"""Trackio, into a run that you began."""

from collections.abc import Mapping
from typing import Any

from unvanish.errors import BadInput
from unvanish.recording.records import Event
from unvanish.recording.sinks.board import Board


class Trackio(Board):
    """Logs metrics of few blocks and the number of alarms so far.

    Args:
        run: what ``trackio.init`` returned. It is not finished here.
        rows: the most rows that tensors are grouped into.
        seconds: the shortest time between two steps that are shown.

    Raises:
        BadInput: ``run`` is not a run.
    """

    def __init__(self, run: Any, *, rows: int = 20, seconds: float = 2.0) -> None:
        if not callable(getattr(run, "log", None)):
            raise BadInput(f"run must be what trackio.init returned, got {type(run).__name__}.")
        self._trackio_run = run
        self._alarms = 0
        super().__init__(rows=rows, seconds=seconds)

    def show(self, step: int, numbers: Mapping[str, float]) -> None:
        self._trackio_run.log(dict(numbers), step=step)

    def tell(self, event: Event) -> None:
        if event.kind == "alarm":
            self._alarms += 1
            self._trackio_run.log({"unvanish/alarms": self._alarms}, step=event.step)
