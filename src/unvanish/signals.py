"""Tensor to numbers: norms, counts, shares. No modules, no hooks, no words.

A float32 norm squares its entries, so below 1e-23 it returns zero and above 1e19 infinity:
exactly where vanishing and exploding gradients live. :func:`measure` keeps the fast float32
norm and takes the float64 one only where the fast one may be wrong.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

FLOAT32_RESOLUTION = 2.0**-24
"""Half the gap between 1 and the next float32: a relative change below it changes nothing."""

# Squares of float32 below this lose bits to denormals (smallest normal 1.2e-38).
_SAFE_LOW, _SAFE_HIGH = 1e-15, 1e18


@dataclass(slots=True)
class Measure:
    """Of one tensor: l2 norm of its finite entries, exact zeros, non-finite entries, size."""

    norm: float
    zeros: int
    nonfinite: int
    elements: int


def l2(tensor: Tensor) -> float:
    """l2 norm of all entries as a float; right from 1e-300 to 1e300, NaN or Inf if one is in it."""
    fast = tensor if tensor.dtype in _FAST else tensor.float()
    norm = float(torch.linalg.vector_norm(fast))
    if _SAFE_LOW < norm < _SAFE_HIGH or tensor.dtype in _WIDE:
        return norm
    return float(torch.linalg.vector_norm(tensor.to(_wide(tensor))))


def l2_each(tensors: Sequence[Tensor]) -> list[float]:
    """:func:`l2` of each of many tensors, in one pass and with one wait for the device."""
    if not tensors:
        return []
    kinds = {(t.dtype, t.device, t.layout) for t in tensors}
    if len(kinds) > 1 or tensors[0].dtype not in _FAST or tensors[0].layout != torch.strided:
        return [l2(tensor) for tensor in tensors]
    norms: list[float] = torch.stack(cast(Any, torch)._foreach_norm(list(tensors))).tolist()
    wide = tensors[0].dtype in _WIDE
    return [
        norm if wide or _SAFE_LOW < norm < _SAFE_HIGH else l2(tensor)
        for norm, tensor in zip(norms, tensors, strict=True)
    ]


def inner(one: Tensor, other: Tensor) -> float:
    """Inner product of all entries of two tensors of one shape, without a copy of their size."""
    if one.dtype == other.dtype and one.dtype in _REAL and one.layout == torch.strided:
        return float(torch.dot(one.reshape(-1), other.reshape(-1)))
    return float(torch.sum(one.to(torch.float64) * other.to(torch.float64)))


_REAL = (torch.float32, torch.float64)
_FAST = (torch.float32, torch.float64, torch.complex64, torch.complex128)
_WIDE = (torch.float64, torch.complex128)


def _wide(tensor: Tensor) -> torch.dtype:
    return torch.complex128 if tensor.is_complex() else torch.float64


def measure(tensor: Tensor) -> Measure:
    """Norm, exact zeros and non-finite entries of a gradient (dense, sparse or empty)."""
    tensor = values_of(tensor)
    elements = tensor.numel()
    if not elements:
        return Measure(0.0, 0, 0, 0)
    zeros = count_zeros(tensor)
    norm = l2(tensor) if zeros < elements else 0.0
    if norm == norm and norm != float("inf"):
        return Measure(norm, zeros, 0, elements)
    finite = torch.isfinite(tensor)
    nonfinite = elements - int(finite.sum())
    return Measure(l2(torch.where(finite, tensor, 0)), zeros, nonfinite, elements)


def count_zeros(tensor: Tensor) -> int:
    """Entries that are exactly zero."""
    plain = type(tensor) is Tensor and tensor.device.type == "cpu"
    if plain and tensor.dtype in (torch.float32, torch.float64) and not tensor.is_neg():
        # Twice as fast as torch.count_nonzero on one core: a compare and a byte count, both SIMD.
        return int(np.count_nonzero(tensor.numpy() == 0))
    return tensor.numel() - int(torch.count_nonzero(tensor))


def values_of(tensor: Tensor) -> Tensor:
    """The dense entries of a tensor; the summed non-zero ones where it is sparse."""
    tensor = tensor.detach()
    if tensor.layout == torch.strided:
        return tensor
    return tensor.coalesce().values() if tensor.layout == torch.sparse_coo else tensor.to_dense()


def rms(tensor: Tensor) -> float:
    """Root mean square of all entries."""
    return l2(tensor) / max(tensor.numel(), 1) ** 0.5


def spread_between_samples(tensor: Tensor) -> float | None:
    """Share of the rms that differs between samples (first dimension): 0 alike, 1 unrelated mean.

    ``rms(x - mean over samples) / rms(x)``; ``None`` for fewer than two samples or an all-zero x.
    """
    if tensor.dim() < 2 or tensor.shape[0] < 2:
        return None
    wide = tensor.detach().to(_wide(tensor))
    total = float(torch.linalg.vector_norm(wide))
    if not 0 < total < float("inf"):
        return None
    return float(torch.linalg.vector_norm(wide - wide.mean(0, keepdim=True))) / total


def norms_along(tensor: Tensor, dim: int) -> tuple[float, ...]:
    """l2 norm of each slice along ``dim``."""
    wide = values_of(tensor).to(torch.float64).movedim(dim, 0)
    return tuple(torch.linalg.vector_norm(wide.flatten(1), dim=1).tolist())


def largest(tensor: Tensor) -> float:
    """Largest magnitude of all entries; NaN if one is NaN."""
    tensor = values_of(tensor)
    if not tensor.numel():
        return 0.0
    if tensor.is_complex():
        return float(tensor.abs().max())
    low, high = torch.aminmax(tensor)
    return max(abs(float(low)), abs(float(high)))


def extremes(tensor: Tensor) -> tuple[float, float] | None:
    """Smallest and largest entry that is not NaN; ``None`` if there is none (or complex)."""
    if tensor.is_complex() or not tensor.numel():
        return None
    known = tensor.detach().to(torch.float64)
    known = known[~known.isnan()]
    if not known.numel():
        return None
    low, high = torch.aminmax(known)
    return float(low), float(high)


def bad_from_here(inputs: list[Tensor], output: Tensor) -> bool:
    """Whether NaN or Inf begins at this op; an infinity written on purpose may become NaN here."""
    known = [t for t in inputs if t.is_floating_point()]
    if all(bool(torch.isfinite(t).all()) for t in known):
        return True
    return bool(output.isnan().any()) and not any(bool(t.isnan().any()) for t in known)


def units_equal(tensor: Tensor) -> bool:
    """Whether all slices along the first, or all along the second dimension, are the same.

    A weight whose rows (or, stored transposed, columns) are equal gives units that compute the
    same. Needs at least two slices; differences within rounding of the tensor's scale count as equal.
    """
    if tensor.dim() < 2 or tensor.numel() == 0:
        return False
    tensor = values_of(tensor)
    return any(_slices_equal(tensor, dim) for dim in (0, 1))


def _slices_equal(tensor: Tensor, dim: int) -> bool:
    if tensor.shape[dim] < 2:
        return False
    first = tensor.narrow(dim, 0, 1)
    # Cheap way out first: most tensors differ in their second slice already.
    if not _close(tensor.narrow(dim, 1, 1), first):
        return False
    return _close(tensor, first.expand_as(tensor))


def _close(left: Tensor, right: Tensor) -> bool:
    scale = float(right.abs().max())
    tolerance = 64 * torch.finfo(right.dtype).eps * scale if right.is_floating_point() else 0.0
    return bool(((left - right).abs() <= tolerance).all())
