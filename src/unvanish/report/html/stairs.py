"""The rows of a depth profile: some neighbouring layers each, and how a gradient passes them."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from unvanish.causes.time_profile import FLOOR
from unvanish.languages import filled, ngettext
from unvanish.languages import gettext as _
from unvanish.report.html.axis import bins
from unvanish.trace import Layer

ORDER = ("activation", "norm", "residual", "weight", "rest")
"""The parts of a layer as the gradient meets them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One row: some neighbouring layers. ``level`` is log10 of the norm at the first one's output."""

    name: str
    level: float | None
    zero: bool
    parts: dict[str, float]
    count: int
    predicted: float | None

    @property
    def total(self) -> float:
        return math.fsum(self.parts.values())

    @property
    def passed(self) -> list[float]:
        """The levels at which the row's bars begin and end; none where there is no level."""
        if self.level is None or self.zero:
            return []
        return list(itertools.accumulate(self.parts.values(), initial=self.level))


def steps_of(layers: Sequence[Layer], most: int) -> list[Step]:
    """The layers as rows, neighbours together where there are too many."""
    return [_step([layers[place] for place in group]) for group in bins(len(layers), most)]


def _step(group: Sequence[Layer]) -> Step:
    first, last = group[0], group[-1]
    name = first.name or _("(model)")
    norm = first.norm
    known = [layer.predicted for layer in group if layer.predicted is not None]
    return Step(
        name=name if len(group) == 1 else f"{name} … {last.name}",
        level=None if norm is None or not math.isfinite(norm) else math.log10(max(norm, FLOOR)),
        zero=norm == 0,
        parts={
            role: total
            for role in ORDER
            if math.isfinite(total := math.fsum(layer.decades.get(role, 0.0) for layer in group))
        },
        count=len(group),
        predicted=math.fsum(known) if len(known) == len(group) else None,
    )


def description(layers: Sequence[Layer]) -> str:
    """The picture in words: its ends, its whole, and the part that takes most."""
    known = [layer for layer in layers if layer.norm]
    if len(known) < 2:
        return _("Too few layers were measured to compare.")
    first, last = math.log10(known[0].norm or 1.0), math.log10(known[-1].norm or 1.0)
    said = ngettext(
        "Over {count} layer, from the loss to the input, log10 of the gradient goes from {first:.1f} "
        "to {last:.1f}.",
        "Over {count} layers, from the loss to the input, log10 of the gradient goes from {first:.1f} "
        "to {last:.1f}.",
        len(layers),
    )
    return filled(said, count=len(layers), first=first, last=last)
