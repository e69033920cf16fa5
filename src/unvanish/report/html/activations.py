"""Where the units of each activation sit on its curve.

The function, its slope, and below them what goes into it, layer by layer; the range in which it passes
next to nothing back is shaded.
"""

import math
from collections.abc import Sequence

import numpy as np

from unvanish.kinds import ACTIVATIONS
from unvanish.languages import figure, filled, ngettext
from unvanish.languages import gettext as _
from unvanish.probe.activations import SATURATED_BELOW
from unvanish.report.html.axis import Axis, axis_of
from unvanish.report.html.markup import Markup, tag
from unvanish.report.html.picture import (
    box,
    curve,
    figures_table,
    key,
    letters,
    names_width,
    panel,
    picture,
    stretched,
    upright,
)
from unvanish.report.html.units import EDGES, Site, reach, sites_of
from unvanish.theory.named import named
from unvanish.trace import Activation

_ROWS = 24
_TABLED = 600
_POINTS = 241
_ASIDE = 12.0
_CURVE, _ROW = 130.0, 24.0
_FARTHEST = 40.0


def activation_pictures(activations: Sequence[Activation]) -> list[Markup]:
    """One picture for each kind of activation, the one with most calls first."""
    kinds: dict[str, list[Activation]] = {}
    for activation in activations:
        if math.isfinite(activation.input_rms) and math.isfinite(activation.input_mean):
            kinds.setdefault(activation.function, []).append(activation)
    ordered = sorted(kinds.items(), key=lambda kind: -len(kind[1]))
    return [_picture(function, calls) for function, calls in ordered]


def _picture(function: str, calls: Sequence[Activation]) -> Markup:
    sites = sites_of(calls, _ROWS)
    axis = _axis(sites)
    flat = _flat(function, axis)
    left = names_width(site.name for site in sites)
    height = _CURVE + 26 + _ROW * len(sites)
    inside = [box(low, 0, high - low, height, "flat") for low, high in flat]
    inside += _curves(function, axis)
    for tick in axis.ticks(6):
        inside.append(upright(axis.place(tick), _CURVE, height, "grid"))
        inside.append(letters(axis.place(tick), _CURVE + 15, figure(tick, "g"), "tick"))
    aside: list[Markup] = []
    for place, site in enumerate(sites):
        y = _CURVE + 24 + place * _ROW
        inside += _row(site, axis, y)
        aside.append(letters(left - 1, y + 16, site.name, "place"))
        if site.lost is not None:
            aside.append(letters(100, y + 16, figure(site.lost, ".0%"), "end"))
    if any(site.lost is not None for site in sites):
        # Above the line of the ticks: on a telephone the word is wider than its column.
        aside.append(letters(100, _CURVE + 3, _lost_word(function), "label-end"))
    drawn = [panel(left, 0, 100 - left - _ASIDE, height, *inside), panel(0, 0, 100, height, *aside)]
    return tag(
        "div",
        tag("h3", tag("span", function, class_="name")),
        picture(
            filled(_("Where the units sit on {function}"), function=function),
            _described(function, calls),
            height,
            *drawn,
            table=_table(function, calls),
            caption=_caption(function, calls, sites, bool(flat)),
        ),
    )


def _axis(sites: Sequence[Site]) -> Axis:
    """Wide enough for the curve's shape and for nearly all units; not for single far ones."""
    ends = [end for site in sites for end in reach(site)]
    kept = [max(-_FARTHEST, min(_FARTHEST, end)) for end in ends]
    return axis_of([-4.0, 4.0, *kept], margin=0.02)


def _flat(function: str, axis: Axis) -> list[tuple[float, float]]:
    """The stretches, in per cent of the axis, where the slope is below 5 % of its largest."""
    known = named(function)
    if known is None:
        return []
    low = np.abs(known.slope(_places(axis))) < SATURATED_BELOW * ACTIVATIONS[function].slope
    jumps = np.flatnonzero(np.diff(np.concatenate(([False], low, [False])).astype(int)))
    share = 100 / (_POINTS - 1)
    return [
        (float(begin * share), float((end - 1) * share))
        for begin, end in zip(jumps[::2], jumps[1::2], strict=True)
    ]


def _places(axis: Axis) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    return np.linspace(axis.low, axis.high, _POINTS)


def _curves(function: str, axis: Axis) -> list[Markup]:
    known = named(function)
    if known is None:
        return []
    x = _places(axis)
    value, slope = known.value(x), known.slope(x)
    # A function without bound would press its interesting part flat: four units up are enough.
    top = min(max(float(value.max()), float(slope.max()), 1.0), 4.0)
    bottom = max(min(float(value.min()), float(slope.min()), 0.0), -4.0)
    up = axis_of([bottom, top], margin=0.06)
    shares = np.linspace(0, 100, _POINTS)

    def points(y: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> list[tuple[float, float]]:
        inside = (y >= up.low) & (y <= up.high)
        return [
            (float(a), 100 - up.place(float(b)))
            for a, b in zip(shares[inside], y[inside], strict=True)
        ]

    zero = _CURVE - 4 - (_CURVE - 4) * up.place(0) / 100
    ground = stretched(curve(points(slope), "line activation"), curve(points(value), "line weight"))
    return [
        tag("line", x1="0", x2="100%", y1=f"{zero:.1f}", y2=f"{zero:.1f}", class_="base"),
        upright(axis.place(0), 0, _CURVE, "base"),
        panel(0, 0, 100, _CURVE - 4, ground),
    ]


def _row(site: Site, axis: Axis, y: float) -> list[Markup]:
    """The inputs of one call: bars of their density, and their mean with one standard deviation."""
    drawn = [
        tag("line", x1="0", x2="100%", y1=f"{y + _ROW - 2}", y2=f"{y + _ROW - 2}", class_="grid")
    ]
    if site.counts:
        drawn += _bars(site.counts, axis, y)
    else:
        left, right = axis.place(site.mean - site.spread), axis.place(site.mean + site.spread)
        drawn.append(box(left, y + 6, max(right - left, 0.6), _ROW - 10, "units"))
    drawn.append(upright(axis.place(site.mean), y + 2, y + _ROW - 2, "whisker"))
    return drawn


def _bars(counts: Sequence[int], axis: Axis, y: float) -> list[Markup]:
    density = np.array(counts) / np.diff(EDGES)
    tallest = float(density.max()) or 1.0
    bars: list[Markup] = []
    for place in np.flatnonzero(density > tallest * 0.01).tolist():
        left, right = axis.place(float(EDGES[place])), axis.place(float(EDGES[place + 1]))
        tall = (_ROW - 6) * float(density[place]) / tallest
        if right > left:
            bars.append(box(left, y + _ROW - 2 - tall, right - left, tall, "units"))
    return bars


def _lost_word(function: str) -> str:
    return _("saturated") if ACTIVATIONS[function].two_sided else _("dead")


def _caption(
    function: str, calls: Sequence[Activation], sites: Sequence[Site], flat: bool
) -> list[object]:
    entries = [("weight", _("the function")), ("activation", _("its slope (dashed)"))]
    entries = entries if named(function) is not None else []
    if flat:
        said = _("flat: less than {share:.0%} of the largest slope")
        entries.append(("flat", filled(said, share=SATURATED_BELOW)))
    entries.append(("units", _("what goes into it, by layer, and its mean")))
    if len(sites) == len(calls):
        return [key(entries)]
    said = ngettext(
        "{count} calls are drawn in {rows} rows, neighbours together.",
        "{count} calls are drawn in {rows} rows, neighbours together.",
        len(calls),
    )
    return [key(entries), filled(said, count=len(calls), rows=len(sites))]


def _described(function: str, calls: Sequence[Activation]) -> str:
    said = ngettext(
        "{function} is called at {count} place; the mean of its input is between {low:.2g} and "
        "{high:.2g}, its root mean square between {least:.2g} and {most:.2g}.",
        "{function} is called at {count} places; the mean of its input is between {low:.2g} and "
        "{high:.2g}, its root mean square between {least:.2g} and {most:.2g}.",
        len(calls),
    )
    means, sizes = [c.input_mean for c in calls], [c.input_rms for c in calls]
    ends = {"low": min(means), "high": max(means), "least": min(sizes), "most": max(sizes)}
    return filled(said, ends | {"function": function, "count": len(calls)})


def _table(function: str, calls: Sequence[Activation]) -> Markup:
    rows = [
        [
            site.name,
            figure(site.mean, ".3g"),
            figure(site.spread, ".3g"),
            None if site.slope is None else figure(site.slope, ".3g"),
            None if site.lost is None else figure(site.lost, ".1%"),
        ]
        for site in sites_of(calls, _TABLED)
    ]
    heads = [_("layer"), _("mean input"), _("standard deviation"), _("rms of the slope")]
    return figures_table([*heads, _lost_word(function)], rows)
