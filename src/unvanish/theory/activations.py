"""Mean-field gains of activations: what a layer does to signal and gradient at unit variance.

A layer whose weights keep the forward scale at one multiplies the mean square of the gradient by
E[f'(z)^2] / E[f(z)^2] with z ~ N(0, 1), whatever the width (Poole et al. 2016, arXiv:1606.05340,
eq. 5 and 7, at q = 1 without biases). ReLU: 1. Sigmoid: 0.153, and no scale of the weights mends
that without saturating it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def _erf(x: Array) -> Array:
    return np.array([math.erf(float(value)) for value in x])


def _phi(x: Array) -> Array:
    return (1 + _erf(x / math.sqrt(2))) / 2


def _density(x: Array) -> Array:
    return np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def _sigmoid(x: Array) -> Array:
    return (1 + np.tanh(x / 2)) / 2  # does not overflow


def _inside(x: Array, low: float, high: float) -> Array:
    return ((x > low) & (x < high)).astype(float)


Pair = tuple[Callable[[Array], Array], Callable[[Array], Array]]

_SELU_SCALE, _SELU_ALPHA = 1.0507009873554805, 1.6732632423543772

_PAIRS: dict[str, Pair] = {
    "relu": (lambda x: np.maximum(x, 0), lambda x: (x > 0).astype(float)),
    "leaky_relu": (lambda x: np.where(x > 0, x, 0.01 * x), lambda x: np.where(x > 0, 1.0, 0.01)),
    "tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    "sigmoid": (_sigmoid, lambda x: _sigmoid(x) * (1 - _sigmoid(x))),
    "gelu": (lambda x: x * _phi(x), lambda x: _phi(x) + x * _density(x)),
    "silu": (
        lambda x: x * _sigmoid(x),
        lambda x: _sigmoid(x) * (1 + x * (1 - _sigmoid(x))),
    ),
    "elu": (
        lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
        lambda x: np.where(x > 0, 1.0, np.exp(np.minimum(x, 0))),
    ),
    "selu": (
        lambda x: _SELU_SCALE * np.where(x > 0, x, _SELU_ALPHA * np.expm1(np.minimum(x, 0))),
        lambda x: _SELU_SCALE * np.where(x > 0, 1.0, _SELU_ALPHA * np.exp(np.minimum(x, 0))),
    ),
    "softplus": (lambda x: np.logaddexp(0, x), _sigmoid),
    "hardtanh": (lambda x: np.clip(x, -1, 1), lambda x: _inside(x, -1, 1)),
    "relu6": (lambda x: np.clip(x, 0, 6), lambda x: _inside(x, 0, 6)),
    "softsign": (lambda x: x / (1 + np.abs(x)), lambda x: 1 / (1 + np.abs(x)) ** 2),
    "erf": (_erf, lambda x: 2 / math.sqrt(math.pi) * np.exp(-x * x)),
    "hardsigmoid": (lambda x: np.clip(x / 6 + 0.5, 0, 1), lambda x: _inside(x, -3, 3) / 6),
    "sin": (np.sin, np.cos),
}
for _same, _as in (
    ("prelu", "leaky_relu"),
    ("rrelu", "leaky_relu"),
    ("celu", "elu"),
    ("threshold", "relu"),
):
    _PAIRS[_same] = _PAIRS[_as]


@cache
def moments(activation: str) -> tuple[float, float] | None:
    """``(E[f(z)^2], E[f'(z)^2])`` for z ~ N(0, 1); ``None`` for an activation not listed.

    Fine trapezoidal quadrature on [-10, 10] (the weight outside is below 1e-22), which unlike
    Gauss-Hermite keeps its accuracy at kinks. Both are dimensionless second moments.

    >>> [round(value, 3) for value in moments("relu")]
    [0.5, 0.5]
    """
    pair = _PAIRS.get(activation)
    if pair is None:
        return None
    z = np.linspace(-10, 10, 40_002)  # even count: no point falls on the kink at zero
    weight = _density(z)
    f, slope = pair
    total = float(np.trapezoid(weight, z))
    square = float(np.trapezoid(weight * f(z) ** 2, z)) / total
    slope_square = float(np.trapezoid(weight * slope(z) ** 2, z)) / total
    return square, slope_square


def backward_factor(activation: str) -> float | None:
    """E[f'^2] / E[f^2] at unit variance: the best a layer can do for the mean square gradient.

    >>> round(backward_factor("sigmoid"), 3)
    0.153
    """
    pair = moments(activation)
    return None if pair is None else pair[1] / pair[0]


def critical_weight_decades(activation: str | None) -> float:
    """log10 of the weight gain that keeps the forward scale at one: ``-log10(E[f^2]) / 2``.

    The gain of He initialisation for ReLU (0.15 decades), of Glorot's for a linear net (0).
    """
    pair = moments(activation) if activation is not None else None
    return 0.0 if pair is None else -math.log10(pair[0]) / 2


def mended_by_weights(activation: str | None) -> bool:
    """Whether some weight scale carries the gradient through many layers of this activation.

    True where the backward factor at unit variance is one or more up to 10 % (then ten layers at
    the right scale lose less than half a decade); no activation at all counts as linear.
    """
    factor = backward_factor(activation) if activation is not None else 1.0
    return factor is None or factor >= 0.9


@cache
def _grid(points: int) -> tuple[Array, Array]:
    z = np.linspace(-10, 10, points)  # even counts: no point falls on the kink at zero
    weight = _density(z)
    return z, weight / weight.sum()


def gains_at(activation: str, length: float) -> tuple[float, float] | None:
    """``(E[f(u)^2], E[f'(u)^2])`` for u ~ N(0, length): mean squares of value and slope.

    ``length`` is the variance of a pre-activation over units. ``None``: activation not listed.

    >>> [round(value, 3) for value in gains_at("relu", 4.0)]
    [2.0, 0.5]
    """
    pair = _PAIRS.get(activation)
    if pair is None or not 0 <= length < math.inf:
        return None
    z, weight = _grid(4002)
    u = math.sqrt(length) * z
    return float((weight * pair[0](u) ** 2).sum()), float((weight * pair[1](u) ** 2).sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanField:
    """A wide plain net in the limit of infinite width: Gaussian weights, one activation.

    ``weight`` is the variance of a weight times the fan-in, ``bias`` the variance of a bias. All
    maps and scales as in Poole et al. 2016 (arXiv:1606.05340) and Schoenholz et al. 2017
    (arXiv:1611.01232, section 3); lengths are variances, scales count layers.
    """

    activation: str
    weight: float
    bias: float = 0.0

    def next_length(self, length: float) -> float:
        """Variance of the next pre-activation, from this one's."""
        gains = gains_at(self.activation, length)
        if gains is None:
            raise KeyError(self.activation)
        return self.weight * gains[0] + self.bias

    def fixed_length(self) -> float:
        """The variance that the layers settle at (infinite or zero where they never do)."""
        length = 1.0
        for _ in range(4000):
            following = self.next_length(length)
            if abs(following - length) <= 1e-12 * length or not 1e-300 < following < 1e300:
                return following
            length = following
        return length

    def gradient_factor(self, length: float) -> float:
        """chi_1: what a layer multiplies the mean square of the gradient by."""
        gains = gains_at(self.activation, length)
        if gains is None:
            raise KeyError(self.activation)
        return self.weight * gains[1]

    def next_correlation(self, correlation: float, length: float) -> float:
        """Correlation of two samples after a layer, from that before it, both at this length."""
        value = _pair_mean(_PAIRS[self.activation][0], correlation, length)
        return (self.weight * value + self.bias) / self.next_length(length)

    def correlation_slope(self, correlation: float, length: float) -> float:
        """d(next correlation) / d(correlation); at one it is ``gradient_factor``."""
        return self.weight * _pair_mean(_PAIRS[self.activation][1], correlation, length)

    def fixed_correlation(self) -> float:
        """The correlation that two unlike samples end at: 1 in the ordered phase, less in chaos."""
        length = self.fixed_length()
        if self.gradient_factor(length) <= 1:
            return 1.0
        correlation = 0.5
        for _ in range(400):
            following = self.next_correlation(correlation, length)
            if abs(following - correlation) < 1e-10:
                break
            correlation = following
        return correlation

    def correlation_depth(self) -> float:
        """xi_c: layers over which the distance from the fixed correlation falls by a factor e."""
        length = self.fixed_length()
        correlation = self.fixed_correlation()
        if correlation == 1.0:
            return -1 / math.log(self.gradient_factor(length))
        return -1 / math.log(self.correlation_slope(correlation, length))


def _pair_mean(f: Callable[[Array], Array], correlation: float, length: float) -> float:
    """E[f(u1) f(u2)] for two normal variables of this variance and correlation."""
    z, weight = _grid(402)
    scale = math.sqrt(length)
    first = f(scale * z) * weight
    beside = math.sqrt(max(1 - correlation**2, 0.0))
    mixed = scale * (correlation * z[:, None] + beside * z[None, :])
    return float(first @ f(mixed.ravel()).reshape(mixed.shape) @ weight)
