"""Curves over steps: losses, gradients over time, before beside after."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from unvanish.languages import figure
from unvanish.report.html.axis import Axis, axis_of
from unvanish.report.html.markup import Markup
from unvanish.report.html.picture import curve, letters, panel, short, stretched, tag, upright

LEFT, WIDTH = 11.0, 86.0
"""Where the curves begin and how wide they are, in per cent; the rest is for the numbers."""
_MOST = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One curve: places along the axis and its values; what is not finite is a gap."""

    class_: str
    x: Sequence[float]
    y: Sequence[float]


def chart(
    lines: Sequence[Line],
    height: float,
    *,
    across: Axis,
    up: Axis | None = None,
    zones: Sequence[tuple[float, float, str]] = (),
    power: bool = False,
) -> list[Markup]:
    """The drawing of some curves, with axes; ``zones`` are (from, to, class) in the unit of y.

    ``power``: y is a logarithm, and its numbers are written as powers of ten.
    """
    up = up or axis_of([y for line in lines for y in line.y])
    top, bottom = 6.0, height - 20.0
    tall = bottom - top

    def level(value: float) -> float:
        return 100 - up.place(value)

    drawn: list[Markup] = [
        tag("rect", x="0", y=short(level(high)), width="100", height=short(level(low) - level(high)),
            class_=class_)
        for low, high, class_ in zones
        if level(low) > level(high)
    ]  # fmt: skip
    drawn += [
        curve(part, f"line {line.class_}") for line in lines for part in _parts(line, across, up)
    ]
    return [
        panel(LEFT, top, WIDTH, tall, stretched(*drawn)),
        *_numbers(across, up, power, top, bottom),
    ]


def _numbers(across: Axis, up: Axis, power: bool, top: float, bottom: float) -> list[Markup]:
    """Grid lines with their numbers at the left, ticks with theirs below."""
    made: list[Markup] = []
    for tick in (up.powers if power else up.ticks)(max(int((bottom - top) / 34), 2)):
        y = bottom - up.place(tick) / 100 * (bottom - top)
        made.append(
            tag(
                "line",
                x1=f"{LEFT}%",
                x2=f"{LEFT + WIDTH}%",
                y1=short(y),
                y2=short(y),
                class_="grid",
            )
        )
        made.append(
            letters(
                LEFT, y + 4, power_of_ten(tick) if power else figure(tick, ".6g"), "label-end", -6
            )
        )
    for tick in across.ticks(7):
        x = LEFT + WIDTH * across.place(tick) / 100
        made.append(upright(x, bottom, bottom + 4, "base"))
        made.append(letters(x, bottom + 16, figure(tick, ",.6g"), "tick"))
    return made


def _parts(line: Line, across: Axis, up: Axis) -> list[list[tuple[float, float]]]:
    """The curve without its gaps, thinned to what a screen can show."""
    parts: list[list[tuple[float, float]]] = [[]]
    every = max(len(line.x) // _MOST, 1)
    for number, (x, y) in enumerate(zip(line.x, line.y, strict=True)):
        if not math.isfinite(y):
            parts.append([])
        elif number % every == 0 or number == len(line.x) - 1:
            parts[-1].append((across.place(x), 100 - up.place(y)))
    return [part if len(part) > 1 else part * 2 for part in parts if part]


def power_of_ten(exponent: float) -> str:
    """``10⁻⁶`` for -6, ``3.2·10⁻⁶`` for -5.5."""
    whole = math.floor(exponent)
    lead = figure(10 ** (exponent - whole), ".1f") + "·" if exponent % 1 else ""
    return f"{lead}10{str(whole).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"
