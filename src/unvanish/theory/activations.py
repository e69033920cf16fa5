"""An activation as numbers: its value and its slope, by name or from any callable.

Names are those of torch, in any spelling (``"relu"``, ``"ReLU"``, ``"leaky_relu"``). Everything
else is evaluated in float64 (:mod:`unvanish.theory.callables`).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from unvanish.errors import BadInput
from unvanish.theory.quadrature import Array, mean, pair_mean

Function = Callable[[Array], Array]


@dataclass(frozen=True, slots=True, kw_only=True)
class Nonlinearity:
    """A function of one number that acts on every unit alone.

    ``value`` and ``slope`` take and give float64 arrays of one dimension. ``kinks`` are the places
    where the slope jumps; ``sides`` its two values, left and right of zero, where it has no others
    (ReLU: 0 and 1): then every mean has a closed form, the arc-cosine kernels (Cho and Saul 2009).
    """

    name: str
    value: Function
    slope: Function
    kinks: tuple[float, ...] = ()
    sides: tuple[float, float] | None = None

    def square(self, length: float) -> float:
        """E[f(u)^2] for u ~ N(0, length)."""
        if self.sides is not None:
            return length * (self.sides[0] ** 2 + self.sides[1] ** 2) / 2
        if self.name == "erf":
            return 2 / math.pi * math.asin(2 * length / (1 + 2 * length))
        return mean(lambda u: self.value(u) ** 2, length, self.kinks)

    def slope_square(self, length: float) -> float:
        """E[f'(u)^2]."""
        if self.sides is not None:
            return (self.sides[0] ** 2 + self.sides[1] ** 2) / 2
        if self.name == "erf":
            return 4 / math.pi / math.sqrt(1 + 4 * length)
        return mean(lambda u: self.slope(u) ** 2, length, self.kinks)

    def slope_fourth(self, length: float) -> float:
        """E[f'(u)^4]."""
        if self.sides is not None:
            return (self.sides[0] ** 4 + self.sides[1] ** 4) / 2
        return mean(lambda u: self.slope(u) ** 4, length, self.kinks)

    def average(self, length: float) -> float:
        """E[f(u)]."""
        if self.sides is not None:
            return (self.sides[1] - self.sides[0]) * math.sqrt(length / (2 * math.pi))
        return mean(self.value, length, self.kinks)

    def product(self, length: float, correlation: float) -> float:
        """E[f(u1) f(u2)] at this variance and correlation."""
        c = min(max(correlation, -1.0), 1.0)
        if self.sides is not None:
            even, odd = _parts(self.sides)
            folded = 2 / math.pi * (math.sqrt(1 - c * c) + c * math.asin(c))
            return length * (odd**2 * c + even**2 * folded)
        if self.name == "erf":
            return 2 / math.pi * math.asin(2 * length * c / (1 + 2 * length))
        return pair_mean(self.value, length, c, self.kinks)

    def slope_product(self, length: float, correlation: float) -> float:
        """E[f'(u1) f'(u2)]."""
        c = min(max(correlation, -1.0), 1.0)
        if self.sides is not None:
            even, odd = _parts(self.sides)
            return odd**2 + even**2 * 2 / math.pi * math.asin(c)
        if self.name == "erf":
            return 4 / math.pi / math.sqrt((1 + 2 * length) ** 2 - (2 * length * c) ** 2)
        return pair_mean(self.slope, length, c, self.kinks)


def _parts(sides: tuple[float, float]) -> tuple[float, float]:
    """The weights of |u| and of u in a function with these two slopes."""
    return (sides[1] - sides[0]) / 2, (sides[1] + sides[0]) / 2


_SQRT_PI = math.sqrt(math.pi)
_ERF_STEP = 1 / 64


@cache
def _erf_table() -> Array:
    return np.array([math.erf(step * _ERF_STEP) for step in range(-384, 385)])


def _erf(x: Array) -> Array:
    """The error function: Taylor's series around the nearest of 769 tabled places, to 1e-16."""
    near = np.clip(np.rint(x / _ERF_STEP), -384, 384)
    a = near * _ERF_STEP
    step = np.clip(x - a, -_ERF_STEP, _ERF_STEP)  # beyond six it is one to the last digit
    lower, hermite = np.zeros_like(a), np.ones_like(a)
    total, power = np.zeros_like(a), step
    for order in range(7):
        total = total + hermite * power
        lower, hermite = hermite, 2 * a * hermite - 2 * order * lower
        power = -power * step / (order + 2)
    return _erf_table()[near.astype(int) + 384] + 2 / _SQRT_PI * np.exp(-a * a) * total


def _phi(x: Array) -> Array:
    return (1 + _erf(x / math.sqrt(2))) / 2


def _density(x: Array) -> Array:
    return np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def _sigmoid(x: Array) -> Array:
    return (1 + np.tanh(x / 2)) / 2  # does not overflow


def _softplus(x: Array) -> Array:
    return np.logaddexp(0, x)


def _between(x: Array, low: float, high: float) -> Array:
    return ((x > low) & (x < high)).astype(float)


def _mish_slope(x: Array) -> Array:
    inner = np.tanh(_softplus(x))
    return inner + x * (1 - inner**2) * _sigmoid(x)


def _exponential(scale: float, alpha: float) -> tuple[Function, Function]:
    def value(x: Array) -> Array:
        return scale * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))

    def slope(x: Array) -> Array:
        return scale * np.where(x > 0, 1.0, alpha * np.exp(np.minimum(x, 0)))

    return value, slope


def two_sided(name: str, left: float, right: float) -> Nonlinearity:
    """The function with slope ``left`` below zero and ``right`` above it."""
    return Nonlinearity(
        name=name,
        value=lambda x: np.where(x > 0, right * x, left * x),
        slope=lambda x: np.where(x > 0, right, left),
        kinks=() if left == right else (0.0,),
        sides=(left, right),
    )


LINEAR = two_sided("linear", 1.0, 1.0)

_SMOOTH: dict[str, tuple[Function, Function]] = {
    "tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    "sigmoid": (_sigmoid, lambda x: _sigmoid(x) * (1 - _sigmoid(x))),
    "gelu": (lambda x: x * _phi(x), lambda x: _phi(x) + x * _density(x)),
    "silu": (lambda x: x * _sigmoid(x), lambda x: _sigmoid(x) * (1 + x * (1 - _sigmoid(x)))),
    "mish": (lambda x: x * np.tanh(_softplus(x)), _mish_slope),
    "elu": _exponential(1.0, 1.0),
    "softplus": (_softplus, _sigmoid),
    "logsigmoid": (lambda x: -_softplus(-x), lambda x: _sigmoid(-x)),
    "tanhshrink": (lambda x: x - np.tanh(x), lambda x: np.tanh(x) ** 2),
    "softsign": (lambda x: x / (1 + np.abs(x)), lambda x: 1 / (1 + np.abs(x)) ** 2),
    "erf": (_erf, lambda x: 2 / _SQRT_PI * np.exp(-x * x)),
    "sin": (np.sin, np.cos),
}
_KINKED: dict[str, tuple[Function, Function, tuple[float, ...]]] = {
    "selu": (*_exponential(1.0507009873554805, 1.6732632423543772), (0.0,)),
    "hardtanh": (lambda x: np.clip(x, -1, 1), lambda x: _between(x, -1, 1), (-1.0, 1.0)),
    "relu6": (lambda x: np.clip(x, 0, 6), lambda x: _between(x, 0, 6), (0.0, 6.0)),
    "hardsigmoid": (
        lambda x: np.clip(x / 6 + 0.5, 0, 1),
        lambda x: _between(x, -3, 3) / 6,
        (-3.0, 3.0),
    ),
    "hardswish": (
        lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
        lambda x: np.where(x > 3, 1.0, _between(x, -3, 3) * (x / 3 + 0.5)),
        (-3.0, 3.0),
    ),
    "softshrink": (
        lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.5, 0),
        lambda x: (np.abs(x) > 0.5).astype(float),
        (-0.5, 0.5),
    ),
}
_SIDES = {"linear": (1.0, 1.0), "relu": (0.0, 1.0), "leakyrelu": (0.01, 1.0), "abs": (-1.0, 1.0)}
_SAME = {
    "identity": "linear",
    "prelu": "leakyrelu",
    "rrelu": "leakyrelu",
    "celu": "elu",
    "threshold": "relu",
    "swish": "silu",
}
NAMES = tuple(sorted((*_SMOOTH, *_KINKED, *_SIDES, *_SAME)))


@cache
def named(name: str) -> Nonlinearity | None:
    """The activation of this name with torch's default settings; ``None`` for one not listed.

    >>> named("ReLU").square(4.0)
    2.0
    """
    plain = name.lower().replace("_", "")
    plain = _SAME.get(plain, plain)
    if plain in _SIDES:
        return two_sided(plain, *_SIDES[plain])
    if plain in _SMOOTH:
        value, slope = _SMOOTH[plain]
        return Nonlinearity(name=plain, value=value, slope=slope)
    if plain in _KINKED:
        value, slope, kinks = _KINKED[plain]
        return Nonlinearity(name=plain, value=value, slope=slope, kinks=kinks)
    return None


def nonlinearity(activation: Any) -> Nonlinearity:
    """The activation as a :class:`Nonlinearity`: by name, from a callable, ``None`` for linear.

    Args:
        activation: a name, ``None``, a :class:`Nonlinearity`, or a callable of one tensor or array
            that acts on every element alone: ``torch.tanh``, ``nn.PReLU()``, ``lambda x: ...``.

    Raises:
        BadInput: an unknown name, nothing callable, not elementwise, or without a finite second
            moment of value and slope.

    >>> import torch
    >>> leaky = nonlinearity(torch.nn.LeakyReLU(0.5))
    >>> round(leaky.sides[0], 6), leaky.sides[1], leaky.slope_square(1.0)
    (0.5, 1.0, 0.625)
    """
    if activation is None:
        return LINEAR
    if isinstance(activation, Nonlinearity):
        return activation
    if isinstance(activation, str):
        found = named(activation)
        if found is None:
            raise BadInput(
                f"activation {activation!r} is not known: pass the function itself, or one of "
                f"{', '.join(NAMES)}."
            )
        return found
    if not callable(activation):
        raise BadInput(
            f"activation is {type(activation).__name__}, not callable: pass a function of one "
            "tensor, a module, or a name such as 'tanh'."
        )
    from unvanish.theory.callables import measured  # torch is loaded here, not before

    return measured(activation)
