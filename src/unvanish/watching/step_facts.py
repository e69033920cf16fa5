"""What happens to the gradients between two steps: losses, loss scales, clipping, skipped steps."""

import threading
from typing import Any

import torch
from torch import Tensor

from unvanish.shards import known_here
from unvanish.watching.reading import Number
from unvanish.watching.watched import Watched


class StepFacts:
    """Gathers the facts of one step, from the end of the one before."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self._thread = threading.local()
        self._scaler: Any = None
        self._continues: bool | None = None
        self._left: list[tuple[int, int]] = []
        self._to_read, self._hidden = MOST_READ, False
        self.start_step()

    def start_step(self) -> None:
        """Forget the step that is over."""
        self._loss: Tensor | None = None
        self._backwards = 0
        self._clipping: str | None = None
        self._factor: Number | None = None
        self._scale: Number | None = None
        self._left = self._versions()
        self._fresh = False

    @property
    def loss(self) -> Tensor | None:
        """The sum of what the backward passes of this step began from, so far."""
        return self._loss

    @property
    def backwards(self) -> int:
        """The backward passes of this step that reached a watched tensor, so far."""
        return self._backwards

    @property
    def scaler(self) -> Any:
        """The loss scaler that steps the optimizer, if one does."""
        return self._scaler

    @property
    def continued(self) -> bool:
        """Whether this backward pass goes on with a gradient that came from elsewhere: without a loss."""
        return bool(getattr(self._thread, "continued", False))

    def before_backward(self, loss: Tensor, scale: Any, given: Any) -> None:
        """A backward pass begins, of this model or another."""
        self._thread.continued = self._goes_on(loss, given)
        self._thread.versions = self._versions()
        self._fresh = self._fresh or not self._is_left()
        self._thread.loss = loss.detach()
        self._thread.scale = None if scale is None else _copied(scale)

    def after_backward(self, failed: bool) -> bool:
        """It is over; whether it counts, because it reached a watched tensor."""
        loss: Tensor | None = getattr(self._thread, "loss", None)
        self._thread.loss = None
        versions = self._versions()
        if failed or loss is None or versions == self._thread.versions:
            return False
        here = None if self.continued else known_here(loss)
        if here is not None:
            value = here.sum() if here.dim() else here
            self._loss = value.clone() if self._loss is None else self._loss + value
        self._backwards += 1
        self._left = versions
        self._scale = self._thread.scale if self._thread.scale is not None else self._scale
        return True

    def _goes_on(self, root: Tensor, given: Any) -> bool:
        """Whether a root is no loss: the output of a stage, given its gradient by the next one.

        A gradient that is the same everywhere makes a sum of losses, or their mean. That is asked
        once in a training: to read it may mean to wait for a device.
        """
        if not isinstance(given, Tensor) or root.numel() == 1:
            return False
        if self._continues is None:
            here = known_here(given)
            self._continues = here is None or not bool(here.any()) or here.unique().numel() > 1
        return self._continues

    def _versions(self) -> list[tuple[int, int]]:
        gradients = [parameter.grad for parameter in self._watched.sample]
        return [(id(g), g._version) if g is not None else (0, 0) for g in gradients]

    def _is_left(self) -> bool:
        """Whether the gradients are what the last step, or backward pass, left behind.

        Zeros written behind autograd's back (``grad.data.zero_()``) leave no version: so they are
        read, at the first few steps that nothing was seen to change before.
        """
        if self._thread.versions != self._left or not any(key for key, _ in self._left):
            return False
        if not self._backwards and self._to_read:
            self._to_read -= 1
            held = [g for p in self._watched.sample if (g := p.grad) is not None]
            here = known_here(min(held, key=lambda gradient: gradient.numel()))
            self._hidden = self._hidden or (here is not None and not bool(here.any()))
        return not self._hidden

    def clipped(self, parameters: list[Tensor], factor: Any, kind: str) -> None:
        """Gradients were clipped, of this model or another."""
        if any(self._watched.holds(parameter) for parameter in parameters):
            self._clipping = kind
            if factor is not None:
                self._factor = factor if self._factor is None else self._factor * factor

    def before_scaler_step(self, scaler: Any, optimizer: Any) -> None:
        """Remember the scaler; whether the optimizer's own step comes is seen at :meth:`stepped`."""
        self._scaler, self._took_step = scaler, False

    def stepped(self) -> None:
        """The optimizer has stepped."""
        self._took_step = True

    def skipped(self) -> bool:
        """Whether a scaler's step ended without a step of the optimizer."""
        return self._scaler.is_enabled() and not self._took_step

    def found_nonfinite(self, optimizer: torch.optim.Optimizer) -> Number:
        """1 where a fused optimizer was told to leave the weights as they are."""
        found: Any = getattr(optimizer, "found_inf", None)
        here = known_here(found) if isinstance(found, Tensor) else found
        return 0.0 if here is None else _copied(here)

    def remaining_scale(self, optimizer: torch.optim.Optimizer) -> float:
        """What the gradients are still multiplied by: a fused optimizer divides by it itself."""
        scale: Any = getattr(optimizer, "grad_scale", None)
        here = known_here(scale) if isinstance(scale, Tensor) else scale
        return 1.0 if here is None else float(here)

    @property
    def scale(self) -> float:
        """The loss scale that the gradients bear right after a backward pass."""
        return 1.0 if self._scale is None else float(self._scale)

    def stage(self, local: bool, early: bool) -> str:
        """Which gradients were read, in the three words of a recording."""
        when = "before-clipping" if early else "after-clipping"
        clipping = "unclipped" if self._clipping is None else when
        return f"unscaled {clipping} {'local-shard' if local else 'whole'}"

    def of_optimizer(self, optimizer: torch.optim.Optimizer) -> dict[str, Number]:
        """The learning rates of the step that comes: one, or one for each group if they differ."""
        rates = [group.get("lr") for group in optimizer.param_groups]
        known = [
            float(rate) if not isinstance(rate, Tensor) else _copied(rate)
            for rate in rates
            if rate is not None
        ]
        if not known:
            return {}
        facts: dict[str, Number] = {"learning_rate": known[0]}
        if any(rate != known[0] for rate in known[1:]):
            facts |= {f"learning_rate_{i}": rate for i, rate in enumerate(known[:MOST_GROUPS])}
        return facts

    def of_step(self) -> dict[str, Number]:
        """Everything else that the step has only one of."""
        facts: dict[str, Number] = {"backwards": float(self._backwards)}
        if self._backwards and not self._fresh:
            facts["stale"] = 1.0
        for name, value in (
            ("loss", self._loss),
            ("clip_factor", self._factor),
            ("loss_scale", self._scale),
        ):
            if value is not None:
                facts[name] = value
        return facts


MOST_GROUPS = 8
MOST_READ = 3
"""Gradients read to see whether they are zero. On a device that means to wait for it."""


def _copied(value: Any) -> Number:
    # On a device: a copy there, which is read later. On the host: its value, at once.
    if not isinstance(value, Tensor):
        return float(value)
    return float(value) if value.device.type == "cpu" else value.detach().clone()
