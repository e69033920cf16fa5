"""Is there anything to learn? Train on one half of the samples, ask about the other half.

A permutation test: after training, the loss on samples with their own targets is compared with
the losses that the same outputs get under shuffled targets. If what was learned says nothing
about samples it has not seen, their own targets fit no better than anyone else's.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from unvanish.batches import Loss, call_model, map_tensors, tensors_in
from unvanish.experiments.altered_data import count_samples, in_parts, ordered

FEWEST = 16
"""Samples that are halved."""
CLEAR = 0.02
"""One level for both halves: the shown one is clearly learned, the other is not. Chance alone lets
one unlearnable program in fifty pass."""
SHUFFLES = 99
"""With 99 shuffles the smallest p is 0.01."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """p-values of "the targets fit these samples no better than shuffled ones", after training.

    ``known``: one minus the loss on the unseen ones over that with shuffled targets; 1 where it is
    zero, 0 where nothing is known.
    """

    seen: float
    unseen: float
    samples: int
    known: float

    def memorised(self, level: float) -> bool:
        """Whether the shown samples are clearly learned and the others are not."""
        return self.seen <= level < self.unseen


def split_samples(batches: list[tuple[Any, Any]]) -> tuple[list[Any], list[Any]] | None:
    """Batches with half of the samples each; ``None`` where samples cannot be told apart.

    Every other batch, or half of a single one: drawn by lot, as targets that come in a fixed order
    must not part with it. Inputs that a single batch holds twice are in the first half alone.
    """
    counts = [count_samples(batch) for batch in batches]
    if None in counts or sum(count or 0 for count in counts) < FEWEST:
        return None
    if len(batches) > 1:
        return batches[::2], batches[1::2]
    seen, unseen = in_parts(batches[0], 2)
    others = (~torch.isin(_marks(unseen[0]), _marks(seen[0]))).nonzero().flatten()
    if len(others) < FEWEST // 2:
        return None
    chosen = ordered(others)
    return [seen], [(map_tensors(unseen[0], chosen), map_tensors(unseen[1], chosen))]


def _marks(inputs: Any) -> Tensor:
    """A number for each sample, the same where its inputs are."""
    rows = [t.detach().cpu().double().flatten(1) for t in tensors_in(inputs) if t.dim() > 1]
    rows += [t.detach().cpu().double()[:, None] for t in tensors_in(inputs) if t.dim() == 1]
    generator = torch.Generator().manual_seed(0)
    weights = [torch.rand(row.shape[1], generator=generator, dtype=torch.float64) for row in rows]
    return torch.stack([(row * w).sum(1) for row, w in zip(rows, weights, strict=True)]).sum(0)


def ask(model: nn.Module, seen: list[Any], unseen: list[Any], loss: Loss) -> HeldOut:
    """The two p-values of a trained model."""
    count = sum(tensors_in(targets)[0].shape[0] for _, targets in unseen)
    (own, wrong), shown = _losses(model, unseen, loss), _losses(model, seen, loss)
    return HeldOut(
        seen=_p_value(*shown),
        unseen=_p_value(own, wrong),
        samples=count,
        known=1 - own / float(wrong.mean()) if own >= 0 and wrong.mean() > 0 else 0.0,
    )


def _p_value(own: float, wrong: Tensor) -> float:
    return (1 + int((wrong <= own).sum())) / (1 + SHUFFLES)


def _losses(model: nn.Module, batches: list[Any], loss: Loss) -> tuple[float, Tensor]:
    """Summed over batches of about one size: with their own targets, and shuffled in each batch."""
    generator = torch.Generator().manual_seed(0)
    own, wrong = 0.0, torch.zeros(SHUFFLES, dtype=torch.float64)
    with torch.no_grad():
        for inputs, targets in batches:
            outputs = call_model(model, map_tensors(inputs, Tensor.clone))
            own += float(loss(outputs, targets))
            count = tensors_in(targets)[0].shape[0]
            for index in range(SHUFFLES):
                order = torch.randperm(count, generator=generator)
                wrong[index] += float(loss(outputs, map_tensors(targets, ordered(order))))
    return own, wrong
