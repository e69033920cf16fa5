"""Where along the trunk the gradient falls or rises most, and where those decades go.

The account starts at the loss: after ``i`` layers the gradient stands at ``C_i`` decades of what
arrived at the first. The worst stretch is the pair of layers with the largest drop (or rise)
between them; it is exact, needs no window and no threshold, and names where the trouble begins.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from unvanish.layers import SPLIT_ROLES
from unvanish.slopes import Slope, theil_sen
from unvanish.trace import Layer, Trace


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Layers ``start .. end - 1`` (counted from the loss) between which the gradient changed.

    ``decades`` is the change of log10 gradient norm (negative: it fell), ``split`` the part of it
    each role took, ``slope`` the robust change per layer, ``largest`` the largest share that one
    layer took, ``elasticity`` the change of log10 elasticity (gradient times weight of the
    layers' own weights) and ``forward`` that of the signal's rms, both in the same direction.
    """

    start: int
    end: int
    decades: float
    split: dict[str, float]
    slope: Slope | None
    largest: float
    elasticity: float | None
    forward: float | None
    layers: tuple[Layer, ...]

    @property
    def count(self) -> int:
        return self.end - self.start

    @property
    def per_layer(self) -> float:
        """Robust decades a layer: the Theil-Sen slope, the mean where there are too few layers."""
        return self.slope.value if self.slope is not None else self.decades / max(self.count, 1)

    def share(self, role: str) -> float:
        """The part of the change that this role took, signed: 1 is all of it."""
        return self.split.get(role, 0.0) / self.decades if self.decades else 0.0

    def typical(self, role: str) -> float:
        """Median over the layers of what this role takes of each: decades a layer."""
        return statistics.median(layer.decades.get(role, 0.0) for layer in self.layers)

    @property
    def compounds(self) -> bool:
        """Whether the change is spread over the layers: at least three, none with half of it."""
        return self.count >= 3 and self.largest < 0.5

    @property
    def repeats_one_module(self) -> bool:
        """Whether all layers use the same weights: depth in time, not in layers."""
        return self.count > 1 and one_module(self.layers)


def one_module(layers: Sequence[Layer]) -> bool:
    """Whether these are calls of one module with the same weights.

    A model that keeps all of its weights itself has layers of one name that are none.
    """
    return len({(layer.name, layer.parameters) for layer in layers}) == 1


def standing(trace: Trace) -> list[float]:
    """``C_i``: decades of gradient left at the output of each layer, the first one at 0."""
    levels = [0.0]
    for position, layer in enumerate(trace.layers[:-1]):
        levels.append(levels[-1] + layer.total - _before_depth(layer, position))
    return levels


def _before_depth(layer: Layer, position: int) -> float:
    """What the loss's own ops took (a mean over the batch): no part of depth."""
    return layer.decades.get("rest", 0.0) if position == 0 else 0.0


def passes(trace: Trace) -> bool:
    """Whether a gradient arrives at every layer, of two at least: no weights that start at zero."""
    return len(trace.layers) >= 2 and all(layer.norm for layer in trace.layers)


def worst_fall(trace: Trace) -> Stretch | None:
    """The stretch over which the gradient falls most on its way from the loss."""
    return _worst(trace, sign=-1.0)


def worst_rise(trace: Trace) -> Stretch | None:
    """The stretch over which the gradient rises most on its way from the loss."""
    return _worst(trace, sign=1.0)


def _worst(trace: Trace, sign: float) -> Stretch | None:
    if len(trace.layers) < 2:
        return None
    levels = standing(trace)
    best, best_start, best_end, base = 0.0, 0, 0, 0
    for position, level in enumerate(levels):
        if sign * (levels[base] - level) > 0:
            base = position
        if sign * (level - levels[base]) > best:
            best, best_start, best_end = sign * (level - levels[base]), base, position
    if best_end == best_start:
        return None
    return _stretch(trace, levels, best_start, best_end)


def _stretch(trace: Trace, levels: Sequence[float], start: int, end: int) -> Stretch:
    inside = trace.layers[start:end]
    split = dict.fromkeys((*SPLIT_ROLES, "rest"), 0.0)
    for position, layer in enumerate(inside, start):
        for role, part in layer.decades.items():
            split[role] += part
        split["rest"] -= _before_depth(layer, position)
    decades = levels[end] - levels[start]
    steps = [b - a for a, b in zip(levels[start:end], levels[start + 1 : end + 1], strict=True)]
    reached = trace.layers[start : end + 1]
    return Stretch(
        start=start,
        end=end,
        decades=decades,
        split=split,
        slope=theil_sen(levels[start : end + 1]),
        largest=max(step / decades for step in steps),
        elasticity=_change([layer.elasticity for layer in reached]),
        forward=_change([layer.output_rms for layer in reached]),
        layers=inside,
    )


def _change(values: Sequence[float | None]) -> float | None:
    """log10 of the last over the largest at the near end: each end a median of up to three."""
    known = [value for value in values if value is not None and value > 0]
    if len(known) < 2:
        return None
    width = min(3, (len(known) + 1) // 2)
    near, far = sorted(known[:width]), sorted(known[-width:])
    return math.log10(far[len(far) // 2]) - math.log10(near[len(near) // 2])
