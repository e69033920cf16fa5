"""What one layer of an activation does to signal and gradient, as single numbers.

A layer whose weights keep the forward scale at one multiplies the mean square of the gradient by
E[f'(z)^2] / E[f(z)^2] with z ~ N(0, 1), whatever the width (Poole et al. 2016, arXiv:1606.05340,
eq. 5 and 7, at q = 1 without biases). ReLU: 1. Sigmoid: 0.153, and no scale of the weights mends
that without saturating it.
"""

import math
from functools import lru_cache
from typing import Any

from unvanish.errors import BadInput
from unvanish.theory.activations import Nonlinearity, nonlinearity
from unvanish.theory.depths import within
from unvanish.theory.named import named


def _known(activation: Any) -> Nonlinearity | None:
    return named(activation) if isinstance(activation, str) else nonlinearity(activation)


@lru_cache(maxsize=64)
def _unit_moments(activation: Nonlinearity) -> tuple[float, float]:
    return activation.square(1.0), activation.slope_square(1.0)


def moments(activation: Any) -> tuple[float, float] | None:
    """``(E[f(z)^2], E[f'(z)^2])`` for z ~ N(0, 1); ``None`` for a name that is not listed.

    Both are dimensionless second moments.

    >>> [round(value, 3) for value in moments("relu")]
    [0.5, 0.5]
    """
    known = _known(activation)
    return None if known is None else _unit_moments(known)


def gains_at(activation: Any, length: float) -> tuple[float, float] | None:
    """``(E[f(u)^2], E[f'(u)^2])`` for u ~ N(0, length): mean squares of value and slope.

    ``length`` is the variance of a pre-activation over units. ``None``: a name not listed.

    >>> [round(value, 3) for value in gains_at("relu", 4.0)]
    [2.0, 0.5]
    """
    known = _known(activation)
    if known is None or not 0 <= length < math.inf:
        return None
    return known.square(length), known.slope_square(length)


def gain(activation: Any, length: float = 1.0) -> float:
    """Standard deviation of weights, times the square root of fan-in, that keeps the scale.

    ``sqrt(length / E[f(u)^2])`` for u ~ N(0, length): He's sqrt(2) for ReLU (He et al. 2015,
    arXiv:1502.01852, eq. 10), 1 for a linear layer.

    Raises:
        BadInput: ``length`` is no variance, or the activation is zero there.

    >>> round(gain("relu"), 4), round(gain("tanh"), 4)
    (1.4142, 1.5925)
    """
    if not within(length, 0) or not length:
        raise BadInput(f"length={length} is no variance to keep: pass more than zero, and finite.")
    known = nonlinearity(activation)
    square = known.square(length)
    if not square:
        raise BadInput(
            f"activation {known.name} is zero at length {length}: no weights keep its scale."
        )
    return math.sqrt(length / square)


def backward_factor(activation: Any) -> float | None:
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
