"""An activation as numbers: its value and its slope, by name or from any callable.

Names are those of torch, in any spelling (``"relu"``, ``"ReLU"``, ``"leaky_relu"``). Everything
else is evaluated in float64 (:mod:`unvanish.theory.callables`).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
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
        from unvanish.theory.named import NAMES, named  # it is made of this module's records

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
