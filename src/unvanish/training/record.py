"""What happened in a training loop: which gradients were made, changed, used and left behind.

Records only; :mod:`unvanish.training.recorder` writes them.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Backward:
    """One backward call of the loop.

    ``value`` is the loss before a loss scaler multiplied it. ``share`` is the constant with which
    a mean over samples enters it (``loss / 4``: 0.25); ``None``: the loss is not a mean, or how it
    was made could not be read. ``likeness`` is equal for losses made by the same operations.
    """

    value: float
    share: float | None
    likeness: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Clipping:
    """A call of ``clip_grad_norm_`` (``kind`` ``"norm"``) or ``clip_grad_value_`` (``"value"``).

    ``scaled``: it met gradients that a loss scaler had multiplied and not divided again yet.
    """

    kind: str
    limit: float
    scaled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopStep:
    """Everything from one step of the optimizer to the next.

    ``norm`` is the l2 norm of the gradient of all parameters after the last backward call, without
    loss scale; ``used`` what the optimizer saw (``None``: the scaler skipped the step).
    ``before_unscaling`` is the norm, loss scale included, with which the scaler divided it away.
    ``scale`` is the loss scale (``None``: no scaler), ``stale`` the parameters whose gradient still
    held that of the step before, ``reached`` those that had a gradient at all. ``cleared``: what the
    last backward call made for this optimizer was gone when it stepped, and unused.
    """

    backwards: tuple[Backward, ...]
    skipped: bool
    scale: float | None
    norm: float | None
    used: float | None
    before_unscaling: float | None
    clippings: tuple[Clipping, ...]
    stale: tuple[str, ...]
    reached: tuple[str, ...]
    cleared: bool

    @property
    def shrunk(self) -> float | None:
        """By how much the gradient was divided between backward and step (1: not at all)."""
        return self.norm / self.used if self.norm and self.used else None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopRecord:
    """Some calls of the user's own training step on a copy.

    ``initial`` and ``final`` are the mean loss over the same batches before and after; ``calls``
    is how often the step function was called, which is not the number of optimizer steps where
    gradients are accumulated. ``moved`` are the names of parameters whose values changed, ``unused``
    counts the backward calls since the last optimizer step, ``shared`` are the names of parameters
    that this optimizer and another one each step.
    """

    calls: int
    steps: tuple[LoopStep, ...]
    initial: float
    final: float
    rate: float
    moved: frozenset[str] = frozenset()
    unused: int = 0
    shared: frozenset[str] = frozenset()

    @property
    def fell(self) -> float:
        """Share of the initial loss that is gone (negative: it rose; -inf: no number any more)."""
        if not math.isfinite(self.final) or not math.isfinite(self.initial) or self.initial == 0:
            return -math.inf
        return (self.initial - self.final) / abs(self.initial)
