"""What UV304 and UV305 share: how a reading of the layers' outputs changes along the depth."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from unvanish.slopes import Slope, theil_sen
from unvanish.stretch import one_module
from unvanish.trace import Layer, Trace

FLOOR = 1e-17
"""Energy shares below this are rounding of float64: they count as this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """A reading, in decades, over hidden layers counted from the input: its change and its slope.

    ``largest`` is the largest share of the change that one layer took, ``inner`` the share of the
    middle half of the layers (of a steady change one half or more).
    """

    decades: float
    largest: float
    inner: float
    slope: Slope | None
    layers: tuple[str, ...]
    first: float
    last: float

    @property
    def compounds(self) -> bool:
        """Whether the change is spread over at least three steps, none with half of it."""
        return len(self.layers) > 3 and self.largest < 0.5


def hidden(trace: Trace) -> list[Layer]:
    """The layers from the input to the last hidden one; none where they are calls of one module."""
    layers = list(reversed(trace.layers[1:]))
    return [] if not layers or one_module(layers) else layers


def course(layers: Sequence[Layer], values: Sequence[float | None]) -> Course | None:
    """The fall of a reading over the layers, up to where it has reached its bottom.

    Behind the bottom it may stay there for any number of layers; they would flatten the slope. A
    reading that is no finite number is none.
    """
    known = [
        (layer.name or "(model)", math.log10(max(value, FLOOR)))
        for layer, value in zip(layers, values, strict=True)
        if value is not None and math.isfinite(value)
    ]
    if len(known) < 4:
        return None
    levels = [level for _, level in known]
    start = max(range(len(levels)), key=lambda place: levels[place])
    bottom = min(levels[start:])
    reached = bottom + (levels[start] - bottom) / 8
    end = next(p for p in range(start, len(levels)) if levels[p] <= reached)
    end = max(end, min(start + 3, len(levels) - 1))
    inside = levels[start : end + 1]
    lowest = list(itertools.accumulate(inside, min))  # a step down that is taken back is none
    steps = [b - a for a, b in itertools.pairwise(lowest)]
    quarter, whole = len(steps) // 4, min(lowest[-1] - lowest[0], -1e-12)
    return Course(
        decades=levels[-1] - levels[start],
        largest=min(steps, default=0.0) / whole,
        inner=(lowest[-1 - quarter] - lowest[quarter]) / whole,
        slope=theil_sen(inside),
        layers=tuple(name for name, _ in known[start:]),
        first=10 ** levels[start],
        last=10 ** levels[-1],
    )


def trainable_depth(per_layer: float) -> float:
    """Six times the depth over which the reading changes by a factor e (decades a layer given)."""
    return 6 / (abs(per_layer) * math.log(10)) if per_layer else math.inf
