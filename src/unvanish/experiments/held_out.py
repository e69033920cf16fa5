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

SHUFFLES = 99
"""With 99 shuffles the smallest p is 0.01."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """p-values of "the targets fit these samples no better than shuffled ones", after training."""

    seen: float
    unseen: float
    samples: int

    def memorised(self, level: float) -> bool:
        """Whether the shown samples are clearly learned and the others are not."""
        return self.seen <= level < self.unseen


def split_samples(inputs: Any, targets: Any) -> tuple[Any, Any] | None:
    """Two batches with half of the samples each; ``None`` where samples cannot be told apart.

    Which half is drawn by lot: targets that come in a fixed order must not part with it.
    """
    count = count_samples(inputs, targets)
    if count is None or count < 16:
        return None
    first, second = in_parts(inputs, targets, 2)
    return first, second


def ask(model: nn.Module, seen: Any, unseen: Any, loss: Loss) -> HeldOut:
    """The two p-values of a trained model."""
    count = tensors_in(unseen[1])[0].shape[0]
    return HeldOut(
        seen=_p_value(model, seen, loss), unseen=_p_value(model, unseen, loss), samples=count
    )


def _p_value(model: nn.Module, batch: Any, loss: Loss) -> float:
    inputs, targets = batch
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        outputs = call_model(model, map_tensors(inputs, Tensor.clone))
        own = float(loss(outputs, targets))
        count = tensors_in(targets)[0].shape[0]
        orders = [torch.randperm(count, generator=generator) for _ in range(SHUFFLES)]
        wrong = [float(loss(outputs, map_tensors(targets, ordered(order)))) for order in orders]
    return (1 + sum(1 for value in wrong if value <= own)) / (1 + SHUFFLES)
