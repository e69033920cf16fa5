"""What is reached without looking at the inputs: the score of the best constant answer."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from unvanish.batches import split_batch
from unvanish.errors import UnvanishError
from unvanish.trial.split import Split
from unvanish.trial.yardstick import Score, Yardstick, class_axis


def zero_skill(yardstick: Yardstick, split: Split, outputs: Any) -> Score | None:
    """The held-out score of the best constant, chosen on the training part; ``None``: unknown.

    For classes, the logarithm of their frequencies (Laplace's, one added to each count), which is
    the majority class by accuracy. For float targets of the outputs' shape the mean, the median or
    the logit of the mean, whichever has the lower loss: what squared, absolute and binary
    cross-entropy errors are least at.

    Args:
        yardstick: what scores are taken with.
        split: the data; batches must be (inputs, targets) pairs.
        outputs: what the model says to the first held-out batch, for the shape.
    """
    if yardstick.forward is not None and yardstick.metric is None:
        return None
    try:
        targets = [split_batch(batch)[1] for batch in split.training]
        constants = _constants(outputs, targets, split_batch(split.held_out[0])[1])
        best = min(constants, key=lambda answer: _training_loss(yardstick, answer, split))
        return _judged(yardstick, best, split.held_out)
    except (UnvanishError, RuntimeError, TypeError, ValueError, IndexError):
        return None  # a reference that cannot be taken is left out, and stops nobody


Constant = Callable[[Any], Any]
"""The same outputs for every sample, given the targets of the batch (for their number)."""


def _constants(outputs: Any, targets: Sequence[Any], example: Any) -> list[Constant]:
    axis = class_axis(outputs, example)
    if axis is not None:
        return [_frequencies(targets, outputs.shape[axis], axis)]
    if not isinstance(outputs, Tensor) or outputs.shape != example.shape:
        return []
    values = torch.cat([t.detach().double() for t in targets])
    mean, median = values.mean(0), values.median(0).values
    found = [mean, median]
    if float(values.min()) >= 0 and float(values.max()) <= 1:
        found.append(torch.logit(mean, eps=1e-6))
    return [_repeated(value.to(outputs.dtype)) for value in found]


def _repeated(value: Tensor) -> Constant:
    return lambda targets: value.expand(targets.shape[0], *value.shape).clone()


def _frequencies(targets: Sequence[Tensor], classes: int, axis: int) -> Constant:
    seen = torch.cat([t.flatten() for t in targets])
    counts = torch.bincount(seen[seen >= 0].long(), minlength=classes).float() + 1
    logs = (counts / counts.sum()).log()

    def answer(wanted: Tensor) -> Tensor:
        return logs.expand(*wanted.shape, classes).movedim(-1, axis).clone()

    return answer


def _training_loss(yardstick: Yardstick, answer: Constant, split: Split) -> float:
    if yardstick.loss is None:
        return 0.0
    pairs = [split_batch(batch) for batch in split.training]
    losses = [float(yardstick.loss(answer(t), t).detach()) for _, t in pairs]
    return sum(losses) / len(losses)


def _judged(yardstick: Yardstick, answer: Constant, batches: Sequence[Any]) -> Score:
    # The answer needs the number of samples, which targets have as well as inputs.
    pairs = [(t, t) for t in (split_batch(batch)[1] for batch in batches)]
    with torch.no_grad():
        return yardstick.judge(answer, pairs)
