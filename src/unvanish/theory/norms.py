"""Plain nets whose layers are normalised: what is left for the gradient to do.

A norm fixes the forward scale, whatever the weights; the gradient then changes by a factor that
belongs to the activation alone. Batch norm before a nonlinear activation makes it explode, at a
rate that no choice of weights mends (Yang et al. 2019, arXiv:1902.08129).
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from unvanish.errors import BadInput
from unvanish.theory.activations import Nonlinearity, nonlinearity
from unvanish.theory.quadrature import Array, nodes

_LARGE = 1e5  # samples: from here on the difference to endlessly many is below 1e-4


def batch_norm_factor(activation: Any, batch: float = math.inf) -> float:
    """Factor of the mean square gradient per layer ``linear, batch norm, activation``.

    E[f'(z)^2] / Var f(z) for large batches: pi / (pi - 1) for ReLU. For B samples, of wide layers
    that have settled, z lies on the sphere of B - 1 directions; linear: (B - 2) / (B - 3).

    >>> round(batch_norm_factor("relu"), 4), round(batch_norm_factor(None, batch=6), 6)
    (1.4669, 1.333333)
    """
    known = nonlinearity(activation)
    if not batch >= 4:
        raise BadInput(
            f"batch={batch}: with three samples or fewer the gradient through batch norm has no "
            "finite mean square; pass four or more."
        )
    if known.slope_square(1.0) == 0:
        raise BadInput(f"{known.name} is flat: batch norm has nothing to bring to variance one.")
    if batch < _LARGE:
        return _in_batch(known, batch)
    return known.slope_square(1.0) / (known.square(1.0) - known.average(1.0) ** 2)


def _in_batch(known: Nonlinearity, batch: float) -> float:
    """The factor for so many samples.

    A unit's outputs u before the norm are normal, with one variance for all samples; so 1/|u|^2
    (mean 1 / (B - 3)) and the direction z are independent. The norm takes out of the gradient its
    mean and its part along z; what comes from above has no mean, its entries correlate by
    -1 / (B - 1).
    """
    slope, value = known.slope, known.value
    square = _single(lambda z: slope(z) ** 2, known, batch)
    variance = _single(lambda z: value(z) ** 2, known, batch) - _pair(value, known, batch)
    mean = square - _pair(slope, known, batch)
    along = _single(lambda z: (z * slope(z)) ** 2, known, batch)
    along -= _pair(lambda z: z * slope(z), known, batch)
    return batch / (batch - 3) * (square - (mean + along) / batch) / variance


def _sphere(known: Nonlinearity, batch: float) -> tuple[Array, Array]:
    """Places and weights of one coordinate of a point on the sphere of batch - 1 directions."""
    radius = math.sqrt(batch - 1)
    z, weights = nodes(tuple(sorted({0.0, *known.kinks, -radius, radius})))
    inside = np.abs(z) < radius
    z, weights = z[inside], weights[inside]
    weights = weights * np.exp(z * z / 2 + (batch - 4) / 2 * np.log1p(-((z / radius) ** 2)))
    return z, weights / weights.sum()


def _single(function: Callable[[Array], Array], known: Nonlinearity, batch: float) -> float:
    z, weights = _sphere(known, batch)
    return float((weights * function(z)).sum())


def _pair(function: Callable[[Array], Array], known: Nonlinearity, batch: float) -> float:
    """E[f(z_1) f(z_2)] for two samples of one unit: correlated by -1 / (batch - 1)."""
    z, weights = _sphere(known, batch)
    correlation = -1 / (batch - 1)
    angle, even = np.polynomial.legendre.leggauss(300)
    angle = angle * min(math.pi / 2, 12 / math.sqrt(batch))  # the weight lies around zero
    beside = even * np.cos(angle) ** (batch - 4)
    rest = np.sqrt((1 - correlation**2) * (batch - 1 - z * z))
    second = correlation * z[:, None] + rest[:, None] * np.sin(angle)[None, :]
    inner = function(second.ravel()).reshape(second.shape) @ (beside / beside.sum())
    return float((weights * function(z) * inner).sum())


def layer_norm_factor(activation: Any, after: bool = False) -> float:
    """Factor of the mean square gradient per layer with LayerNorm over many units.

    Before the activation (the usual place) E[f'^2] / E[f^2]: weights cannot change it.
    ``after=True``: the norm stands behind the activation and takes its mean out,
    E[f'^2] / Var f.

    >>> round(layer_norm_factor("tanh"), 3)
    1.178
    """
    known = nonlinearity(activation)
    mean = known.average(1.0) if after else 0.0
    return known.slope_square(1.0) / (known.square(1.0) - mean**2)


def rms_norm_factor(activation: Any) -> float:
    """Factor of the mean square gradient per layer with RMSNorm, before or after the activation.

    E[f'^2] / E[f^2]: it takes no mean out.

    >>> rms_norm_factor("relu")
    1.0
    """
    return layer_norm_factor(activation)
