"""The report of a treatment: what was done, the proof, the patch, the gradient before and after."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from unvanish.languages import figure, filled, recognised, speaking
from unvanish.languages import gettext as _
from unvanish.report.html.axis import Axis
from unvanish.report.html.chart import Line, chart
from unvanish.report.html.document import Section, document, listed, section
from unvanish.report.html.markup import Markup, joined, tag
from unvanish.report.html.notebook import outcome_cell
from unvanish.report.html.page import diagnosis_sections, foot
from unvanish.report.html.picture import figures_table, key, number_pictures, picture
from unvanish.report.html.trial import trial_parts
from unvanish.report.sections import verdict
from unvanish.surgery.describe import describe

if TYPE_CHECKING:
    from unvanish.diagnosis import Diagnosis
    from unvanish.trace import Layer
    from unvanish.treatment import Treatment
    from unvanish.treatment.record import Tried

_TRIED = 40


def treatment_page(treatment: "Treatment", language: str | None = None) -> str:
    """The whole report; ``language`` as in :func:`unvanish.languages.speaking`."""
    with speaking(language):
        number_pictures()
        return document(
            _("Treatment report"),
            _("What makes it learn?"),
            (_severity(treatment), _said(treatment)),
            *_sections(treatment),
            foot=foot(),
        )


def treatment_cell(treatment: "Treatment") -> str:
    """What a notebook shows of a treatment, in the language that the environment says."""
    with speaking():
        lines = [recognised(said) for said in treatment.told]
        return outcome_cell(_severity(treatment), _said(treatment), lines)


def _said(treatment: "Treatment") -> str:
    said = recognised(treatment.said)
    return said[:1].upper() + said[1:]


def _severity(treatment: "Treatment") -> str:
    return "good" if treatment.cured or treatment.well else "harmful"


def _sections(treatment: "Treatment") -> list[Section | None]:
    return [
        _cure(treatment),
        _trial(treatment),
        _compared(treatment.before, treatment.after) if treatment.edits else None,
        _patch(treatment),
        _tried(treatment.ranked),
        listed("advice", _("For you to do"), [recognised(s) for s in treatment.advice]),
        listed("notes", _("Notes"), [recognised(s) for s in treatment.notes]),
        _diagnosis("before", _("The diagnosis before"), treatment.before),
        _diagnosis("after", _("The diagnosis after"), treatment.after) if treatment.edits else None,
    ]


def _cure(treatment: "Treatment") -> Section | None:
    if not treatment.edits:
        return None
    edits = tag("ol", *(tag("li", recognised(said)) for said in treatment.told))
    heading = _("The cure") if treatment.cured else _("The edits")
    return section("cure", heading, edits, tag("p", _kept(treatment), class_="soft"))


def _kept(treatment: "Treatment") -> str:
    if treatment.only_mends_wiring:
        return _("This mends the wiring: no layer is exchanged.")
    if treatment.changes_architecture:
        return _("This changes the architecture.")
    return _("No module changes: the function that the model computes stays of its kind.")


def _trial(treatment: "Treatment") -> Section | None:
    """The verdict; of which plan, where it is not that of the cure above."""
    if treatment.verdict is None:
        return None
    parts = trial_parts(treatment.verdict)
    if treatment.on_trial is not None and not treatment.cured:
        plan = filled(_("On trial: {plan}"), plan=treatment.on_trial.name)
        parts = [tag("p", plan), *parts]
    return section("trial", _("The trial"), *parts)


def _compared(before: "Diagnosis", after: "Diagnosis") -> Section | None:
    """Both depth profiles in one picture, from the loss (left) to the input."""
    curves = [_levels(one.trace.layers) for one in (before, after)]
    gone = _names_gone(before, after)
    if any(len(curve) < 2 for curve in curves):
        return section("compared", _("Before and after"), gone) if gone else None
    lines = [
        Line(class_=class_, x=[100 * k / (len(curve) - 1) for k in range(len(curve))], y=curve)
        for class_, curve in zip(("control", "treated"), curves, strict=True)
    ]
    said = _("From the loss to the input: before {a:+.1f} decades, treated {b:+.1f}.")
    changes = [_change(curve) for curve in curves]
    told = filled(said, a=changes[0], b=changes[1])
    drawn = picture(
        _("Gradient over depth, before and after"),
        told,
        240,
        *chart(lines, 240, across=Axis(0, 100), power=True),
        table=_levels_table(curves),
        caption=[
            key([("control", _("before")), ("treated", _("treated"))]),
            _("Across: depth in per cent, the loss on the left. Up: norm of the gradient."),
            " ",
            told,
        ],
    )
    return section("compared", _("Before and after"), gone, drawn)


def _levels(layers: "Sequence[Layer]") -> list[float]:
    norms = [layer.norm for layer in layers]
    return [math.log10(norm) if norm and math.isfinite(norm) else math.nan for norm in norms]


def _change(levels: Sequence[float]) -> float:
    known = [level for level in levels if math.isfinite(level)]
    return known[-1] - known[0] if known else math.nan


def _levels_table(curves: Sequence[Sequence[float]]) -> Markup:
    def said(curve: Sequence[float], place: int) -> str | None:
        return figure(curve[place], ".2f") if place < len(curve) else None

    rows = [
        [k, said(curves[0], k), said(curves[1], k)] for k in range(min(max(map(len, curves)), 600))
    ]
    return figures_table([_("layer, from the loss"), _("before"), _("treated")], rows)


def _names_gone(before: "Diagnosis", after: "Diagnosis") -> Markup | None:
    was, left = (
        list(dict.fromkeys(f.name for f in one.findings if f.severity != "note"))
        for one in (before, after)
    )
    parts = (
        (_("Gone: {names}."), [name for name in was if name not in left]),
        (_("Still there: {names}."), [name for name in was if name in left]),
        (_("New: {names}."), [name for name in left if name not in was]),
    )
    lines = [tag("li", filled(said, names=", ".join(names))) for said, names in parts if names]
    return tag("ul", *lines) if lines else None


def _patch(treatment: "Treatment") -> Section | None:
    if not treatment.edits:
        return None
    patch = treatment.patch
    by_hand = [
        tag("li", filled(_("by hand: {sentence}"), sentence=recognised(s))) for s in patch.cannot
    ]
    diff = patch.diff.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    parts: list[object] = [tag("ul", *by_hand)] if by_hand else []
    if diff:
        parts += [
            tag("p", _("Apply it with: git apply cure.patch")),
            *_copied("diff", _lines(diff)),
        ]
    script = [tag("summary", _("The same as a script")), *_copied("script", [patch.script])]
    return section("patch", _("The patch"), *parts, tag("details", *script))


def _copied(name: str, text: Sequence[object]) -> list[Markup]:
    """Text with a button that copies it; the button needs a script and is not shown without."""
    button = tag(
        "button",
        _("Copy"),
        type="button",
        hidden=True,
        data_copies=name,
        data_done=_("Copied."),
        data_selected=_("It is selected: copy it with the keyboard."),
    )
    return [
        tag("p", button, tag("span", role="status", class_="soft small")),
        tag("pre", tag("code", *text), id=name, tabindex="0"),
    ]


def _lines(diff: str) -> list[Markup]:
    classes = {"+": "added", "-": "removed"}
    return [
        tag("span", line, class_=classes.get(line[:1]) if line[:3] not in ("+++", "---") else None)
        for line in diff.splitlines(keepends=True)
    ]


def _tried(ranked: "Sequence[Tried]") -> Section | None:
    if not ranked:
        return None
    rows = [
        [
            " + ".join(dict.fromkeys(trial.remedies)),
            "; ".join(recognised(describe(edit)) for edit in trial.edits),
            None if trial.score is None else figure(trial.score, ".4g"),
            ", ".join(f"{figure(loss, '.3g')} @ {steps}" for steps, loss in trial.losses.items()),
            ", ".join(trial.left or ()) or None,
            recognised(trial.out) if trial.out else None,
        ]
        for trial in ranked[:_TRIED]
    ]
    heads = [
        _("remedies"),
        _("edits"),
        _("score"),
        _("training loss @ step"),
        _("leaves"),
        _("given up"),
    ]
    said = _("{count} candidates, the best first")
    if any(trial.score is None for trial in ranked):
        said = _("{count} candidates, the longest trained first, of these the best first")
    title = filled(said, count=len(ranked))
    return section("tried", _("Tried"), figures_table(heads, rows, title=title, class_="tried"))


def _diagnosis(prefix: str, heading: str, diagnosis: "Diagnosis") -> Section:
    """A whole diagnosis, folded, its headings one level deeper than the page's."""
    severity, said = verdict(diagnosis)
    inside = joined(one for one in diagnosis_sections(diagnosis, f"{prefix}-") if one is not None)
    deeper = inside
    for level in (4, 3, 2):
        for mark in ("<", "</"):
            deeper = Markup(deeper.replace(f"{mark}h{level}", f"{mark}h{level + 1}"))
    # The sections of two diagnoses have the same names: they are groups here, no landmarks.
    deeper = Markup(
        deeper.replace("<section ", '<div role="group" ').replace("</section>", "</div>")
    )
    folded = tag("details", tag("summary", _("All of it")), tag("div", deeper, class_="inner"))
    return section(prefix, heading, tag("p", said, class_=f"verdict {severity}"), folded)
