"""The edge of chaos: weights at which a layer neither shrinks nor grows the gradient.

Along it chi_1 = 1 at the fixed length. Every point of the line has a length q, and follows from it:
weight = 1 / E[f'(u)^2], bias = q - E[f(u)^2] / E[f'(u)^2] with u ~ N(0, q).
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from unvanish.errors import BadInput
from unvanish.theory.activations import Nonlinearity, nonlinearity
from unvanish.theory.depths import within
from unvanish.theory.mean_field import MeanField

_READABLE = 1e-30
"""Mean squares below are what the quadrature cuts off, beyond twelve deviations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CriticalPoint:
    """A point of the critical line: ``weight`` sigma_w^2, ``bias`` sigma_b^2, ``length`` q*.

    ``stable`` says whether layers come back to this length after a disturbance.
    """

    weight: float
    bias: float
    length: float
    stable: bool


def critical_point(activation: Any, bias: float = 0.0) -> CriticalPoint:
    """The weight variance (times fan-in) that makes the net critical at this bias variance.

    Of several, a stable one, the smallest length first.

    Raises:
        BadInput: a negative bias variance, or no critical point exists for it.

    >>> round(critical_point("tanh", 0.05).weight, 4)
    1.761
    """
    known = nonlinearity(activation)
    if not within(bias, 0):
        raise BadInput(f"bias={bias} is no variance: pass sigma_b squared, zero or more.")
    if known.sides is not None:
        if bias:
            raise _none(known, bias)
        return CriticalPoint(weight=1 / known.slope_square(1.0), bias=0.0, length=1.0, stable=True)
    at_zero = float(known.slope(np.zeros(1))[0])
    if bias == 0 and float(known.value(np.zeros(1))[0]) == 0 and at_zero and 0.0 not in known.kinks:
        return CriticalPoint(weight=at_zero**-2, bias=0.0, length=0.0, stable=True)
    found = [_point(known, length, bias) for length in _lengths(known, bias)]
    if not found:
        raise _none(known, bias)
    return next((point for point in found if point.stable), found[0])


def critical_weight(activation: Any, bias: float = 0.0) -> float:
    """sigma_w^2 on the critical line at this sigma_b^2.

    >>> critical_weight("relu")
    2.0
    """
    return critical_point(activation, bias).weight


def _none(known: Nonlinearity, bias: float) -> BadInput:
    return BadInput(
        f"{known.name} has no critical weights at bias variance {bias}: no length is both kept by "
        "a layer and passed back unchanged; pass another bias variance (0 for ReLU and its kin), or "
        "another activation."
    )


def _bias_at(known: Nonlinearity, length: float) -> float:
    slope = known.slope_square(length)
    return length - known.square(length) / slope if slope > _READABLE else math.nan


def _lengths(known: Nonlinearity, bias: float) -> list[float]:
    """All lengths of the critical line at this bias, from the smallest."""
    grid = [10.0 ** (step / 8) for step in range(-64, 33)]
    excess = [_bias_at(known, length) - bias for length in grid]
    found: list[float] = []
    for i in range(len(grid) - 1):
        if not excess[i] * excess[i + 1] <= 0:  # nor where one of them could not be read
            continue
        low, high = grid[i], grid[i + 1]
        for _ in range(60):
            middle = math.sqrt(low * high)
            if (_bias_at(known, middle) - bias) * excess[i] > 0:
                low = middle
            else:
                high = middle
        found.append(math.sqrt(low * high))
    return found


def _point(known: Nonlinearity, length: float, bias: float) -> CriticalPoint:
    weight = 1 / known.slope_square(length)
    slope = MeanField(activation=known, weight=weight, bias=bias).length_slope(length)
    return CriticalPoint(weight=weight, bias=bias, length=length, stable=abs(slope) <= 1 + 1e-9)
