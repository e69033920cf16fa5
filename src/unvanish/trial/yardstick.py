"""What two arms are compared by: accuracy, the user's own metric, or the loss, on held-out samples."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from unvanish.batches import (
    Forward,
    Loss,
    call_model,
    compute_loss,
    map_tensors,
    split_batch,
    tensors_in,
)
from unvanish.errors import BadInput
from unvanish.trial.split import samples_in

Metric = Callable[[Any, Any], float]
Answer = Callable[[Any], Any]
"""What is said to the inputs of a batch: a model's outputs, or always the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One arm's measure on some batches: the metric, and the mean loss beside it.

    ``None`` where outputs (or, for the metric "loss", the loss) were not finite, or could not be
    taken at all.
    """

    metric: float | None
    loss: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Yardstick:
    """How an arm is measured: ``kind`` is what the metric is, ``metric`` the user's own."""

    kind: Literal["accuracy", "metric", "loss"]
    loss: Loss | None
    forward: Forward | None
    metric: Metric | None = None

    @property
    def reads_outputs(self) -> bool:
        """Whether the model is called on inputs as they are, and not by the user's forward alone."""
        return self.forward is None or self.metric is not None

    @property
    def higher_is_better(self) -> bool:
        """Everything but a loss."""
        return self.kind != "loss"

    def measure(self, model: nn.Module, batches: Sequence[Any]) -> Score:
        """The score of a model, which must be in the mode to be measured in.

        Raises:
            BadInput: the user's metric gave something else than a number on finite outputs.
        """
        try:
            with torch.no_grad():
                return self._measure(model, batches)
        except RuntimeError:
            # A loss with derivatives in it (a gradient penalty) needs a graph.
            with torch.enable_grad():
                return self._measure(model, batches)

    def _measure(self, model: nn.Module, batches: Sequence[Any]) -> Score:
        if self.forward is None:
            return self.judge(lambda inputs: call_model(model, inputs), batches)
        own = [map_tensors(batch, Tensor.clone) for batch in batches]
        losses = [float(compute_loss(model, batch, None, self.forward).detach()) for batch in own]
        loss = _mean(losses, batches)
        if self.kind != "metric":
            return Score(metric=loss, loss=loss)
        judged = self.judge(lambda inputs: call_model(model, inputs), batches)
        return Score(metric=judged.metric, loss=loss)

    def judge(self, answer: Answer, batches: Sequence[Any]) -> Score:
        """The score of answers to the inputs of (inputs, targets) batches."""
        outputs: list[Any] = []
        targets: list[Any] = []
        losses: list[float] = []
        for batch in batches:
            given, wanted = split_batch(map_tensors(batch, Tensor.clone))
            outputs.append(answer(given))
            targets.append(wanted)
            if self.forward is None:
                losses.append(float(cast(Loss, self.loss)(outputs[-1], wanted).detach()))
        loss = _mean(losses, batches) if losses else None
        if self.kind == "loss":
            return Score(metric=loss, loss=loss)
        return Score(metric=self.rate(outputs, targets), loss=loss)

    def rate(self, outputs: Sequence[Any], targets: Sequence[Any]) -> float | None:
        """The accuracy or the user's metric of several batches; ``None`` of what is not finite.

        Raises:
            BadInput: the user's metric gave something else than a number on finite outputs.
        """
        floats = [t for t in tensors_in(list(outputs)) if t.is_floating_point()]
        if not all(bool(t.isfinite().all()) for t in floats):
            return None
        if self.metric is None:
            return _accuracy(outputs, targets)
        if any(_overflows(t) for t in floats):
            return None
        return _own_metric(self.metric, outputs, targets)


def _mean(values: Sequence[float], batches: Sequence[Any]) -> float | None:
    """The mean over samples; ``None`` where it is no number."""
    weights = [samples_in(batch) for batch in batches]
    total = math.fsum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)
    return total if math.isfinite(total) else None


def class_axis(outputs: Any, targets: Any) -> int | None:
    """Which axis of the outputs counts classes, where the targets are their numbers.

    1, as torch's own losses have it, or -1 for a model of sequences; ``None``: these are no classes.
    """
    if not (isinstance(outputs, Tensor) and isinstance(targets, Tensor)):
        return None
    whole = not targets.is_floating_point() and not targets.is_complex()
    if not whole or targets.dtype == torch.bool or not outputs.is_floating_point():
        return None
    if outputs.dim() != targets.dim() + 1 or not targets.numel():
        return None
    for axis in (1, -1):
        shape = list(outputs.shape)
        classes = shape.pop(axis)
        if shape == list(targets.shape) and int(targets.max()) < classes and classes > 1:
            return axis
    return None


def _accuracy(outputs: Sequence[Any], targets: Sequence[Any]) -> float:
    """Share of targets that are the largest output; negative targets (padding) do not count."""
    right = counted = 0
    for said, wanted in zip(outputs, targets, strict=True):
        axis = class_axis(said, wanted)
        if axis is None:
            raise BadInput(
                "accuracy: outputs and targets of a held-out batch are no classes, though the first "
                "batch's were: pass metric=."
            )
        real = wanted >= 0
        right += int(((said.argmax(axis) == wanted) & real).sum())
        counted += int(real.sum())
    return right / max(counted, 1)


def _overflows(outputs: Tensor) -> bool:
    """Whether the squares of these are beyond their type: a metric can only say infinity or NaN."""
    return bool(outputs.numel()) and not bool(outputs.square().isfinite().all())


def _own_metric(metric: Metric, outputs: Sequence[Any], targets: Sequence[Any]) -> float:
    """The user's metric on all samples at once where they can be joined, else a mean of batches."""
    try:
        joined = [(_joined(outputs), _joined(targets), 1)]
    except (RuntimeError, TypeError):
        joined = [(o, t, samples_in(t)) for o, t in zip(outputs, targets, strict=True)]
    values = [_number(metric, said, wanted) for said, wanted, _ in joined]
    weights = [weight for _, _, weight in joined]
    return math.fsum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)


def _number(metric: Metric, outputs: Any, targets: Any) -> float:
    try:
        number = float(metric(outputs, targets))
    except Exception as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise BadInput(
            f"metric(outputs, targets) must return a number; it failed: {said}."
        ) from error
    if not math.isfinite(number):
        raise BadInput(
            f"metric(outputs, targets) returned {number} though every output is finite: no arm can be "
            "judged by it; return a number for any outputs (0 where a ratio has an empty denominator)."
        )
    return number


def _joined(parts: Sequence[Any]) -> Any:
    if len(parts) == 1:
        return parts[0]
    if not all(isinstance(part, Tensor) for part in parts):
        raise TypeError
    return torch.cat(list(parts))
