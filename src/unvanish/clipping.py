"""Limits on gradients, as formulas: norms of units and of everything, and the limits themselves.

Where they are used: by the controls of a treated training loop (``surgery.controls``) and by the
policies that guard a running one (``guard``).
"""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

SMALLEST_WEIGHT_NORM = 1e-3
"""AGC's eps: weights below this norm count as this large (Brock et al. 2021)."""


def unit_norms(tensor: Tensor) -> Tensor:
    """Norm of what leads to each output, shaped to multiply; of a vector or a scalar, of all of it.

    In single precision at least: squares of half-precision entries would overflow.
    """
    wide = _wide(tensor)
    if tensor.dim() < 2:
        return torch.linalg.vector_norm(tensor, dtype=wide)
    rest = tuple(range(1, tensor.dim()))
    return torch.linalg.vector_norm(tensor, dim=rest, keepdim=True, dtype=wide)


def unit_factors(gradient: Tensor, weight: Tensor, share: float) -> Tensor:
    """What to multiply each unit's gradient by, given the norms of gradient and weight.

    Brock et al. 2021 (arXiv:2102.06171), equation 3: a unit's gradient longer than ``share`` of its
    weights (at least 1e-3) is brought down to that. A norm that is not finite is left alone: there
    is nothing to bring down.
    """
    most = weight.clamp(min=SMALLEST_WEIGHT_NORM) * share
    return torch.where((gradient > most) & torch.isfinite(gradient), most / gradient, 1.0)


def l2_norm(tensor: Tensor) -> Tensor:
    """The l2 norm of all entries of a dense tensor, in single precision at least."""
    return torch.linalg.vector_norm(tensor, dtype=_wide(tensor))


def whole_norm(gradients: Iterable[Tensor]) -> float:
    """The l2 norm of all gradients together; sparse ones count with their entries summed up."""
    by_device: dict[torch.device, list[Tensor]] = {}
    for gradient in gradients:
        values = gradient.coalesce().values() if gradient.is_sparse else gradient
        norm = l2_norm(values)
        by_device.setdefault(norm.device, []).append(norm.double() if _doubles(norm) else norm)
    # One transfer a device, not one a tensor: each would wait for the device.
    found = [x for norms in by_device.values() for x in torch.stack(norms).tolist()]
    return math.hypot(*found)


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The percentile of values in rising order, between two of them in proportion.

    >>> percentile([1.0, 2.0, 3.0, 5.0], 50)
    2.5
    """
    place = (len(ordered) - 1) * percent / 100
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def _wide(tensor: Tensor) -> torch.dtype | None:
    return None if tensor.is_complex() else torch.promote_types(tensor.dtype, torch.float32)


def _doubles(tensor: Tensor) -> bool:
    return tensor.device.type != "mps"  # which has no double precision
