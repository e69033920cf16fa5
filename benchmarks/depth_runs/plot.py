"""Test accuracy against depth as an SVG of its own: no plotting library is needed."""

import itertools
import math
import statistics
from typing import Any
from xml.sax.saxutils import escape

WIDTH, HEIGHT, LEFT, TOP, GAP = 400, 260, 60, 46, 56
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#222222")
DASHES = ("", "7 3", "2 3", "9 3 2 3", "")

Series = dict[str, dict[int, list[float]]]


def series(record: dict[str, Any], task: str) -> Series:
    """Per contestant, per depth: the test accuracies in per cent."""
    found: Series = {}
    for key, row in record["rows"].items():
        who, what, depth, _ = key.split(" | ")
        if what == task and row["runs"]:
            runs = [100 * run["test"] for run in row["runs"].values()]
            found.setdefault(who, {})[int(depth)] = runs
    return found


def drawing(record: dict[str, Any]) -> str:
    """Both tasks side by side, one legend below."""
    panels = {task: series(record, task) for task in ("digits", "spirals")}
    names = list(dict.fromkeys(who for panel in panels.values() for who in panel))
    depths = sorted({d for panel in panels.values() for one in panel.values() for d in one})
    across, down = 2 * (LEFT + WIDTH) + 30, TOP + HEIGHT + GAP + 22 * (len(names) + 1)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {across} {down}" '
        f'width="{across}" height="{down}" font-family="sans-serif" font-size="13">',
        f'<rect width="{across}" height="{down}" fill="white"/>',
    ]
    for number, (task, panel) in enumerate(panels.items()):
        parts += axes(number, task, depths)
        for who in panel:
            place = names.index(who)
            parts += curve(number, panel[who], depths, place)
    for place, who in enumerate(names):
        y = TOP + HEIGHT + GAP + 22 * place
        parts += [line(LEFT, y, LEFT + 34, y, place), text(LEFT + 44, y + 4, who)]
    y = TOP + HEIGHT + GAP + 22 * len(names)
    parts.append(text(LEFT, y + 4, "Marks: mean over the seeds. Whiskers: least and largest."))
    return "\n".join([*parts, "</svg>"]) + "\n"


def axes(number: int, task: str, depths: list[int]) -> list[str]:
    left = LEFT + number * (WIDTH + LEFT)
    parts = [text(left, TOP - 18, f"{task}: test accuracy in per cent, by hidden layers")]
    for percent in range(0, 101, 20):
        y = height(percent)
        parts.append(f'<path d="M{left} {y}h{WIDTH}" stroke="#ddd"/>')
        parts.append(text(left - 8, y + 4, str(percent), "end"))
    for depth in depths:
        parts.append(
            text(across_at(number, depth, depths), TOP + HEIGHT + 20, f"{depth:,}", "middle")
        )
    return parts


def across_at(number: int, depth: int, depths: list[int]) -> float:
    first, last = math.log(depths[0]), math.log(depths[-1])
    share = (math.log(depth) - first) / (last - first) if last > first else 0.5
    return round(LEFT + number * (WIDTH + LEFT) + 24 + share * (WIDTH - 48), 1)


def height(percent: float) -> float:
    return round(TOP + HEIGHT * (1 - percent / 100), 1)


def curve(number: int, runs: dict[int, list[float]], depths: list[int], place: int) -> list[str]:
    """Means joined by lines, with whiskers; contestants stand a little beside each other."""
    parts: list[str] = []
    means: list[tuple[float, float]] = []
    for depth, found in sorted(runs.items()):
        x = across_at(number, depth, depths) + 5 * (place - 2)
        means.append((x, height(statistics.fmean(found))))
        parts.append(line(x, height(min(found)), x, height(max(found)), place, dashed=False))
        parts.append(f'<circle cx="{x}" cy="{means[-1][1]}" r="3.5" fill="{COLOURS[place % 5]}"/>')
    joined = [line(*one, *two, place) for one, two in itertools.pairwise(means)]
    return parts + joined


def line(x1: float, y1: float, x2: float, y2: float, place: int, dashed: bool = True) -> str:
    dash = DASHES[place % 5] if dashed else ""
    return (
        f'<path d="M{x1} {y1}L{x2} {y2}" stroke="{COLOURS[place % 5]}" stroke-width="2" '
        f'stroke-dasharray="{dash}" fill="none"/>'
    )


def text(x: float, y: float, words: str, anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}">{escape(words)}</text>'
