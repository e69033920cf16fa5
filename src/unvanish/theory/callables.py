"""Any elementwise callable, torch or numpy, as a :class:`Nonlinearity`.

A torch callable is evaluated in float64 on a copy and its slope is taken by autograd; a numpy one by
central differences. Kinks are found by halving every interval over which the slope changes fast.
"""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from unvanish.errors import BadInput
from unvanish.theory.activations import Function, Nonlinearity, two_sided
from unvanish.theory.quadrature import Array, has_mean

_STEP = 1e-5  # of the central difference: truncation and rounding both near 1e-11
_SEEN = 30.0  # kinks beyond this are not looked for


def measured(activation: Callable[[Any], Any]) -> Nonlinearity:
    """The callable as value, slope and kinks.

    Raises:
        BadInput: it does not act on every element alone, jumps, or has no finite second moment.
    """
    name = getattr(activation, "__name__", type(activation).__name__)
    pair = _torch_pair(activation)
    sharp = pair is not None
    value, slope = pair or _numpy_pair(activation, name)
    _check_elementwise(value, name)
    kinks = _kinks(value, slope, name, 1e-10 if sharp else 4 * _STEP)
    sides = _sides(value)
    if sides is not None:
        return two_sided(name, *sides)
    found = Nonlinearity(name=name, value=value, slope=slope, kinks=kinks)
    for what, function in (("value", value), ("slope", slope)):
        if not has_mean(lambda u, function=function: function(u) ** 2, 1.0, kinks):
            raise BadInput(
                f"activation {name}: its {what} has no finite second moment under a normal "
                "distribution, so no layer of it has a scale: pass one that grows at most "
                "exponentially and has no pole."
            )
    return found


def _torch_pair(activation: Callable[[Any], Any]) -> tuple[Function, Function] | None:
    """Value and slope by autograd; ``None`` for a callable that torch cannot differentiate."""
    import torch

    if isinstance(activation, torch.nn.Module):
        activation = copy.deepcopy(activation).to("cpu", torch.float64)
        for parameter in activation.parameters():
            parameter.requires_grad_(False)

    def value(u: Array) -> Array:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            # A copy: an in-place activation would write into the caller's array.
            out = activation(torch.tensor(u, dtype=torch.float64))
        return np.asarray(out.numpy(), dtype=np.float64)

    def slope(u: Array) -> Array:
        with torch.enable_grad(), torch.random.fork_rng(devices=[]):
            leaf = torch.tensor(u, dtype=torch.float64, requires_grad=True)
            out = activation(leaf * 1.0)  # in-place activations may not touch a leaf
            if not out.requires_grad:
                return np.zeros_like(u)
            (found,) = torch.autograd.grad(out.sum(), leaf)
        return np.asarray(found.numpy(), dtype=np.float64)

    try:
        probe = np.array([-0.5, 0.25, 1.5])
        ok = isinstance(activation(torch.tensor(probe, requires_grad=True) * 1.0), torch.Tensor)
        ok = ok and value(probe).shape == slope(probe).shape
    except Exception:
        return None
    return (value, slope) if ok else None


def _numpy_pair(activation: Callable[[Any], Any], name: str) -> tuple[Function, Function]:
    def value(u: Array) -> Array:
        return np.asarray(activation(u.copy()), dtype=np.float64)

    def slope(u: Array) -> Array:
        step = _STEP * np.maximum(1.0, np.abs(u))
        return (value(u + step) - value(u - step)) / (2 * step)

    try:
        with np.errstate(all="ignore"):
            value(np.array([-0.5, 0.25, 1.5]))
    except Exception as error:
        raise BadInput(
            f"activation {name} takes neither a torch tensor nor a numpy array of one dimension "
            f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}): pass a "
            "function of one tensor that acts on every element alone."
        ) from error
    return value, slope


def _check_elementwise(value: Function, name: str) -> None:
    u = np.linspace(-3.1, 3.3, 23)
    try:
        with np.errstate(all="ignore"):
            whole, part = value(u), value(u[::2].copy())
        same = whole.shape == u.shape and np.allclose(whole[::2], part, rtol=1e-9, equal_nan=True)
    except Exception:  # a layer of three units refuses 23: it is no activation, whatever it says
        same = False
    if not same:
        raise BadInput(
            f"activation {name} does not act on every element alone, or draws at random: pass an "
            "elementwise function (dropout and norms have settings of their own)."
        )


def _kinks(value: Function, slope: Function, name: str, width: float) -> tuple[float, ...]:
    """Places where the slope jumps: it still changes over an interval of this width."""
    grid = np.linspace(-_SEEN - 0.0037, _SEEN, 6001)
    with np.errstate(all="ignore"):
        low, high = _halved(value, grid[:-1], grid[1:], 1e-12)
        steps = np.flatnonzero(np.abs(value(high) - value(low)) > 1e-3 * (1 + np.abs(value(low))))
        if len(steps):
            place = round(float(low[steps[0]]), 6) + 0.0
            raise BadInput(
                f"activation {name} jumps near {place}: its slope does not say what the gradient "
                "does there; pass a continuous function."
            )
        low, high = _halved(slope, grid[:-1], grid[1:], width)
        change = np.abs(slope(high) - slope(low))
        places = np.flatnonzero(change > 1e-3 * (1 + np.abs(slope(low))))
    return tuple(sorted({_meeting(value, slope, float(low[i]), float(high[i])) for i in places}))


def _halved(function: Function, low: Array, high: Array, width: float) -> tuple[Array, Array]:
    """Every interval narrowed, again and again, to the half over which the function changes more."""
    while float((high - low).max()) > width:
        middle = (low + high) / 2
        at = function(middle)
        left = np.abs(at - function(low)) >= np.abs(function(high) - at)
        low, high = np.where(left, low, middle), np.where(left, middle, high)
    return low, high


def _meeting(value: Function, slope: Function, low: float, high: float) -> float:
    """Where the tangents from both sides meet, a little outside the narrowed interval."""
    ends = np.array([low - 2e-4, high + 2e-4])
    heights, slopes = value(ends), slope(ends)
    rise = heights[1] - heights[0] - slopes[1] * (ends[1] - ends[0])
    met = ends[0] + float(rise) / float(slopes[0] - slopes[1]) if slopes[0] != slopes[1] else low
    met = met if low - 1e-3 < met < high + 1e-3 else (low + high) / 2
    return 0.0 if abs(met) < 1e-7 else float(met)


def _sides(value: Function) -> tuple[float, float] | None:
    """The two slopes of a function that is linear on both sides of zero."""
    u = np.array([1e-3, 0.1, 1.0, 7.0, 40.0])
    with np.errstate(all="ignore"):
        right, left = value(u) / u, value(-u) / -u
    if not (np.isfinite(right).all() and np.isfinite(left).all()):
        return None
    if np.ptp(right) > 1e-9 or np.ptp(left) > 1e-9:
        return None
    return float(left[2]) + 0.0, float(right[2]) + 0.0  # no negative zero
