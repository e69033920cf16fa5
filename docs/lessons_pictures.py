"""A small picture for each lesson: the gradient over depth or time, and the loss, sick and cured."""

import html
import math
from collections.abc import Sequence
from typing import Any

from unvanish.languages import filled
from unvanish.languages import gettext as _

WIDTH, HEIGHT = 360, 150
LEFT, TOP, WIDE, HIGH = 40, 26, 126, 92
COLOURS = {"sick": "#c0392b", "well": "#2471a3"}
STROKES = {"sick": 3.2, "well": 1.3}
"""The cured curve is drawn over the sick one: where they are one, both are seen."""
FLOOR = 1e-45
"""Of float32: what is exactly zero is drawn here."""


def picture(title: str, record: dict[str, Any]) -> str:
    """The SVG of one lesson, from its record."""
    sick, well = record["sick"], record["well"]
    kind = "time" if len(sick["time"]) > 1 else "depth"
    in_time = kind == "time"
    ends = (_("first step"), _("last")) if in_time else (_("input"), _("loss"))
    over = _("|gradient| over time") if in_time else _("|gradient| over depth")
    losses = _logs(sick["losses"]), _logs(well["losses"])
    panels = [
        _panel(0, over, ends, _logs(sick[kind]), _logs(well[kind])),
        _panel(180, _("loss"), (_("start"), _("end")), *losses),
    ]
    named = filled(_("{title}: sick red, cured blue; logarithmic axes"), title=title)
    words = [html.escape(word) for word in (_("sick"), _("cured"))]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
            f'width="{WIDTH}" height="{HEIGHT}" role="img" font-family="sans-serif" font-size="9">',
            f"<title>{html.escape(named)}</title>",
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
            *panels,
            f'<text x="8" y="{HEIGHT - 5}" fill="{COLOURS["sick"]}">&#9632; {words[0]}</text>',
            f'<text x="90" y="{HEIGHT - 5}" fill="{COLOURS["well"]}">&#9632; {words[1]}</text>',
            "</svg>",
            "",
        ]
    )


def _logs(values: Sequence[float | None]) -> list[float | None]:
    """log10 of sizes; nothing where there is no number; a negative loss by its size."""
    return [None if v is None else math.log10(max(abs(v), FLOOR)) for v in values]


def _panel(
    x: int,
    title: str,
    ends: tuple[str, str],
    sick: list[float | None],
    well: list[float | None],
) -> str:
    known = [v for v in [*sick, *well] if v is not None]
    parts = [
        f'<g transform="translate({x},0)">',
        f'<text x="{LEFT}" y="14" fill="#222222">{html.escape(title)}</text>',
        f'<rect x="{LEFT}" y="{TOP}" width="{WIDE}" height="{HIGH}" fill="none" stroke="#bbbbbb"/>',
    ]
    if known:
        low, high = math.floor(min(known)), math.ceil(max(known))
        high = max(high, low + 1)
        for level in (low, high):
            y = _y(level, low, high) + 3
            parts.append(
                f'<text x="{LEFT - 4}" y="{y:.0f}" text-anchor="end" fill="#555555">1e{level}</text>'
            )
        parts += [_curve(sick, low, high, "sick"), _curve(well, low, high, "well")]
    else:
        said = html.escape(_("no numbers: NaN"))
        parts.append(f'<text x="{LEFT + 8}" y="{TOP + 50}" fill="#555555">{said}</text>')
    below = TOP + HIGH + 11
    parts += [
        f'<text x="{LEFT}" y="{below}" fill="#555555">{html.escape(ends[0])}</text>',
        f'<text x="{LEFT + WIDE}" y="{below}" text-anchor="end" fill="#555555">{html.escape(ends[1])}</text>',
        "</g>",
    ]
    return "\n".join(part for part in parts if part)


def _curve(levels: list[float | None], low: int, high: int, who: str) -> str:
    points = [
        (LEFT + WIDE * (i / max(len(levels) - 1, 1)), _y(level, low, high))
        for i, level in enumerate(levels)
        if level is not None
    ]
    colour = COLOURS[who]
    if len(points) == 1:
        x, y = points[0]
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{1.5 * STROKES[who]:.1f}" fill="{colour}"/>'
    if not points:
        return ""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return (
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{STROKES[who]}"/>'
    )


def _y(level: float, low: int, high: int) -> float:
    return TOP + HIGH * (high - level) / (high - low)
