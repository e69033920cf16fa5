"""The activations of torch by name, with its default settings: values and slopes in numpy."""

import math
from functools import cache

import numpy as np

from unvanish.theory.activations import Function, Nonlinearity, two_sided
from unvanish.theory.quadrature import Array

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
