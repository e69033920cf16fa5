"""What a detector looks at: this step, every tensor so far, and the last steps of the whole."""

import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from unvanish.alarms.columns import Columns
from unvanish.alarms.profile import Profile, read_profile
from unvanish.alarms.series import Series, middle
from unvanish.recording import StepReading

WINDOW = 128
"""Steps that are remembered of what a step has only one of."""
EPSILON = 1e-8
"""What Adam adds unless it is told otherwise."""


@dataclass(slots=True)
class Course:
    """The last steps of the training as a whole, taken steps with finite numbers only."""

    loss: Series = field(default_factory=lambda: Series(WINDOW))
    learning_rate: Series = field(default_factory=lambda: Series(WINDOW))
    loss_scale: Series = field(default_factory=lambda: Series(WINDOW))
    clip_factor: Series = field(default_factory=lambda: Series(WINDOW))
    total: Series = field(default_factory=lambda: Series(WINDOW))
    jump: Series = field(default_factory=lambda: Series(WINDOW))
    jumped: Series = field(default_factory=lambda: Series(WINDOW))
    expected_update: Series = field(default_factory=lambda: Series(WINDOW))
    first_loss: float = math.nan
    highest_rate: float = 0.0
    update_read: float = math.nan
    force_read: float = math.nan
    steps: int = 0

    def remember_settings(self, step: int, scalars: dict[str, float]) -> None:
        """What the step was taken with, or skipped with."""
        for name, series in (
            ("learning_rate", self.learning_rate),
            ("loss_scale", self.loss_scale),
            ("clip_factor", self.clip_factor),
        ):
            value = scalars.get(name, math.nan)
            if math.isfinite(value):
                series.append(step, value)
        self.highest_rate = max(self.highest_rate, scalars.get("learning_rate", 0.0))

    def remember(self, step: int, scalars: dict[str, float], columns: Columns) -> None:
        """What a step that was taken, with finite numbers, came to."""
        self.steps += 1
        loss = scalars.get("loss", math.nan)
        if math.isfinite(loss):
            self.loss.append(step, loss)
            self.first_loss = loss if math.isnan(self.first_loss) else self.first_loss
        total = scalars.get("gradient_l2", math.nan)
        if not math.isfinite(total):
            total = math.sqrt(float(np.nansum(columns["gradient"] ** 2)))
        if 0 < total < math.inf:
            self.total.append(step, math.log10(total))

    def remember_update(
        self, step: int, scalars: dict[str, float], columns: Columns, proportional: bool, read: bool
    ) -> None:
        """The update to weight of this step in the middle of the matrices, read or reckoned.

        It grows with the learning rate and, where the optimizer's step is proportional to the
        gradient, with what clipping left of that: so the last one read says what it is now, also
        where it is only read now and then.
        """
        force = scalars.get("learning_rate", math.nan)
        if proportional:
            total = self.total.last(1)
            force *= 10 ** float(total[0]) if len(total) else math.nan
            force *= scalars.get("clip_factor", 1.0)
        if read:
            known = columns["update"][columns.matrix]
            known = known[~np.isnan(known)]
            self.update_read = middle(known) if len(known) else math.nan
            self.force_read = force
        expected = self.update_read * force / self.force_read if self.force_read else math.nan
        self.expected_update.append(step, expected)

    def remember_jump(self, step: int, columns: Columns) -> None:
        """The tensor whose gradient is furthest above its usual; called before it is averaged in."""
        above = columns["log_gradient"] - columns["usual"]
        above[np.isnan(above)] = -math.inf
        place = int(above.argmax()) if len(above) else 0
        if len(above) and above[place] > -math.inf:
            self.jump.append(step, float(above[place]))
            self.jumped.append(step, float(place))


@dataclass(frozen=True)
class Moment:
    """One step as the detectors see it; ``epsilon`` is what the optimizer adds where it divides.

    ``skipped``: it was not taken. ``poisoned``: it was, with gradients or a loss that are not
    finite. Columns and course hold the steps that were taken and finite, this one included; the
    masks of the columns (``reached``, ``zero``, ``nonfinite``) are always those of this step.
    """

    reading: StepReading
    columns: Columns
    course: Course
    optimizer: str
    skipped: bool
    poisoned: bool
    epsilon: float = EPSILON

    @property
    def step(self) -> int:
        return self.reading.step

    @cached_property
    def profile(self) -> Profile | None:
        """The gradient over the order of the weight matrices."""
        return read_profile(self.columns)

    def scalar(self, name: str) -> float:
        """One of the step's numbers; NaN where it was not read."""
        return self.reading.scalars.get(name, math.nan)
