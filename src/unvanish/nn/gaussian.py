"""What an activation does to a standard normal input, by quadrature in float64.

With z ~ N(0, 1) and ``u = a z + b``: the means, mean squares and mean squared slopes that the maps
of Poole et al. 2016 (arXiv:1606.05340) are made of, for any callable that torch can differentiate.
The trapezoidal rule on [-12, 12] converges faster than any power of the step for smooth functions;
kinks get a finer grid.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unvanish.errors import BadInput

Activation = Callable[[Tensor], Tensor]

_REACH = 12.0  # the weight outside is below 1e-31
_COARSE, _FINE = 2_002, 20_002  # even counts: no point falls on a kink at zero


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """Expectations over z ~ N(0, 1) of f(u), u = scale * z + shift; derivatives are by u.

    ``mean`` is E f, ``variance`` Var f, ``slope_square`` E f'^2, ``bend_square`` E f''^2,
    ``pull`` E f f' z and ``slope_pull`` E f' z (both enter the slope of the length map).
    """

    mean: float
    variance: float
    slope_square: float
    bend_square: float
    pull: float
    slope_pull: float


def nodes(count: int) -> tuple[Tensor, Tensor]:
    """Points and weights with ``(weight * f(point)).sum()`` about E f(z); float64, on the CPU."""
    with torch.device("cpu"):
        z = torch.linspace(-_REACH, _REACH, count, dtype=torch.float64)
        weight = torch.exp(-z * z / 2)
    return z, weight / weight.sum()


def read(
    function: Activation, scale: float, shift: float, *, bent: bool = False, fine: bool = False
) -> Readings:
    """The expectations at one scale and shift; ``bend_square`` is zero unless ``bent``.

    Not finite where the function overflows. ``fine`` where ``bends_sharply``.
    """
    z, weight = nodes(_FINE if fine else _COARSE)
    value, slope = curves(function, scale * z + shift)
    bend = curves(lambda u: _slope(function, u), scale * z + shift)[1] if bent else slope * 0
    # Relative to the value in the middle: a variance must survive scales of 1e-3 and less.
    middle = value[len(value) // 2]
    mean = (weight * (value - middle)).sum()
    return Readings(
        mean=float(mean + middle),
        variance=float((weight * (value - middle - mean) ** 2).sum()),
        slope_square=float((weight * slope**2).sum()),
        bend_square=float((weight * bend**2).sum()),
        pull=float((weight * (value - middle - mean) * slope * z).sum()),
        slope_pull=float((weight * slope * z).sum()),
    )


def curves(function: Activation, points: Tensor) -> tuple[Tensor, Tensor]:
    """Value and slope at each point (the function acts on each by itself)."""
    with torch.inference_mode(False), torch.enable_grad():
        u = points.detach().clone().requires_grad_()
        value = function(u * 1)  # a copy, for activations that work in place
        if not isinstance(value, Tensor) or value.shape != u.shape:
            raise BadInput("the activation must return a tensor of the shape it was given")
        if not value.requires_grad:
            raise BadInput("the activation has no derivative that torch knows of")
        (slope,) = torch.autograd.grad(value.sum(), u)
    return value.detach(), slope


def _slope(function: Activation, u: Tensor) -> Tensor:
    (slope,) = torch.autograd.grad(function(u * 1).sum(), u, create_graph=True)
    return slope + u * 0  # a slope that does not depend on u has the derivative zero


def in_float64(function: Activation) -> Activation:
    """A module with its own numbers (a learned slope) as a copy that float64 can be given to."""
    if not isinstance(function, nn.Module) or next(function.parameters(), None) is None:
        return function
    return copy.deepcopy(function).to("cpu", torch.float64)


def examine(function: Activation) -> bool:
    """Whether the slope of this activation jumps anywhere; raises BadInput where it is unfit.

    Unfit is what is not one function of one number (random, or mixing its inputs), what jumps
    itself, and what has no finite second moment under a normal input.
    """
    z, weight = nodes(_FINE)
    try:
        value, slope = curves(function, z)
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        said = str(error).splitlines()[0] if str(error) else ""
        raise BadInput(
            "the activation must take one tensor of any shape, and so float64 numbers in a row: "
            f"it raised {type(error).__name__}: {said}"
        ) from error
    few = z[::500].clone()
    with torch.no_grad():
        alone = function(few.clone())
    if not torch.allclose(alone, value[::500], rtol=1e-6, atol=1e-9, equal_nan=True):
        raise BadInput(
            "the activation must act on each number by itself, and give the same again: "
            "not a softmax, a norm or a dropout"
        )
    share = weight * value.square()
    total = float(share.sum())
    if not math.isfinite(total) or float(share[z.abs() > 10].sum()) > 1e-3 * total:
        raise BadInput("the activation has no finite second moment for a normal input")
    if float((weight * slope.square()).sum()) == 0.0:
        raise BadInput("the activation is constant: no scale of it passes a gradient on")
    inside = z.abs() < 8
    size = float(value[inside].abs().max())
    if _jump(value[inside]) > 0.02 * size:
        raise BadInput("the activation jumps: its derivative says nothing about it there")
    inside_slope = slope[inside]
    return _jump(inside_slope) > 0.02 * float(inside_slope.abs().max())


def bends_sharply(function: Activation) -> bool:
    """Whether the second derivative jumps anywhere (ELU, softsign), and needs the fine grid."""
    z = nodes(_FINE)[0]
    bend = curves(lambda u: _slope(function, u), z)[1]
    return _jump(bend) > 0.02 * float(bend.abs().max())


def _jump(values: Tensor) -> float:
    """The largest step between neighbours (0.0012 apart)."""
    return float(values.diff().abs().max())
