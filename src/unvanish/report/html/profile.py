"""The depth profile as a waterfall, the loss on top, the input below.

Each layer's bar begins where the gradient stands and shows, part by part, which mechanism takes it how
many decades down or up.
"""

from collections.abc import Sequence

from unvanish.causes.cause import BROKEN_DECADES, HARMFUL_DECADES
from unvanish.languages import figure, filled, ngettext
from unvanish.languages import gettext as _
from unvanish.report.html.axis import Axis, axis_of
from unvanish.report.html.chart import power_of_ten
from unvanish.report.html.markup import Markup
from unvanish.report.html.picture import (
    box,
    figures_table,
    key,
    letters,
    names_width,
    panel,
    picture,
    upright,
)
from unvanish.report.html.stairs import ORDER, Step, description, steps_of
from unvanish.report.sections import SHARES
from unvanish.trace import Layer

ROWS = 300
"""More layers than this are drawn as neighbours together."""
TABLED = 1000
_BINNED = 150
_SEEN = 0.005  # decades; a smaller part is narrower than a pixel


def depth_profile(layers: Sequence[Layer], rows: int = ROWS) -> Markup | None:
    """The picture, its key and its numbers; ``None`` where there is nothing to see."""
    steps = steps_of(layers, rows if len(layers) <= rows else min(_BINNED, rows))
    if sum(step.level is not None for step in steps) < 2:
        return None
    height = _row_height(len(steps))
    top = 26.0
    axis = _axis(steps)
    end = _("loss ↑")
    side = names_width([f"{end}  ", *(step.name for step in steps)])
    drawn = [
        letters(side, 14, end, "label-end", -8),
        panel(
            side,
            0,
            100 - side,
            top + height * len(steps) + 4,
            *_ground(axis, steps, top, height),
        ),
        panel(0, top - 6, side - 1, height * len(steps) + 12, *_names(steps, height)),
    ]
    return picture(
        _("Gradient over depth"),
        description(layers),
        top + height * len(steps) + 6,
        *drawn,
        table=_table(layers),
        caption=[_key(steps, axis), *_explained(len(layers), len(steps))],
    )


def _row_height(rows: int) -> float:
    return 22.0 if rows <= 30 else max(5.0, min(18.0, 900 / rows))


def _axis(steps: Sequence[Step]) -> Axis:
    return axis_of([level for step in steps for level in step.passed], least=2.0)


def _zones(axis: Axis, steps: Sequence[Step]) -> list[tuple[str, float]]:
    """Which shaded zones there are: (class, up to which level)."""
    high = max(step.level for step in steps if step.level is not None)
    ends = (("zone-low", high - HARMFUL_DECADES), ("zone-lost", high - BROKEN_DECADES))
    return [(name, end) for name, end in ends if end > axis.low]


def _ground(axis: Axis, steps: Sequence[Step], top: float, height: float) -> list[Markup]:
    """Zones, grid and all bars, in the panel right of the names."""
    bottom = top + height * len(steps)
    drawn = [box(0, top, axis.place(end), bottom - top, name) for name, end in _zones(axis, steps)]
    for tick in axis.powers(7):
        drawn.append(upright(axis.place(tick), top, bottom, "grid"))
        if 3 < axis.place(tick) < 97:
            drawn.append(letters(axis.place(tick), 14, power_of_ten(tick), "tick"))
    for place, step in enumerate(steps):
        drawn += _bar(axis, step, top + place * height, height)
    return drawn


def _bar(axis: Axis, step: Step, y: float, height: float) -> list[Markup]:
    said = _told(step)
    if step.level is None:
        return [box(0, y, 100, height, "row", said)]
    if step.zero:
        zero = letters(0, y + height / 2 + 4, _("zero"), "label", 12) if height >= 11 else None
        return [box(0, y + 1, 1.2, height - 2, "dead", said), *([zero] if zero else [])]
    shown = [(role, size) for role, size in step.parts.items() if abs(size) >= _SEEN]
    lane = (height - min(4.0, height / 3)) / max(len(shown), 1)
    edge = (height - lane * max(len(shown), 1)) / 2
    at = step.level
    drawn = [box(0, y, 100, height, "row", said), upright(axis.place(at), y, y + height, "base")]
    for number, (role, size) in enumerate(shown):
        left, right = sorted((axis.place(at), axis.place(at + size)))
        drawn.append(box(left, y + edge + number * lane, right - left, lane, role, said))
        at += size
    return drawn


def _told(step: Step) -> str:
    """What a pointer that rests on the row is told."""
    if step.level is None:
        return f"{step.name}: " + _("not measured")
    if step.zero:
        return f"{step.name}: " + _("the gradient is exactly zero")
    parts = [
        f"{_(SHARES[role])} {figure(size, '+.2f')}"
        for role, size in step.parts.items()
        if abs(size) >= _SEEN
    ]
    return filled(
        _("{name}: log10 of the gradient {level:.2f}; {parts}"),
        name=step.name,
        level=step.level,
        parts=", ".join(parts) or _("no change"),
    )


def _names(steps: Sequence[Step], height: float) -> list[Markup]:
    every = max(round(13 / height + 0.49), 1)
    return [
        letters(100, (place + 0.5) * height + 10, step.name, "place")
        for place, step in enumerate(steps)
        if place % every == 0
    ]


def _key(steps: Sequence[Step], axis: Axis) -> Markup:
    met = [role for role in ORDER if any(abs(step.parts.get(role, 0)) >= _SEEN for step in steps)]
    zones = [name for name, _end in _zones(axis, steps)]
    entries = [(role, _(SHARES[role])) for role in met]
    if "zone-low" in zones:
        entries.append(("zone-low", _("its square is lost beside the largest in float32")))
    if "zone-lost" in zones:
        entries.append(("zone-lost", _("it is itself lost beside the largest in float32")))
    return key(entries)


def _explained(layers: int, rows: int) -> list[str]:
    said = _(
        "Each row begins at the gradient that arrives at a layer's output; its bars show by how many "
        "decades each part of the layer changes it on the way to the input (left: smaller)."
    )
    if rows == layers:
        return [said]
    binned = ngettext(
        "{count} layers are drawn in {rows} rows, neighbours together.",
        "{count} layers are drawn in {rows} rows, neighbours together.",
        layers,
    )
    return [f"{said} {filled(binned, count=layers, rows=rows)}"]


def _table(layers: Sequence[Layer]) -> Markup:
    steps = steps_of(layers, TABLED if len(layers) <= TABLED else TABLED // 2)
    roles = [role for role in ORDER if any(step.parts.get(role) for step in steps)]
    predicted = any(step.predicted is not None for step in steps)
    heads = [_("layer"), _("log10 of the gradient"), *(_(SHARES[role]) for role in roles), _("sum")]
    rows = [
        [
            step.name,
            _("zero") if step.zero else _number(step.level),
            *(figure(step.parts.get(role, 0.0), "+.2f") for role in roles),
            figure(step.total, "+.2f"),
            *([_number(step.predicted, "+.2f")] if predicted else []),
        ]
        for step in steps
    ]
    said = _("Decades by which each part changes the gradient, from the loss down to the input.")
    return figures_table([*heads, *([_("theory")] if predicted else [])], rows, said)


def _number(value: float | None, form: str = ".2f") -> str | None:
    return None if value is None else figure(value, form)
