"""The gradient over layers and steps as a heat map, with alarms and a guard's actions on its time axis."""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from unvanish.languages import figure, filled, ngettext
from unvanish.languages import gettext as _
from unvanish.recording.blocks import blocks_of
from unvanish.report.html.axis import Axis
from unvanish.report.html.chart import power_of_ten
from unvanish.report.html.heatmap import DARKEST, as_bytes, data_address, png
from unvanish.report.html.markup import Markup, tag
from unvanish.report.html.picture import (
    box,
    figures_table,
    key,
    letters,
    names_width,
    panel,
    picture,
    short,
    upright,
)

if TYPE_CHECKING:
    from unvanish.recording import Recording
    from unvanish.recording.summary import Alarm

_COLUMNS = 400
_ROWS = 120
_TALLEST = 460.0
_LANE = 17.0
_LANES = 12
_MOST_ACTIONS = 400
_TABLED = 12
Levels = NDArray[np.float64]


def heat_picture(recording: "Recording", alarms: "Sequence[Alarm]") -> Markup | None:
    """The picture; ``None`` where no gradient was read."""
    if "gradient_rms" not in recording.statistics:
        return None
    steps, table = recording.matrix("gradient_rms", at_most=_COLUMNS)
    if not len(steps) or not table.size:
        return None
    names, levels = _by_block(recording, table.astype(np.float64))
    known = levels[np.isfinite(levels)]
    low, high = (float(known.min()), float(known.max())) if known.size else (-1.0, 0.0)
    across = Axis(float(steps[0]), float(max(steps[-1], steps[0] + 1)))
    points = as_bytes(_on_even_steps(levels, steps), low, high)
    tall = max(min(18.0 * len(names), _TALLEST), 40.0)
    side = names_width([*names, *(alarm.name for alarm in alarms[:_LANES])])
    drawn, height = _lanes(recording, alarms, across, tall)
    image = tag(
        "image",
        href=data_address(png(points)),
        width="100%",
        height=short(tall),
        preserveAspectRatio="none",
        class_="heat",
    )
    return picture(
        _("Gradient over layers and steps"),
        _described(names, low, high, steps),
        height,
        panel(side, 0, 100 - side - 1, height, image, *drawn),
        panel(0, 0, side - 1, tall + 12, *_names(names, tall)),
        panel(0, tall + 20, side - 1, height - tall - 20, *_lane_names(alarms)),
        table=_table(names, levels, steps),
        caption=_caption(low, high, len(names), len(recording.tensors)),
    )


def _by_block(recording: "Recording", table: Levels) -> tuple[list[str], Levels]:
    """log10 of the rms, (rows, steps): a row a tensor, or a block of tensors where there are many."""
    entries = recording.entries
    names = [entry.name for entry in entries]
    squares = np.square(table)
    if len(names) > _ROWS:
        sizes = np.array([float(np.prod(entry.shape)) for entry in entries])
        blocks = blocks_of(names, _ROWS)
        names = [block.name for block in blocks]
        squares = np.stack([_mean(squares[:, b.columns], sizes[b.columns]) for b in blocks], axis=1)
    with np.errstate(divide="ignore"):
        return names, (np.log10(squares) / 2).T


def _mean(squares: Levels, sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Over the entries of the tensors that were read; NaN at a step where none was."""
    there = np.isfinite(squares)
    with warnings.catch_warnings(), np.errstate(invalid="ignore"):
        return (np.where(there, squares, 0) * sizes).sum(1) / (there * sizes).sum(1)


def _on_even_steps(levels: Levels, steps: NDArray[np.int64]) -> Levels:
    """Columns at even distances: each shows the last step that was read by then."""
    even = np.linspace(steps[0], steps[-1], min(len(steps), _COLUMNS))
    return levels[:, np.searchsorted(steps, even + 1e-9, side="right") - 1]


def _names(names: Sequence[str], tall: float) -> list[Markup]:
    height = tall / len(names)
    every = max(int(np.ceil(12 / height)), 1)
    return [
        letters(100, max((place + 0.5) * height + 4, 10), name, "place")
        for place, name in enumerate(names)
        if place % every == 0
    ]


def _lanes(
    recording: "Recording", alarms: "Sequence[Alarm]", across: Axis, tall: float
) -> tuple[list[Markup], float]:
    """Ticks of the time axis, a lane for each alarm, one for the actions of a guard."""
    drawn: list[Markup] = []
    for tick in across.ticks(6):
        drawn.append(upright(across.place(tick), tall, tall + 4, "base"))
        if 2 < across.place(tick) < 98:
            drawn.append(letters(across.place(tick), tall + 16, figure(tick, ",.6g"), "tick"))
    y = tall + 24
    for alarm in alarms[:_LANES]:
        left = across.place(alarm.step)
        right = across.place(across.high if alarm.over is None else alarm.over)
        width = max(right - left, 0.8)
        drawn.append(
            box(min(left, 99.2), y + 2, width, _LANE - 5, f"alarm-{alarm.severity}", alarm.name)
        )
        drawn.append(upright(left, 0, tall, "link"))
        y += _LANE
    actions = [event for event in recording.events if event.kind == "action"]
    if actions:
        for event in actions[:: max(len(actions) // _MOST_ACTIONS, 1)]:
            said = f"{event.name}, {figure(event.step, ',')}"
            drawn.append(box(across.place(event.step) - 0.2, y + 2, 0.4, _LANE - 5, "action", said))
        y += _LANE
    return drawn, y + 4


def _lane_names(alarms: "Sequence[Alarm]") -> list[Markup]:
    return [
        letters(100, 4 + place * _LANE + 12, alarm.name, "place")
        for place, alarm in enumerate(alarms[:_LANES])
    ]


def _described(names: Sequence[str], low: float, high: float, steps: NDArray[np.int64]) -> str:
    said = ngettext(
        "{count} row over the steps {first:,} to {last:,}; log10 of the gradient's root mean square is "
        "between {low:.1f} and {high:.1f}.",
        "{count} rows over the steps {first:,} to {last:,}; log10 of the gradient's root mean square is "
        "between {low:.1f} and {high:.1f}.",
        len(names),
    )
    values = {"count": len(names), "first": int(steps[0]), "last": int(steps[-1])}
    return filled(said, values | {"low": low, "high": high})


def _caption(low: float, high: float, rows: int, tensors: int) -> list[object]:
    """The scale of colours, and what a row is."""
    ramp = data_address(png(np.arange(DARKEST, 256, dtype=np.uint8)[None, :]))
    scale = tag(
        "svg",
        tag("image", href=ramp, x="22%", width="56%", height="12", preserveAspectRatio="none"),
        letters(21, 11, power_of_ten(round(low, 1)), "label-end"),
        letters(79, 11, power_of_ten(round(high, 1)), "label"),
        width="100%",
        height="16",
        class_="picture scale",
        aria_hidden="true",
    )
    said = _("Across: steps. Down: the model from its input to its output. Grey: not read.")
    entries = [
        ("alarm-broken", _("alarm")),
        ("action", _("action of a guard")),
        ("zero", _("exactly zero")),
    ]
    parts: list[object] = [scale, key(entries), said]
    if rows < tensors:
        many = ngettext(
            "{count} tensors are drawn in {rows} rows, neighbours together.",
            "{count} tensors are drawn in {rows} rows, neighbours together.",
            tensors,
        )
        parts += [" ", filled(many, count=tensors, rows=rows)]
    return parts


def _table(names: Sequence[str], levels: Levels, steps: NDArray[np.int64]) -> Markup:
    places = np.unique(np.linspace(0, len(steps) - 1, min(len(steps), _TABLED)).round().astype(int))
    rows = [
        [
            name,
            *(_number(v) for v in levels[row, places].tolist()),
        ]
        for row, name in enumerate(names)
    ]
    heads = [_("layer"), *(filled(_("step {step:,}"), step=int(steps[place])) for place in places)]
    return figures_table(heads, rows, _("log10 of the gradient's root mean square"))


def _number(level: float) -> str | None:
    if np.isneginf(level):
        return _("zero")
    return figure(level, ".2f") if np.isfinite(level) else None
