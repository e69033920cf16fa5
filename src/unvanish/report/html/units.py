"""What goes into the activations of a net: one row for some neighbouring calls of one function."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unvanish.languages import gettext as _
from unvanish.report.html.axis import bins
from unvanish.trace import Activation, preactivation_edges

EDGES = preactivation_edges()


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One row: some neighbouring calls. ``lost`` is the share that is saturated, or else dead."""

    name: str
    mean: float
    spread: float
    counts: tuple[int, ...]
    lost: float | None
    slope: float | None


def sites_of(calls: Sequence[Activation], most: int) -> list[Site]:
    """The calls as rows, neighbours together where there are too many."""
    return [_site([calls[place] for place in group]) for group in bins(len(calls), most)]


def _site(group: Sequence[Activation]) -> Site:
    mean = statistics.fmean(call.input_mean for call in group)
    square = statistics.fmean(call.input_rms**2 for call in group)
    name = group[0].module or _("(model)")
    losses = [call.saturated_share if call.saturated_share is not None else call.dead_share
              for call in group]  # fmt: skip
    known = [share for share in losses if share is not None]
    slopes = [call.derivative_rms for call in group if call.derivative_rms is not None]
    counts = [call.histogram for call in group if call.histogram]
    return Site(
        name=name if len(group) == 1 else f"{name} … {group[-1].module}",
        mean=mean,
        spread=math.sqrt(max(square - mean**2, 0.0)),
        counts=tuple(map(sum, zip(*counts, strict=True))) if counts else (),
        lost=statistics.fmean(known) if known else None,
        slope=statistics.fmean(slopes) if slopes else None,
    )


def reach(site: Site) -> tuple[float, float]:
    """Between which values 99 of 100 inputs lie."""
    if not site.counts:
        return site.mean - 2.5 * site.spread, site.mean + 2.5 * site.spread
    shares = np.cumsum(site.counts) / sum(site.counts)
    low, high = np.searchsorted(shares, [0.005, 0.995])
    return float(EDGES[low]), float(EDGES[high + 1])
