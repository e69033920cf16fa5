"""Mean and covariance of the samples, and of the gradient, through given weight matrices.

Mean-field theory replaces a matrix by its size; this keeps the matrix, and so knows what infinite
width averages away: that this draw is larger than its mean, that samples have become alike, that
a unit is always on. Two assumptions remain: pre-activations are normal over the samples, and the
gradient does not know which samples opened a gate (Poole et al. 2016; Yang et al. 2019).

Under batch norm the number of samples counts: few of them span few directions, so that some units
vary little and are blown up (for linear layers (B - 2) / (B - 3) in all, Yang et al. 2019).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from unvanish.theory.chain import Stage
from unvanish.theory.quadrature import Array

ORDERS = 8  # Hermite orders of a product of two units; the rest goes to the diagonal
Boundary = Callable[[Array, Array], Array]


@dataclass(frozen=True, slots=True)
class _Passed:
    """What the backward sweep needs of a stage: its norm's scales, and E[f'(u_i) f'(u_j)].

    ``scale`` holds the share of the gradient, too, that a norm takes out of each unit.
    """

    scale: Array | None
    slopes: Array


def propagate(
    stages: Sequence[Stage],
    mean: Array,
    covariance: Array,
    boundary: Boundary | None = None,
    samples: int | None = None,
) -> tuple[float, ...]:
    """log10 of the gradient norm at each stage's input over that at its output, input first.

    Args:
        stages: the layers, the one at the input first.
        mean: of the input features over the samples, shape (inputs,).
        covariance: the same, shape (inputs, inputs).
        boundary: from mean and covariance of the output to the second moment of the gradient
            there, shape (outputs, outputs); only its shape matters, not its size. Default: the
            same in all directions.
        samples: how many there are; without batch norm, or where not given, endlessly many.

    >>> import numpy as np
    >>> stage = Stage(weight=np.diag([1.0, 0.1]), bias=np.zeros(2))
    >>> [round(value, 4) for value in propagate([stage], np.zeros(2), np.eye(2))]
    [-0.1484]
    """
    passed: list[_Passed] = []
    normed = samples is not None and any(stage.scale is not None for stage in stages)
    few = _Samples(samples) if normed and samples is not None else None
    for stage in stages:
        mean, covariance, kept = _forward(stage, mean, covariance, few)
        passed.append(kept)
    second = np.eye(len(mean)) if boundary is None else boundary(mean, covariance)
    found: list[float] = []
    for stage, kept in zip(reversed(stages), reversed(passed), strict=True):
        second = second / max(float(np.trace(second)), 1e-300)  # sizes are in the decades
        second = second * kept.slopes
        if kept.scale is not None:
            second = second * np.outer(kept.scale, kept.scale)
        second = stage.weight.T @ second @ stage.weight
        size = float(np.trace(second))
        found.append(math.log10(size) / 2 if size > 0 else -math.inf)
    return tuple(reversed(found))


class _Samples:
    """Covariances as so many samples show them: they span no more directions than that."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.draw = np.random.default_rng(0)  # a prediction is the same each time

    def seen(self, linear: Array, rest: Array) -> Array:
        """``linear`` is known for these samples; the rest is new in each, and is drawn.

        Both are shares of one covariance of shape (units, units).
        """
        directions = min(self.count - 1, len(linear))
        values, vectors = np.linalg.eigh(linear)
        root = np.zeros((len(linear), self.count - 1))
        kept = vectors[:, -directions:] * np.sqrt(np.maximum(values[-directions:], 0.0))
        root[:, :directions] = kept
        values, vectors = np.linalg.eigh(rest)
        noise = self.draw.standard_normal(root.shape) / math.sqrt(self.count)
        root += (vectors * np.sqrt(np.maximum(values, 0.0))) @ noise
        return root @ root.T


def _forward(
    stage: Stage, mean: Array, covariance: Array, few: _Samples | None
) -> tuple[Array, Array, _Passed]:
    mean = stage.weight @ mean + stage.bias
    covariance = stage.weight @ covariance @ stage.weight.T
    scale = None
    if stage.scale is not None and stage.offset is not None:
        scale = stage.scale / np.sqrt(np.diag(covariance) + stage.epsilon)
        mean, covariance = stage.offset, covariance * np.outer(scale, scale)
    deviation = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    safe = np.where(deviation > 0, deviation, 1.0)
    correlation = np.clip(covariance / np.outer(safe, safe), -1, 1)
    values, square = _expanded(stage.activation.value, mean, deviation)
    rates, rate_square = _expanded(stage.activation.slope, mean, deviation)
    slopes = _products(rates, correlation) + np.outer(rates[:, 0], rates[:, 0])
    np.fill_diagonal(slopes, rate_square)
    if scale is not None and few is not None:
        scale = scale * _left_by_norm(stage, mean, deviation, rates, rate_square, few.count)
    whole = _products(values, correlation)
    np.fill_diagonal(whole, np.maximum(square - values[:, 0] ** 2, 0.0))
    if few is not None:
        linear = np.outer(values[:, 1], values[:, 1]) * correlation
        whole = few.seen(linear, whole - linear)
    return values[:, 0], whole, _Passed(scale, slopes)


def _left_by_norm(
    stage: Stage, mean: Array, deviation: Array, rates: Array, rate_square: Array, count: int
) -> Array:
    """What batch norm leaves of a unit's gradient: it takes out its mean, and its part along u.

    Of the energy 1/B each for a gradient as irregular as its gates; none of the mean where the
    slope is constant, as the layer above has taken it out already.
    """
    z, weights, _ = _basis()
    places = mean[:, None] + deviation[:, None] * z[None, :]
    slope = stage.activation.slope(places.ravel()).reshape(places.shape)
    along = ((z * slope) ** 2) @ weights - rates[:, 1] ** 2
    flat = rate_square - rates[:, 0] ** 2
    lost = (along + flat) / np.maximum(rate_square, 1e-300) / count
    return np.sqrt(np.clip(1 - lost, 0.0, 1.0))


@cache
def _basis() -> tuple[Array, Array, Array]:
    """Points, weights, and the weighted normalised Hermite polynomials at the points."""
    z = np.linspace(-6.5, 6.5, 130)  # even: no point at zero; units lie everywhere against kinks
    weights = np.exp(-z * z / 2)
    weights /= weights.sum()
    rows = [np.ones_like(z), z]
    for order in range(1, ORDERS):
        rows.append((z * rows[order] - math.sqrt(order) * rows[order - 1]) / math.sqrt(order + 1))
    return z, weights, np.stack(rows) * weights


def _expanded(
    function: Callable[[Array], Array], mean: Array, deviation: Array
) -> tuple[Array, Array]:
    """Hermite coefficients of f(mean + deviation z) for every unit, and E[f^2]."""
    z, weights, basis = _basis()
    places = mean[:, None] + deviation[:, None] * z[None, :]
    values = function(places.ravel()).reshape(places.shape)
    return values @ basis.T, (values**2) @ weights


def _products(coefficients: Array, correlation: Array) -> Array:
    """Covariance of f(u_i) and f(u_j): Mehler's series in the correlation of u_i and u_j."""
    total, power = np.zeros_like(correlation), np.ones_like(correlation)
    for order in range(1, ORDERS + 1):
        power = power * correlation
        total += np.outer(coefficients[:, order], coefficients[:, order]) * power
    return total
