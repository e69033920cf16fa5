"""What a linear model of the same samples reaches: what is plainly there to be learned."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from unvanish.batches import split_batch, tensors_in
from unvanish.errors import UnvanishError
from unvanish.trial.ridge import Ridge, fit_ridge
from unvanish.trial.split import Split
from unvanish.trial.yardstick import Score, Yardstick, class_axis

MOST = 2048
"""Samples that are fitted at most: of more, the first ones that a training sees."""
_ENTRIES = 2**27
"""Numbers of all samples together, a gigabyte in double precision."""

Answer = Callable[[Any], Any]


def linear_skill(
    yardstick: Yardstick, split: Split, judged: Sequence[Any], outputs: Any, steps: int
) -> Score | None:
    """The score on ``judged`` of a ridge regression on what a training sees; ``None``: it has none.

    Inputs are flattened and standardised; classes are asked for by their indicators, the largest
    answer is the class. There is such a model where each sample has floating-point inputs of one
    shape and one answer, a class or a number: of several answers some may stand among the inputs of
    others (a series that is continued, pictures that are denoised), where copying is no skill.

    Args:
        yardstick: what scores are taken with.
        split: the data; batches must be (inputs, targets) pairs.
        judged: the batches to answer.
        outputs: what the net says to a batch, for the shape.
        steps: of the training, which bounds what is seen of the data.
    """
    if yardstick.forward is not None and yardstick.metric is None:
        return None
    try:
        seen = [split_batch(batch) for batch in _seen(split, steps)]
        inputs = torch.cat([_flat(given) for given, _ in seen])
        wanted = torch.cat([targets.detach().cpu() for _, targets in seen])
        if not bool(inputs.isfinite().all()) or len(inputs) != len(wanted):
            return None
        answers = _answers(inputs, wanted, outputs)
        if not answers:
            return None
        found = min(answers, key=lambda answer: _loss(yardstick, answer, seen))
        with torch.no_grad():
            return yardstick.judge(found, judged)
    except (UnvanishError, RuntimeError, TypeError, ValueError, IndexError, AttributeError):
        return None  # a reference that cannot be taken is left out, and stops nobody


def _seen(split: Split, steps: int) -> list[Any]:
    """The batches of the first epoch under seed 0, as far as the steps and the limits go."""
    first = split.batch(0, 0)
    whole = sum(len(t) for t in tensors_in(split.training[0])[:1]) if split.size else 0
    epoch = whole // split.size if split.size else len(split.training)
    inputs = _flat(split_batch(first)[0])
    most = min(MOST, max(_ENTRIES // inputs.shape[1], 2))
    count = min(epoch, steps, max(most // max(len(inputs), 1), 1))
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


def _answers(inputs: Tensor, targets: Tensor, outputs: Any) -> list[Answer]:
    """Linear models that answer in the net's way; none where a sample has several answers."""
    if not isinstance(outputs, Tensor) or targets[0].numel() != 1:
        return []
    if class_axis(outputs[:1].cpu(), targets[:1]) == 1 and outputs.dim() == 2:
        known = targets >= 0
        classes = torch.arange(outputs.shape[1])
        indicators = (targets[known][:, None] == classes).double()
        return [_said(fit_ridge(inputs[known], indicators), outputs)]
    if not targets.is_floating_point() or outputs[0].numel() != 1:
        return []
    model = fit_ridge(inputs, targets.reshape(-1, 1))
    found = [_said(model, outputs)]
    if float(targets.min()) >= 0 and float(targets.max()) <= 1:
        shares: Callable[[Tensor], Tensor] = lambda said: said.clamp(1e-6, 1 - 1e-6)  # noqa: E731
        found += [_said(model, outputs, shares)]
        found += [_said(model, outputs, lambda said: torch.logit(shares(said)))]
    return found


def _said(model: Ridge, outputs: Tensor, change: Callable[[Tensor], Tensor] | None = None) -> Answer:
    """Its predictions in the shape, type and place of the net's outputs."""

    def answer(inputs: Any) -> Tensor:
        said = model(_flat(inputs))
        said = said if change is None else change(said)
        return said.reshape(-1, *outputs.shape[1:]).to(outputs)

    return answer


def _loss(yardstick: Yardstick, answer: Answer, seen: Sequence[tuple[Any, Any]]) -> float:
    """The mean loss on what was fitted; infinite where the loss refuses such answers."""
    if yardstick.loss is None:
        return 0.0
    try:
        losses = [float(yardstick.loss(answer(x), y).detach()) for x, y in seen]
    except (RuntimeError, ValueError):
        return float("inf")
    return sum(losses) / len(losses)
