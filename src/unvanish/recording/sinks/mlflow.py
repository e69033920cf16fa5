"""MLflow, into a run that you began."""

import importlib
import time
from collections.abc import Mapping
from typing import Any, Final

from unvanish.errors import MissingExtra
from unvanish.recording.records import Event
from unvanish.recording.sinks.board import Board, sentence

MOST_TAG: Final = 5000
"""Characters that MLflow keeps of a tag."""


class MLflow(Board):
    """Logs metrics of few blocks, and each alarm as a tag, in one request for each step shown.

    Args:
        run_id: ``mlflow.active_run().info.run_id``. The run is not ended here.
        client: an ``mlflow.MlflowClient`` (default: one for the current tracking server).
        rows: the most rows that tensors are grouped into.
        seconds: the shortest time between two steps that are shown; a request each.

    Raises:
        MissingExtra: mlflow is not installed.
    """

    def __init__(
        self, run_id: str, client: Any = None, *, rows: int = 20, seconds: float = 5.0
    ) -> None:
        try:
            mlflow: Any = importlib.import_module("mlflow")
            self._metric: Any = importlib.import_module("mlflow.entities").Metric
        except ImportError as error:
            raise MissingExtra(
                "the MLflow sink needs mlflow: pip install mlflow (or mlflow-skinny)."
            ) from error
        self._client: Any = mlflow.MlflowClient() if client is None else client
        self._run_id = run_id
        super().__init__(rows=rows, seconds=seconds)

    def show(self, step: int, numbers: Mapping[str, float]) -> None:
        now = int(time.time() * 1000)
        metrics = [
            self._metric(key=_allowed(name), value=number, timestamp=now, step=step)
            for name, number in numbers.items()
        ]
        self._client.log_batch(self._run_id, metrics=metrics)

    def tell(self, event: Event) -> None:
        if event.kind == "alarm":
            said = sentence(event)[:MOST_TAG]
            self._client.set_tag(self._run_id, f"unvanish.alarm.{_allowed(event.name)}", said)


def _allowed(name: str) -> str:
    """The name with only what MLflow takes: letters, digits, and ``_-. /``."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "_-. /") else "_" for c in name)
    return kept[:250]
