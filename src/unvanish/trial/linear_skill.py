"""What a model without training says to samples it has not seen: what is plainly there to be learned."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unvanish.batches import split_batch, tensors_in
from unvanish.errors import UnvanishError
from unvanish.trial.ridge import left_out
from unvanish.trial.split import Split, samples_in
from unvanish.trial.yardstick import Score, Yardstick, class_axis

MOST = 2048
"""Samples that are fitted at most: of more, the first ones that a training sees."""
_ENTRIES = 2**27
"""Numbers of all samples together, a gigabyte in double precision."""
_SURE = 1e-6


Unseen = Callable[[Tensor, Tensor], Tensor]
"""Of (inputs, targets) an answer for each sample that its own target had no part in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearSkill:
    """The samples that were asked for, and the score of a model that knew the others each."""

    batches: tuple[Any, ...]
    score: Score


def linear_skill(
    yardstick: Yardstick, split: Split, outputs: Any, steps: int, unseen: Unseen = left_out
) -> LinearSkill | None:
    """The leave-one-out score of a ridge regression on what a training sees; ``None``: it has none.

    Inputs are flattened and standardised; classes are asked for by their indicators, the largest
    answer is the class. There is such a model where each sample has floating-point inputs of one
    shape and one answer, a class or a number: of several answers some may stand among the inputs of
    others (a series that is continued, pictures that are denoised), where copying is no skill. Rows
    of a table are asked for fewer numbers than they have, too.

    Args:
        yardstick: what scores are taken with.
        split: the data; batches must be (inputs, targets) pairs.
        outputs: what the net says to a batch, for the shape.
        steps: of the training, which bounds what is seen of the data.
        unseen: what answers in place of the ridge regression (:mod:`unvanish.trial.neighbours`).
    """
    if yardstick.forward is not None and yardstick.metric is None:
        return None
    try:
        batches = _seen(split, steps)
        pairs = [split_batch(batch) for batch in batches]
        inputs = torch.cat([_flat(given) for given, _ in pairs])
        wanted = torch.cat([targets.detach().cpu() for _, targets in pairs])
        if len(inputs) < 3 or len(inputs) != len(wanted) or not bool(inputs.isfinite().all()):
            return None
        rows = all(t.dim() == 2 for given, _ in pairs for t in tensors_in(given))
        most = inputs.shape[1] - 1 if rows else 1
        answers = _said(inputs, wanted, outputs, unseen, max(most, 1))
        scores = [_judged(yardstick, said, batches) for said in answers]
    except (UnvanishError, RuntimeError, TypeError, ValueError, IndexError, AttributeError):
        return None  # a reference that cannot be taken is left out, and stops nobody
    known = [score for score in scores if score is not None and score.metric is not None]
    if not known:
        return None
    least = min(known, key=lambda score: score.loss if score.loss is not None else 0.0)
    return LinearSkill(batches=tuple(batches), score=least)


def _seen(split: Split, steps: int) -> list[Any]:
    """The batches of the first epoch under seed 0, as far as the steps and the limits go."""
    first = split.batch(0, 0)
    size = samples_in(first)
    epoch = samples_in(split.training[0]) // size if split.size else len(split.training)
    features = _flat(split_batch(first)[0]).shape[1]
    count = min(epoch, steps, max(min(MOST, _ENTRIES // max(features, 1)) // size, 1))
    return [split.batch(0, step) for step in range(count)]


def _flat(inputs: Any) -> Tensor:
    """(samples, features) on the CPU.

    Raises:
        ValueError: some input has no floating-point numbers, or not one row for each sample.
    """
    tensors = tensors_in(inputs)
    counts = {len(t) if t.dim() else 0 for t in tensors}
    if len(counts) != 1 or not all(t.is_floating_point() for t in tensors):
        raise ValueError("no inputs that a linear model could read")
    return torch.cat([t.detach().cpu().float().flatten(1) for t in tensors], dim=1)


def _said(
    inputs: Tensor, targets: Tensor, outputs: Any, unseen: Unseen, most: int
) -> Iterable[Tensor]:
    """Answers in the net's way, to be chosen from; none where a sample has more than ``most``."""
    several = targets[0].numel()
    if not isinstance(outputs, Tensor) or not 1 <= several <= most:
        return
    if several == 1 and outputs.dim() == 2 and class_axis(outputs[:1].cpu(), targets[:1]) == 1:
        classes = torch.arange(outputs.shape[1])
        yield unseen(inputs, (targets[:, None] == classes).double()).to(outputs)
        return
    if not targets.is_floating_point() or outputs[0].numel() != several:
        return
    found = unseen(inputs, targets.flatten(1) if several > 1 else targets.reshape(-1, 1))
    found = found.reshape(-1, *outputs.shape[1:])
    yield found.to(outputs)
    if float(targets.min()) >= 0 and float(targets.max()) <= 1:  # shares, or their logits
        yield found.clamp(_SURE, 1 - _SURE).to(outputs)
        yield torch.logit(found, eps=_SURE).to(outputs)


def _judged(yardstick: Yardstick, said: Tensor, batches: Sequence[Any]) -> Score | None:
    """The score of these answers; ``None`` where the loss refuses such ones."""
    parts = iter(said.split([samples_in(batch) for batch in batches]))
    answer: Callable[[Any], Any] = lambda _: next(parts)  # noqa: E731
    try:
        with torch.no_grad():
            return yardstick.judge(answer, batches)
    except (RuntimeError, ValueError):
        return None
