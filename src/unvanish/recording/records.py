"""What passes from a running training to a recording: readings of steps, and events.

Absent is never zero: a number that was not read is NaN, a statistic that was not read in a step
has no array at all. (Moments are of finite entries, so a NaN never stands for a NaN gradient:
that is ``gradient_nonfinite``.)
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Counts = NDArray[np.uint32]


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorEntry:
    """One watched tensor. Its position in the list of tensors is its column in every reading.

    ``name`` is the parameter's name in the user's own module (no ``module.``, no ``_orig_mod.``).
    """

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(slots=True, kw_only=True)
class StepReading:
    """Everything read at one optimizer step.

    ``step`` counts from 0. ``seconds`` are since the watch began, by a clock that never jumps.
    ``stage`` says which gradient was read, three words: ``"unscaled"`` or ``"scaled"``;
    ``"unclipped"`` (nothing clipped in this step), ``"before-clipping"`` or ``"after-clipping"``;
    ``"whole"``, ``"local-shard"`` or ``"global"``. ``values`` maps a statistic to one float32 for
    each tensor (shorter, where tensors were added later). ``histogram`` is (tensors, 64).
    ``scalars`` holds what the step has only one of: ``loss``, ``learning_rate``, ``clip_factor``
    (what clipping multiplied the gradient by), ``loss_scale``, ``skipped`` (1: the step was not
    taken), ``gradient_l2`` (of everything), ``step_seconds``, ``watch_seconds``.
    """

    step: int
    seconds: float
    stage: str
    values: dict[str, Floats]
    histogram: Counts | None = None
    scalars: dict[str, float] = field(default_factory=dict[str, float])


def begun(evidence: Mapping[str, float], step: int) -> int:
    """The step that an alarm began at, as far as that was told; it was raised some steps later."""
    return int(evidence.get("onset", step))


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened at a step.

    ``kind`` is ``"alarm"`` (``name`` is that of a finding), ``"cleared"`` (the alarm of that name
    is over), ``"action"`` (a guard acted; ``name`` is its policy), ``"look"`` (a step was observed
    in full; ``detail`` is its diagnosis in one line) or ``"note"`` (the watcher speaks of itself).
    ``severity`` is that of a finding, or empty. ``evidence`` maps names to numbers.
    """

    kind: str
    name: str
    step: int
    seconds: float
    severity: str = ""
    where: tuple[str, ...] = ()
    evidence: Mapping[str, float] = field(default_factory=dict[str, float])
    detail: str = ""

    @property
    def since(self) -> int:
        """The step that it began at, see :func:`begun`."""
        return begun(self.evidence, self.step)

    def plain(self) -> dict[str, Any]:
        """The event as what JSON can hold."""
        return {
            "kind": self.kind,
            "name": self.name,
            "step": self.step,
            "seconds": self.seconds,
            "severity": self.severity,
            "where": list(self.where),
            "evidence": dict(self.evidence),
            "detail": self.detail,
        }
