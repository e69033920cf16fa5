"""One step of the training read: gradients of every optimizer's tensors, and what the step changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from unvanish.recording import StepReading
from unvanish.recording.records import Counts, Floats
from unvanish.recording.statistics import HISTOGRAM_BINS
from unvanish.shards import is_part, lies_as
from unvanish.watching.fused import GradientReadings, Passes, UpdateReadings
from unvanish.watching.watched import Watched

Number = float | Tensor
"""A tensor stays on its device until the reading is fetched: asking for its value would wait."""


@dataclass(slots=True)
class Pending:
    """A reading whose numbers may still be on their way from a device."""

    step: int
    seconds: float
    tensors: int
    stage: str = ""
    scalars: dict[str, Number] = field(default_factory=dict[str, Number])
    gradients: list[tuple[list[int], GradientReadings]] = field(
        default_factory=list[tuple[list[int], GradientReadings]]
    )
    updates: list[tuple[list[int], UpdateReadings]] = field(
        default_factory=list[tuple[list[int], UpdateReadings]]
    )

    def ready(self) -> bool:
        """Whether everything can be had without waiting for a device."""
        gradients = all(part.ready() for _, part in self.gradients)
        return gradients and all(part.ready() for _, part in self.updates)

    def reading(self) -> StepReading:
        """All of it as plain arrays, one entry for each watched tensor; NaN where nothing was read."""
        values: dict[str, Floats] = {}
        histogram: Counts | None = None
        for columns, part in self.gradients:
            self._scatter(values, columns, part.values)
            if part.histogram is not None:
                if histogram is None:
                    histogram = np.zeros((self.tensors, HISTOGRAM_BINS), np.uint32)
                histogram[columns] = part.histogram
        for columns, update in self.updates:
            self._scatter(values, columns, update)
        scalars = {name: float(value) for name, value in self.scalars.items()}
        norms = values.get("gradient_l2")
        if norms is not None and not np.isnan(norms).all():
            wide = norms.astype(np.float64)
            scalars["gradient_l2"] = float(np.sqrt(np.nansum(wide * wide)))
        return StepReading(
            step=self.step,
            seconds=self.seconds,
            stage=self.stage,
            values=values,
            histogram=histogram,
            scalars=scalars,
        )

    def _scatter(
        self, values: dict[str, Floats], columns: list[int], part: Mapping[str, Floats]
    ) -> None:
        whole = len(columns) == self.tensors  # they are sorted, and each is there once
        for name, numbers in part.items():
            if whole:
                values[name] = numbers
                continue
            if name not in values:
                values[name] = np.full(self.tensors, np.nan, np.float32)
            values[name][columns] = numbers


class StepReader:
    """Reads the tensors of one optimizer (and, for the first one, those that no optimizer holds)."""

    def __init__(
        self, watched: Watched, optimizer: torch.optim.Optimizer, also: Sequence[int] = ()
    ) -> None:
        everything = list(watched.parameters.values())
        self.columns = sorted({*watched.columns_of(optimizer), *also})
        self._parameters = [everything[column] for column in self.columns]
        self._passes = Passes(self._parameters)
        self.local = any(is_part(parameter) for parameter in self._parameters)

    def gradients(self, into: Pending, *, histogram: bool, scale: float) -> None:
        """Read every gradient, once."""
        gradients = [parameter.grad for parameter in self._parameters]
        if self.local:
            pairs = zip(gradients, self._parameters, strict=True)
            gradients = [g if g is not None and lies_as(g, p) else None for g, p in pairs]
        read = self._passes.gradients(gradients, histogram=histogram, scale=scale)
        into.gradients.append((self.columns, read))

    def before_step(self) -> None:
        """Keep what is needed to know what the step really changes."""
        self._passes.before_step()

    def after_step(self, into: Pending) -> None:
        """What it changed."""
        into.updates.append((self.columns, self._passes.after_step()))

    def release(self) -> None:
        """Let go of copies of the weights."""
        self._passes.release()
