"""How the numbers of a tensor stand for the signal: which entries belong together, and how.

A mirrored layer writes every number of the signal twice, as u and as -u, side by side. What reads
it must know that after the activation, a pooling, a concatenation and a flattening these two still
belong together. A layout says it for one tensor; :func:`carried` moves it through an operation.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from unvanish.init.graph import DROPOUTS, KEEPS, SCALINGS
from unvanish.probe.flow import NORMALIZING
from unvanish.trace import Operation

Array = NDArray[np.float64]
Whole = NDArray[np.int64]

_RESHAPES = frozenset("view reshape flatten unflatten squeeze unsqueeze ravel".split())
_SAME = KEEPS | DROPOUTS
_ORDERS = frozenset("transpose permute movedim swapaxes swapdims t T mT".split())
SPATIAL = frozenset(
    "max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d "
    "adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d "
    "adaptive_max_pool3d max_pool1d_with_indices max_pool2d_with_indices max_pool3d_with_indices "
    "adaptive_max_pool1d_with_indices adaptive_max_pool2d_with_indices "
    "adaptive_max_pool3d_with_indices interpolate upsample pad lp_pool2d boolean_dispatch".split()
)
_REDUCTIONS = frozenset("mean sum amax select getitem narrow".split())
_JOINS = frozenset(("cat", "concat", "concatenate"))


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """What the entries along ``dim`` mean.

    Number k of the signal is the sum of ``weight * (entry + offset)`` over the entries whose
    ``number`` is k. ``writers`` are the operations that wrote it so and must be taken back where
    something cannot read it; ``active`` says that it has passed its activation, ``again`` that it
    is about to pass another one that leaves it as it is (a rectifier behind a rectifier).
    """

    number: Whole
    weight: Array
    offset: Array
    dim: int
    writers: frozenset[int]
    active: bool
    again: bool = False

    @property
    def numbers(self) -> int:
        """Of how many numbers the signal consists."""
        return int(self.number.max()) + 1


def plain(size: int, dim: int) -> Layout:
    """Every entry is a number of its own."""
    one, nothing = np.ones(size), np.zeros(size)
    return Layout(np.arange(size), one, nothing, dim, frozenset(), True)


def pairs(size: int) -> tuple[Whole, Array]:
    """For each of ``size`` outputs the number that it is a copy of, and the sign.

    Neighbours mirror each other, so that groups of channels hold whole pairs. An odd one out at
    the end is a number of its own, which nothing reads at the start.
    """
    sign = np.where(np.arange(size) % 2 == 0, 1.0, -1.0)
    return np.arange(size) // 2, sign


class Unreadable(Exception):
    """An operation that a layout cannot be carried through."""


def carried(operation: Operation, layouts: Sequence[Layout | None]) -> Layout | None:
    """The layout of the output of an operation that is neither weighted nor an activation.

    Args:
        operation: the operation.
        layouts: of its tensor arguments, in order (``None``: nothing special).

    Raises:
        Unreadable: one of the arguments has a layout that the output does not keep.
    """
    held = [layout for layout in layouts if layout is not None]
    if not held:
        return None
    name, first = operation.function, layouts[0]
    if name in _JOINS:
        return _joined(operation, layouts)
    if first is None or len(held) > 1:
        raise Unreadable
    before, after = operation.input_shapes[0], operation.output_shape
    if name in _SAME or name in NORMALIZING or _scales(operation):
        if after != before:
            raise Unreadable
        return first
    if name in _RESHAPES:
        return _reshaped(first, before, after)
    if name in _ORDERS:
        return _ordered(first, before, after)
    size = before[first.dim]
    if name in SPATIAL and len(after) == len(before) and after[first.dim] == size:
        return first
    if name in _REDUCTIONS:
        return _reduced(first, before, after)
    raise Unreadable


def _scales(operation: Operation) -> bool:
    """Whether the operation multiplies by a plain number, which calibration takes account of."""
    return operation.function in SCALINGS and len(operation.inputs) == 1


def _reshaped(layout: Layout, before: Sequence[int], after: Sequence[int]) -> Layout:
    """Channels stay whole, or what comes behind them is folded into them."""
    size = before[layout.dim]
    front, behind = math.prod(before[: layout.dim]), math.prod(before[layout.dim + 1 :])
    for place in range(len(after)):
        if math.prod(after[:place]) != front:
            continue
        if after[place] == size:
            return replace(layout, dim=place)
        rest = math.prod(after[place + 1 :])
        if after[place] == size * behind and rest == 1:
            return _repeated(layout, behind, place)
    raise Unreadable


def _repeated(layout: Layout, times: int, dim: int) -> Layout:
    number = np.repeat(layout.number, times) * times + np.tile(np.arange(times), len(layout.number))
    weight, offset = np.repeat(layout.weight, times), np.repeat(layout.offset, times)
    return replace(layout, number=number, weight=weight, offset=offset, dim=dim)


def _ordered(layout: Layout, before: Sequence[int], after: Sequence[int]) -> Layout:
    """Dimensions changed places: the channels can be followed where their size is the only one."""
    size = before[layout.dim]
    if list(before).count(size) != 1 or list(after).count(size) != 1:
        raise Unreadable
    return replace(layout, dim=list(after).index(size))


def _reduced(layout: Layout, before: Sequence[int], after: Sequence[int]) -> Layout:
    """Places were averaged over, or one was picked out; the channels are all still there."""
    size, last = before[layout.dim], layout.dim == len(before) - 1
    dim = len(after) - 1 if last else layout.dim
    if not 0 <= dim < len(after) or after[dim] != size:
        raise Unreadable
    if last and len(after) < len(before) and len(before) > 1 and before[-2] == size:
        raise Unreadable  # which of the two is gone cannot be told
    return replace(layout, dim=dim)


def _joined(operation: Operation, layouts: Sequence[Layout | None]) -> Layout:
    shapes, after = operation.input_shapes, operation.output_shape
    held = [layout for layout in layouts if layout is not None]
    dim = held[0].dim
    whole = all(len(shape) == len(after) for shape in shapes)
    fits = whole and sum(shape[dim] for shape in shapes) == after[dim]
    if not fits or any(layout.dim != dim or not layout.active for layout in held):
        raise Unreadable
    parts = [
        layout or plain(shape[dim], dim) for layout, shape in zip(layouts, shapes, strict=True)
    ]
    starts = np.cumsum([0, *(part.numbers for part in parts)])
    return Layout(
        np.concatenate([part.number + start for part, start in zip(parts, starts, strict=False)]),
        np.concatenate([part.weight for part in parts]),
        np.concatenate([part.offset for part in parts]),
        dim,
        frozenset().union(*(part.writers for part in parts)),
        True,
    )
