"""A small form for notebooks: the verdict, a small profile, the findings.

Jupyter, VS Code, Colab and marimo each have their own style, and some take styles and scripts away: so
there is no script and no style sheet, letters have the colour of the notebook around them, and badges
bring their own ground.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from unvanish.languages import figure, filled, ngettext, speaking, spoken
from unvanish.languages import gettext as _
from unvanish.report.html.axis import Axis
from unvanish.report.html.markup import Markup, tag
from unvanish.report.html.picture import percent, short
from unvanish.report.html.stairs import Step, description, steps_of
from unvanish.report.sections import SEVERITY, SHARES, places, verdict
from unvanish.report.sentences import sentence

if TYPE_CHECKING:
    from unvanish.causes.cause import Finding
    from unvanish.diagnosis import Diagnosis
    from unvanish.trace import Layer

# White on these, and these on white and on black, are all readable.
_BADGE = {"broken": "#a8201a", "harmful": "#7d5000", "note": "#2b5f75", "good": "#1c6b3a"}
_COLOURS = {
    "activation": "#d1495b",
    "norm": "#2a9d6f",
    "residual": "#8a5fc0",
    "weight": "#3a86c0",
    "rest": "#8a8f98",
}
_FRAME = (
    "border-left:5px solid {colour};padding:4px 12px;margin:4px 0;font-family:system-ui,sans-serif"
)
_ROWS = 40
_MOST = 5


def diagnosis_cell(diagnosis: "Diagnosis") -> str:
    """What a notebook shows of a diagnosis, in the language that the environment says."""
    with speaking():
        return _diagnosis(diagnosis)


def _diagnosis(diagnosis: "Diagnosis") -> str:
    severity, said = verdict(diagnosis)
    found = [f for f in diagnosis.findings if f.name != "blind-spot"]
    # The sentence of the first one is the verdict already.
    first = diagnosis.findings[0] if diagnosis.findings else None
    items = [_finding(finding, finding is not first) for finding in found[:_MOST]]
    rest = len(found) - _MOST
    more = ngettext("and {count} more", "and {count} more", rest)
    return _framed(
        severity,
        _bold(said),
        tag("ul", *items, style="margin:6px 0") if items else None,
        tag("div", filled(more, count=rest)) if rest > 0 else None,
        _profile(diagnosis.trace.layers),
        _hint(_("The whole report: diagnosis.report('report.html')")),
    )


def outcome_cell(severity: str, said: str, lines: Sequence[str]) -> str:
    """What a notebook shows of a treatment: how it ended, and what was changed."""
    return _framed(
        severity,
        _bold(said),
        tag("ul", *(tag("li", line) for line in lines), style="margin:6px 0") if lines else None,
        _hint(_("The whole report: treatment.report('report.html')")),
    )


def _framed(severity: str, *children: object) -> str:
    style = _FRAME.format(colour=_BADGE.get(severity, "#7b8594"))
    return tag("div", *children, style=style, lang=spoken())


def _bold(said: str) -> Markup:
    return tag("div", said, style="font-weight:600;font-size:1.1em;margin:2px 0")


def _hint(said: str) -> Markup:
    return tag("div", said, style="opacity:.8;font-size:.9em;margin-top:4px")


def _finding(finding: "Finding", told: bool) -> Markup:
    colour = _BADGE.get(finding.severity, "#4d5868")
    badge = f"background:{colour};color:#fff;border-radius:8px;padding:0 7px;font-size:.85em"
    reason = filled(_("follows from {cause}"), cause=finding.because) if finding.because else ""
    where = places(finding.where, 3)
    return tag(
        "li",
        tag("span", _(SEVERITY[finding.severity]), style=badge),
        " ",
        tag("b", finding.name),
        f" ({finding.code}). ",
        reason or (sentence(finding) if told or finding.severity == "note" else None),
        tag("div", where, style="opacity:.8;font-family:monospace;font-size:.9em")
        if where
        else None,
    )


def _profile(layers: Sequence["Layer"]) -> Markup | None:
    """The waterfall without names: one thin row a layer, in a folded part."""
    steps = [step for step in steps_of(layers, _ROWS) if step.level is not None]
    if len(steps) < 2:
        return None
    levels = [level for step in steps for level in step.passed]
    axis = Axis(min(levels, default=0.0) - 0.2, max(levels, default=1.0) + 0.2)
    tall = max(4, min(10, 240 // len(steps)))
    bars = [_bar(step, axis, place * tall, tall) for place, step in enumerate(steps)]
    svg = tag(
        "svg",
        tag("title", description(layers)),
        *bars,
        role="img",
        width="100%",
        height=str(tall * len(steps)),
        style="max-width:640px;display:block",
    )
    return tag(
        "details",
        tag("summary", _("Gradient over depth"), style="cursor:pointer"),
        svg,
        tag("div", *_colours(steps), style="font-size:.9em"),
        tag("div", description(layers), style="opacity:.8;font-size:.9em"),
        open=True,
        style="margin-top:4px",
    )


def _colours(steps: Sequence[Step]) -> list[Markup]:
    met = [
        role for role in _COLOURS if any(abs(step.parts.get(role, 0)) >= 0.005 for step in steps)
    ]
    square = "display:inline-block;width:.8em;height:.8em;background:{};margin:0 .3em 0 0"
    return [
        tag(
            "span",
            tag("span", style=square.format(_COLOURS[role])),
            _(SHARES[role]),
            style="margin-right:1em",
        )
        for role in met
    ]


def _bar(step: Step, axis: Axis, y: float, tall: float) -> Markup:
    at = step.level or 0.0
    parts = [tag("title", f"{step.name}: {figure(step.level, '.2f')}")]
    shown = [(role, size) for role, size in step.parts.items() if abs(size) >= 0.005]
    if step.zero or not math.isfinite(at):
        shown = []
    lane = (tall - 1) / max(len(shown), 1)
    for number, (role, size) in enumerate(shown):
        left, right = sorted((axis.place(at), axis.place(at + size)))
        parts.append(
            tag(
                "rect",
                x=percent(left),
                width=percent(right - left),
                y=short(y + number * lane),
                height=short(lane),
                fill=_COLOURS[role],
            )
        )
        at += size
    return tag("g", *parts)
