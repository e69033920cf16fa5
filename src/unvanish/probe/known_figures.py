"""Figures of gradients that were measured already: one tensor has several names on its way."""

import torch
from torch import Tensor

from unvanish.signals import Measure, measure


def once(gradient: Tensor, known: list[tuple[Tensor, Measure]]) -> Measure:
    """Measure a tensor, or reuse the figure of one with the same memory and size (views)."""
    figure = known_figure(gradient, known)
    if figure is None:
        figure = measure(gradient)
        if gradient.layout == torch.strided:
            known.append((gradient, figure))
    return figure


def known_figure(gradient: Tensor, known: list[tuple[Tensor, Measure]]) -> Measure | None:
    """The figure of a tensor among these with the same entries, in whatever order."""
    if gradient.layout != torch.strided:
        return None
    for other, figure in known:
        same_place = gradient.data_ptr() == other.data_ptr() and gradient.dtype == other.dtype
        if same_place and _same_elements(gradient, other):
            return figure
    return None


def _same_elements(left: Tensor, right: Tensor) -> bool:
    """Whether two tensors with one start visit the same memory, in whatever order."""
    whole = left.numel() == right.numel() and left.is_contiguous() and right.is_contiguous()
    return whole or _steps(left) == _steps(right)


def _steps(tensor: Tensor) -> list[tuple[int, int]]:
    return sorted((s, n) for s, n in zip(tensor.stride(), tensor.shape, strict=True) if n != 1)
