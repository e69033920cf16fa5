"""How to pass a signal through an activation almost unbent: scale, shift, gain and offset.

Two ways, both folded into the neighbouring weights, so that no module changes:

* *mirrored*: every number u is sent twice, as u and as -u, and read back as f(u) - m f(-u). At
  m = 1 this is u times a constant exactly for ReLU, leaky ReLU, GELU, SiLU, softplus, hardswish
  (their odd part is linear): the net is linear at the start (Balduzzi et al. 2017,
  arXiv:1702.08591, for ReLU). For ELU, SELU, Mish the odd part is bent: a smaller scale unbends it.
  With m below one ReLU acts as a leaky ReLU of slope m, so the bend that a depth and a width can
  bear is kept: a net that starts exactly linear is slow on tasks that are not.
* *shaped*: read back as gain * (f(scale * u + shift) + offset), the four numbers solved from the
  conditions of deep kernel shaping (Martens et al. 2021, arXiv:2110.01765): mean zero, variance
  one, Q'(1) = 1 and C'(1) = 1.5^(1/layers).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unvanish.nn.tailored import tailored_slope
from unvanish.theory.activations import Nonlinearity
from unvanish.theory.quadrature import breaks_at, nodes

TOTAL_SLOPE = 1.5
"""zeta of deep kernel shaping: what the slopes of the correlation map multiply up to."""
EVEN_SHARE = 0.25
"""Energy of the even part over that of the odd part, of ReLU 0.36: the bend there is to learn with."""
FLUCTUATION = 0.1
"""Variance of the log of the squared gradient that bends may cause, over all layers."""
_LARGEST, _SMALLEST = 4.0, 1e-3

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """``u`` of unit variance goes in as ``scale * u + shift`` (``mirrored``: and ``-scale * u``).

    It comes back as ``gain * (f(.) + offset)``, or mirrored as ``gain * (f(u) - mirror * f(-u))``.
    ``slope`` is C'(1) of the two together: 1 where they are linear.
    """

    mirrored: bool
    scale: float
    shift: float
    gain: float
    offset: float
    slope: float
    mirror: float = 1.0


@dataclass(frozen=True, slots=True)
class _Moments:
    mean: float
    variance: float
    correlation_slope: float
    length_slope: float
    even: float = 0.0


def mirrored(activation: Nonlinearity, layers: int, numbers: int) -> Shape | None:
    """The shape that sends each of ``numbers`` numbers twice; ``None`` for an even activation."""
    if activation.sides is not None:
        return _leaking(*activation.sides, tolerable_slope(layers, numbers))

    def at(scale: float) -> _Moments:
        return _moments(activation, scale, 0.0, odd=True)

    if at(1.0).variance < 1e-12:
        return None
    wanted = TOTAL_SLOPE ** (1 / layers)
    scale = _scale(lambda scale: at(scale).correlation_slope, layers)
    found = at(scale)
    while scale >= 1 and found.even < EVEN_SHARE * found.variance and scale < _LARGEST:
        following = at(1.1 * scale)
        if following.correlation_slope > wanted:
            break
        scale, found = 1.1 * scale, following
    gain = 1 / math.sqrt(found.variance)
    slope = found.correlation_slope
    return Shape(mirrored=True, scale=scale, shift=0.0, gain=gain, offset=0.0, slope=slope)


def tolerable_slope(layers: int, numbers: int) -> float:
    """The least slope of a leaky ReLU that a net this deep and this narrow can bear.

    The larger of two: the one at which samples stay apart (``tailored_slope``), and the one at
    which the squared gradient's logarithm varies by no more than FLUCTUATION: with orthogonal
    weights its variance is 3 (kappa - 1) layers / numbers, kappa - 1 = ((1 - a^2) / (1 + a^2))^2
    (`unvanish.theory`, finite width).
    """
    bent = math.sqrt(FLUCTUATION * numbers / (3 * layers))
    narrow = math.sqrt((1 - bent) / (1 + bent)) if bent < 1 else 0.0
    return max(narrow, tailored_slope(layers))


def _leaking(left: float, right: float, wanted: float) -> Shape | None:
    """Slopes (left, right) around zero, mirrored so that the two together have left / right = wanted.

    ``None`` where the activation is no more bent than that by itself, or even.
    """
    if abs(left) > abs(right):
        left, right = right, left
    if left == -right or left / right >= wanted:
        return None
    mirror = (wanted * right - left) / (right - wanted * left)
    sides = right + mirror * left, left + mirror * right
    gain = math.sqrt(2 / (sides[0] ** 2 + sides[1] ** 2))
    return Shape(
        mirrored=True, scale=1.0, shift=0.0, gain=gain, offset=0.0, slope=1.0, mirror=mirror
    )


def shaped(activation: Nonlinearity, layers: int) -> Shape | None:
    """The shape that solves deep kernel shaping's conditions; ``None`` where nothing solves them.

    ReLU and its kin have none: they are bent alike at every scale. An odd activation needs no
    shift; its Q'(1) then lies below one, which only calms the scale.
    """
    wanted = TOTAL_SLOPE ** (1 / layers)
    if activation.sides is not None:
        return None

    def scale_at(shift: float) -> float:
        return _scale(lambda s: _moments(activation, s, shift).correlation_slope, layers)

    def excess(shift: float) -> float:
        return _moments(activation, scale_at(shift), shift).length_slope - 1

    shift = 0.0 if is_odd(activation) else _root_nearest_zero(excess)
    scale = scale_at(shift)
    found = _moments(activation, scale, shift)
    if found.variance < 1e-12 or abs(found.correlation_slope - wanted) > 0.1:
        return None
    gain = 1 / math.sqrt(found.variance)
    slope = found.correlation_slope
    return Shape(
        mirrored=False, scale=scale, shift=shift, gain=gain, offset=-found.mean, slope=slope
    )


def is_odd(activation: Nonlinearity) -> bool:
    """Whether f - f(0) is odd (tanh, sigmoid): mirrored, such a function says nothing new."""
    points = np.linspace(0.05, 5, 40)
    middle = activation.value(np.zeros(1))
    value, mirror = activation.value(points) - middle, activation.value(-points) - middle
    return bool(np.allclose(value, -mirror, atol=1e-9 + 1e-7 * float(np.abs(value).max())))


def _moments(activation: Nonlinearity, scale: float, shift: float, odd: bool = False) -> _Moments:
    kinks = tuple(kink - shift for kink in activation.kinks)
    if odd:
        kinks = (*kinks, *(-kink for kink in kinks))
    z, weight = nodes(breaks_at(kinks, scale))
    value, slope = activation.value(scale * z + shift), activation.slope(scale * z + shift)
    even = 0.0
    if odd:
        mirror = activation.value(-scale * z)
        both = value + mirror - float((weight * (value + mirror)).sum())
        even = float((weight * both * both).sum())
        value, slope = value - mirror, slope + activation.slope(-scale * z)
    mean = float((weight * value).sum())
    rest = value - mean
    variance = float((weight * rest * rest).sum())
    if not variance > 0:
        return _Moments(mean, 0.0, math.inf, math.inf)
    correlation = scale**2 * float((weight * slope * slope).sum()) / variance
    length = scale * float((weight * rest * slope * z).sum()) / variance
    return _Moments(mean, variance, correlation, length, even)


def _scale(slope: Callable[[float], float], layers: int) -> float:
    """The largest scale up to one at which C'(1) is no more than each layer's share."""
    wanted = TOTAL_SLOPE ** (1 / layers)
    if slope(1.0) <= wanted:
        return 1.0
    low, high = _SMALLEST, 1.0
    for _ in range(30):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if slope(middle) <= wanted else (low, middle)
    return low


def _root_nearest_zero(excess: Callable[[float], float]) -> float:
    """The shift nearest to zero where ``excess`` changes sign; of none, where it is smallest."""
    grid = sorted(np.linspace(-_LARGEST, _LARGEST, 33).tolist())
    values = [excess(shift) for shift in grid]
    crossings = [
        (low, high, at)
        for low, high, at, following in zip(grid, grid[1:], values, values[1:], strict=False)
        if math.isfinite(at) and math.isfinite(following) and at * following <= 0
    ]
    if not crossings:
        return min(zip(values, grid, strict=True), key=lambda pair: abs(pair[0]))[1]
    low, high, at = min(crossings, key=lambda found: abs(found[0] + found[1]))
    for _ in range(25):
        middle = (low + high) / 2
        if excess(middle) * at > 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2
