"""Data as it is and as it might be: its scale, standardised, with targets in another order."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from unvanish.batches import is_pair, map_entries, map_tensors, split_batch, tensors_in

BOTH = "inputs and targets"
TARGETS = frozenset(("labels", "label", "label_ids", "targets", "target", "y"))
"""How mappings name their targets: as Hugging Face's models take them, and as papers write them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Root mean square, mean and extremes of some values."""

    rms: float
    mean: float
    low: float
    high: float


def halves_of(batch: Any) -> tuple[Any, Any] | None:
    """Inputs and targets: of a pair, or of a mapping that names its targets as is the custom."""
    if is_pair(batch):
        return split_batch(batch)
    if not isinstance(batch, Mapping):
        return None
    named = cast(Mapping[Any, Any], batch)
    targets = {key: value for key, value in named.items() if key in TARGETS}
    inputs = {key: value for key, value in named.items() if key not in TARGETS}
    return (inputs, targets) if inputs and targets else None


def with_halves(batch: Any, inputs: Any, targets: Any) -> Any:
    """A batch of the same kind as one that :func:`halves_of` took apart, of other halves."""
    if is_pair(batch):
        return inputs, targets
    changed = {**inputs, **targets}
    return map_entries(batch, lambda key, _: changed[key])


def count_samples(batch: Any) -> int | None:
    """The length that the first axes of all tensors have in common; ``None`` where they differ."""
    sizes = {t.shape[0] if t.dim() else 0 for t in tensors_in(batch)}
    return min(sizes) if len(sizes) == 1 and min(sizes) else None


def in_parts(batch: Any, count: int) -> list[Any]:
    """So many batches with as many samples each, all of them once.

    Which part a sample is in is drawn by lot: targets that come in a fixed order must not part
    with it.
    """
    samples = count_samples(batch) or 1
    order = torch.randperm(samples, generator=torch.Generator().manual_seed(0))
    return [map_tensors(batch, ordered(part)) for part in order.chunk(count)]


def ordered(order: Tensor) -> Callable[[Tensor], Tensor]:
    """What takes these entries of a tensor's first axis."""
    return lambda tensor: tensor[order.to(tensor.device)]


def shuffled(tensor: Tensor) -> Tensor:
    """The first axis in another order, the same for every tensor of this length."""
    if not tensor.dim():
        return tensor
    order = torch.randperm(tensor.shape[0], generator=torch.Generator().manual_seed(0))
    return tensor[order.to(tensor.device)]


def first_for_all(tensor: Tensor) -> Tensor:
    """The first entry of the first axis in the place of every other."""
    return tensor[:1].expand_as(tensor).clone() if tensor.dim() else tensor


def no_number(tensor: Tensor) -> Tensor:
    """NaN for every float; what counts or chooses stays, as code may not bear another."""
    return torch.full_like(tensor, math.nan) if tensor.is_floating_point() else tensor


def scale_of(tensors: list[Tensor]) -> Scale | None:
    """Scale of all values of some tensors; ``None`` where there are none."""
    if not tensors:
        return None
    values = torch.cat([t.detach().double().flatten() for t in tensors])
    return Scale(
        rms=float(values.square().mean().sqrt()),
        mean=float(values.mean()),
        low=float(values.min()),
        high=float(values.max()),
    )


def out_of_reach(tensors: list[Tensor], low: float, high: float) -> float | None:
    """Share of the values' variance that is left by the best that stays between two bounds."""
    if not tensors:
        return None
    values = torch.cat([t.detach().double().flatten() for t in tensors])
    variance = float(values.var(correction=0))
    missed = float((values - values.clamp(low, high)).square().mean())
    return missed / variance if variance > 0 else None


def standardized(batch: Any, part: str) -> Any:
    """A batch with its ``"inputs"``, its ``"targets"`` or BOTH at zero mean and unit variance."""

    def scale(tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point() or tensor.numel() < 2:
            return tensor
        # Each feature by itself where samples are rows, as the usual scalers do.
        dims = (0,) if tensor.dim() == 2 and tensor.shape[0] > 1 else tuple(range(tensor.dim()))
        spread = tensor.std(dims, keepdim=True)
        return (tensor - tensor.mean(dims, keepdim=True)) / torch.where(spread > 0, spread, 1)

    halves = halves_of(batch)
    if halves is None:
        return map_tensors(batch, scale)
    inputs, targets = halves
    if part != "targets":
        inputs = map_tensors(inputs, scale)
    return with_halves(batch, inputs, targets if part == "inputs" else map_tensors(targets, scale))
