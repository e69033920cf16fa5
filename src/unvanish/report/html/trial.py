"""A paired trial as pictures: a dot for every pair, their mean and its interval, both arms learning."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from unvanish.languages import figure, filled, marked, recognised
from unvanish.languages import gettext as _
from unvanish.report.html.axis import Axis, axis_of
from unvanish.report.html.chart import Line, chart
from unvanish.report.html.markup import Markup, tag
from unvanish.report.html.picture import (
    box,
    figures_table,
    key,
    letters,
    panel,
    picture,
    short,
    upright,
)

if TYPE_CHECKING:
    from unvanish.trial.verdict import Pair, Verdict

_WORDS = {
    "helped": marked("It helped"),
    "no effect": marked("No effect"),
    "worse": marked("It made things worse"),
    "undecided": marked("Undecided"),
}
_ROW = 20.0
_LEFT = 24.0
_MOST = 40


def trial_parts(verdict: "Verdict") -> list[Markup]:
    """The word, the figures and the pictures of a trial."""
    word = tag("span", _(_WORDS[verdict.word]), class_=f"badge {verdict.word.replace(' ', '-')}")
    parts = [tag("p", word, " ", _headline(verdict))]
    drawn = (_("Difference of each pair"), _pairs(verdict)), (_("Training loss"), _curves(verdict))
    pictures = [tag("div", tag("h3", heading), one) for heading, one in drawn if one is not None]
    if pictures:
        parts.append(tag("div", *pictures, class_="pair"))
    parts.append(tag("ul", *(tag("li", line) for line in _figures(verdict))))
    return parts


def metric_of(verdict: "Verdict") -> str:
    """What the trial compares, in words."""
    if verdict.basis == "training":
        return _("the share of the training loss that is gone")
    said = _("held-out {metric}") if verdict.unseen else _("training {metric}")
    return filled(said, metric=recognised(verdict.metric))


def _headline(verdict: "Verdict") -> str:
    if not verdict.pairs or verdict.difference is None:
        return _("No seed was finished by both arms.")
    values = {"metric": metric_of(verdict), "difference": verdict.difference}
    if verdict.interval is None:
        said = _("{metric} differs by {difference:+.4g} (positive: the treated one is better).")
        return filled(said, values)
    low, high = verdict.interval
    said = _(
        "{metric} differs by {difference:+.4g} (positive: the treated one is better), 95 % interval "
        "{low:+.4g} to {high:+.4g}."
    )
    return filled(said, values | {"low": low, "high": high})


def _pairs(verdict: "Verdict") -> Markup | None:
    """A dot for each seed, the mean with its interval, the margin that matters."""
    pairs = [pair for pair in verdict.pairs if math.isfinite(pair.difference)]
    if not pairs or verdict.difference is None:
        return None
    interval = verdict.interval or (verdict.difference, verdict.difference)
    margin = verdict.margin or 0.0
    axis = _differences(pairs, interval, margin)
    shown, bottom = pairs[:_MOST], 16 + (min(len(pairs), _MOST) + 1) * _ROW
    inside: list[Markup] = [
        box(axis.place(-margin), 0, axis.place(margin) - axis.place(-margin), bottom, "zone-low"),
        *(upright(axis.place(tick), 0, bottom, "grid") for tick in axis.ticks(4)),
        upright(axis.place(0), 0, bottom, "base"),
    ]
    aside: list[Markup] = []
    for place, pair in enumerate(shown):
        y = 8 + (place + 0.5) * _ROW
        inside.append(_dot(axis, pair.difference, y, 4.5, "control"))
        name = filled(_("seed {seed}"), seed=pair.seed)
        aside.append(letters(_LEFT, y + 4, name, "label-end", -8))
    y = 8 + (len(shown) + 0.5) * _ROW
    inside += [_whisker(axis, interval, y), _dot(axis, verdict.difference, y, 6.5, "treated")]
    aside.append(letters(_LEFT, y + 4, _("mean"), "end", -8))
    inside += [
        letters(axis.place(t), bottom + 14, figure(t, "+.4g" if t else "g"), "tick")
        for t in axis.ticks(4)
    ]
    return picture(
        _("Difference of each pair"),
        _headline(verdict),
        bottom + 20,
        panel(_LEFT, 0, 100 - _LEFT - 2, bottom + 20, *inside),
        *aside,
        table=_table(verdict),
        caption=[
            key([("control", _("one pair")), ("treated", _("mean and its 95 % interval")),
                 ("zone-low", _("too small to matter"))]),
            _("Right of zero the treated model is better, under the same seed and the same batches."),
        ],
    )  # fmt: skip


def _differences(pairs: "Sequence[Pair]", interval: tuple[float, float], margin: float) -> Axis:
    """Wide enough for every pair, the interval, the margin and zero."""
    ends = [*(pair.difference for pair in pairs), *interval, -margin, margin, 0.0]
    return axis_of(ends, least=max(max(map(abs, ends)), 1e-9))


def _dot(axis: Axis, value: float, y: float, size: float, class_: str) -> Markup:
    return tag(
        "circle",
        tag("title", figure(value, "+.4g")),
        cx=f"{short(axis.place(value))}%",
        cy=short(y),
        r=short(size),
        class_=class_,
    )


def _whisker(axis: Axis, interval: tuple[float, float], y: float) -> Markup:
    low, high = (f"{short(axis.place(end))}%" for end in interval)
    return tag("line", x1=low, x2=high, y1=short(y), y2=short(y), class_="whisker")


def _table(verdict: "Verdict") -> Markup:
    def said(value: float | None) -> str:
        return _("diverged") if value is None else figure(value, ".4g")

    rows: list[Sequence[object]] = [
        [
            filled(_("seed {seed}"), seed=pair.seed),
            *map(said, pair.compared),
            figure(pair.difference, "+.4g"),
        ]
        for pair in verdict.pairs
    ]
    means = [None if mean is None else figure(mean, ".4g") for mean in verdict.compared]
    rows.append([_("mean"), *means, figure(verdict.difference, "+.4g")])
    return figures_table(["", _("before"), _("treated"), _("difference")], rows)


def _curves(verdict: "Verdict") -> Markup | None:
    """The training loss of every run, and the median of each arm."""
    if not all(verdict.curves):
        return None
    lines: list[Line] = []
    every = max(-(-verdict.steps // 50), 1)  # a point is the mean of so many steps
    arms = (
        ("control", [p.control for p in verdict.pairs]),
        ("treated", [p.treated for p in verdict.pairs]),
    )
    for class_, runs in arms:
        for run in runs[:_MOST]:
            lines.append(_line(f"{class_} faint", run.losses, every))
    for (class_, _runs), median in zip(arms, verdict.curves, strict=True):
        lines.append(_line(class_, median, every))
    values = [y for line in lines for y in line.y if y > 0]
    power = bool(values) and max(values) > 50 * min(values)
    lines = [_logarithm(line) for line in lines] if power else lines
    across = Axis(0, max(verdict.steps, 1))
    first, last = ([figure(c[place], ".3g") for c in verdict.curves] for place in (0, -1))
    said = filled(
        _("Before: from {a} to {b}; treated: from {c} to {d}."),
        a=first[0], b=last[0], c=first[1], d=last[1],
    )  # fmt: skip
    least = 1.0 if power else 1e-6
    up = axis_of([y for line in lines for y in line.y], least=least)
    return picture(
        _("Training loss"),
        said,
        220,
        *chart(lines, 220, across=across, up=up, power=power),
        table=_curves_table(verdict, every),
        caption=[
            key([("control", _("before")), ("treated", _("treated"))]),
            _("Thin: each seed; thick: the median. Across: steps."),
            " ",
            said,
        ],
    )


def _logarithm(line: Line) -> Line:
    levels = [math.log10(y) if y > 0 else math.nan for y in line.y]
    return Line(class_=line.class_, x=line.x, y=levels)


def _line(class_: str, losses: Sequence[float], every: int) -> Line:
    return Line(class_=class_, x=[(place + 0.5) * every for place in range(len(losses))], y=losses)


def _curves_table(verdict: "Verdict", every: int) -> Markup:
    rows = [
        [figure(place * every, ","), figure(one, ".4g"), figure(other, ".4g")]
        for place, (one, other) in enumerate(zip(*verdict.curves, strict=False))
    ]
    return figures_table([_("step"), _("before, median"), _("treated, median")], rows)


def _figures(verdict: "Verdict") -> list[str]:
    """What the interval does not say."""
    lines: list[str] = []
    if verdict.margin is not None:
        lines.append(filled(_("A difference matters from {margin:.2g} on."), margin=verdict.margin))
    if verdict.p is not None:
        lines.append(filled(_("Sign-flip test: p = {p:.3g}."), p=verdict.p))
    if verdict.zero_skill is not None and verdict.basis == "held-out":
        said = _("The best constant answer reaches {value:.4g}.")
        lines.append(filled(said, value=verdict.zero_skill))
    if any(verdict.diverged):
        said = _("Diverged: {before} runs before, {treated} treated; they count as the worst.")
        before, treated = verdict.diverged
        lines.append(filled(said, before=before, treated=treated))
    said = _(
        "{done} of {planned} seeds, {steps:,} steps each on the same batches, judged on {held:,} "
        "samples, {seconds:.1f} s."
    )
    values = {"done": len(verdict.pairs), "planned": verdict.planned, "steps": verdict.steps}
    values |= {"held": verdict.held_out}
    lines.append(filled(said, values | {"seconds": verdict.seconds}))
    return [*lines, *map(recognised, verdict.notes)]
