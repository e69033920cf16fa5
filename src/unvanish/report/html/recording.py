"""The report of a recording: the verdict, the gradient over layers and steps, alarms, cost."""

from typing import TYPE_CHECKING

from unvanish.languages import figure, filled, recognised, speaking
from unvanish.languages import gettext as _
from unvanish.report.html.axis import Axis, axis_of
from unvanish.report.html.chart import Line, chart, power_of_ten
from unvanish.report.html.document import Section, document, listed, section
from unvanish.report.html.findings import evidence_list, folded_card, head, places_list
from unvanish.report.html.markup import Markup, tag
from unvanish.report.html.page import foot
from unvanish.report.html.picture import (
    figures_table,
    key,
    letters,
    names_width,
    number_pictures,
    panel,
    percent,
    picture,
    short,
    upright,
)
from unvanish.report.html.steps import heat_picture
from unvanish.report.profile import log10
from unvanish.report.recorded import (
    acted,
    changed_before,
    evidence_of,
    recorded,
    sentence_of,
    title_of,
    verdict,
)

if TYPE_CHECKING:
    from unvanish.recording import Recording
    from unvanish.recording.summary import Alarm, ProfileRow, Summary

_MOST_ALARMS = 50
_ROW = 20.0
_LOSSES = 1000


def recording_page(recording: "Recording", summary: "Summary", language: str | None = None) -> str:
    """The whole report; ``language`` as in :func:`unvanish.languages.speaking`."""
    with speaking(language), recording.snapshot():
        number_pictures()
        return document(
            _("Recording report"),
            _("Did the gradient arrive, step by step?"),
            verdict(summary),
            *_sections(recording, summary),
            foot=foot(),
        )


def _sections(recording: "Recording", summary: "Summary") -> list[Section | None]:
    order = sorted(summary.alarms, key=lambda alarm: (alarm.over is not None, alarm.step))
    alarms = [_alarm(alarm) for alarm in order[:_MOST_ALARMS]]
    heat, losses = heat_picture(recording, order), _losses(recording)
    looked = [_alarm(alarm) for alarm in summary.look_findings]
    notes = [
        filled(
            _("step {step}: {said}"), step=note.step, said=f"{note.name}: {recognised(note.detail)}"
        )
        for note in summary.notes
    ]
    return [
        section("steps", _("Gradient over layers and steps"), heat) if heat else None,
        section("alarms", _("Alarms"), *alarms) if alarms else None,
        section("look", _("Found by the deep look alone"), *looked) if looked else None,
        listed("guard", _("Guard"), [acted(actions) for actions in summary.actions]),
        section("loss", _("Loss"), losses) if losses else None,
        section("profile", _("First steps and last steps"), _profile(summary))
        if summary.profile
        else None,
        listed("notes", _("Notes"), notes),
        listed("recorded", _("Recorded"), recorded(summary)),
    ]


def _alarm(alarm: "Alarm") -> Markup:
    when = _("step {step:,}")
    if alarm.over is not None:
        when = _("step {step:,}, over at step {over:,}")
    said = sentence_of(alarm) or title_of(alarm.name)
    detail = recognised(alarm.detail) if alarm.detail and alarm.detail not in said else ""
    before = changed_before(alarm)
    return tag(
        "article",
        head(alarm.name, alarm.severity, filled(when, step=alarm.step, over=alarm.over)),
        tag("p", said) if said else None,
        tag("p", detail, class_="soft") if detail else None,
        tag("p", before) if before else None,
        evidence_list(alarm.evidence) or tag("p", evidence_of(alarm.evidence)),
        places_list(alarm.where),
        folded_card(alarm.name),
        class_="card",
    )


def _losses(recording: "Recording") -> Markup | None:
    if "loss" not in recording.scalar_names:
        return None
    steps, losses = recording.scalars("loss")
    if len(steps) < 2:
        return None
    x, y = [float(step) for step in steps], [float(loss) for loss in losses]
    every = max(len(x) // _LOSSES, 1)
    rows = [
        [figure(int(step), ","), figure(loss, ".4g")]
        for step, loss in list(zip(x, y, strict=True))[:: every * 4]
    ]
    told = filled(_("From {first:.4g} to {last:.4g}."), first=y[0], last=y[-1])
    return picture(
        _("Loss over steps"),
        told,
        200,
        *chart(
            [Line(class_="weight", x=x[::every], y=y[::every])],
            200,
            across=Axis(x[0], max(x[-1], x[0] + 1)),
            up=axis_of(y, least=1e-6),
        ),
        table=figures_table([_("step"), _("loss")], rows),
        caption=told,
    )


def _profile(summary: "Summary") -> Markup:
    """For each block where its gradient stood at the first steps and stands at the last."""
    rows = summary.profile
    levels = [log10(v) for row in rows for v in row.gradient_rms if v and v > 0]
    axis = axis_of(levels, least=2.0)
    top, height = 24.0, 24.0 + len(rows) * _ROW
    inside: list[Markup] = []
    for tick in axis.powers(6):
        inside += [
            upright(axis.place(tick), top, height, "grid"),
            letters(axis.place(tick), 14, power_of_ten(tick), "tick"),
        ]
    side = names_width(row.block for row in rows)
    names: list[Markup] = []
    for place, row in enumerate(rows):
        y = top + (place + 0.5) * _ROW
        names.append(letters(100, y + 4, row.block, "place"))
        inside += _ends(row, axis, y)
    return picture(
        _("Gradient of each block, first and last steps"),
        _(
            "For each block of the model, log10 of the gradient's root mean square, at first and at last."
        ),
        height + 4,
        panel(side, 0, 100 - side - 1, height + 4, *inside),
        panel(0, 0, side - 1, height + 4, *names),
        table=_profile_table(summary),
        caption=key([("control", _("first steps")), ("treated", _("last steps"))]),
    )


def _ends(row: "ProfileRow", axis: Axis, y: float) -> list[Markup]:
    """Where a block stood at first and stands at last, and the way between."""
    drawn: list[Markup] = []
    # An exact zero has no logarithm; it stands at the left edge, and the numbers say so.
    places = [None if v is None or v != v else axis.place(log10(v)) for v in row.gradient_rms]
    first, last = places
    if first is not None and last is not None:
        drawn.append(
            tag(
                "line",
                x1=percent(first),
                x2=percent(last),
                y1=short(y),
                y2=short(y),
                class_="base",
            )
        )
    for at, class_ in ((first, "control"), (last, "treated")):
        if at is not None:
            drawn.append(tag("circle", cx=percent(at), cy=short(y), r="4.5", class_=class_))
    return drawn


def _profile_table(summary: "Summary") -> Markup:
    def said(value: float | None, form: str) -> str | None:
        if value is None:
            return None
        return "NaN" if value != value else figure(value, form)

    rows = [
        [
            row.block,
            *(said(value, ".2g") for value in row.gradient_rms),
            *(said(value, ".2g") for value in row.update_to_weight),
            *(said(value, ".1%") for value in row.zeros),
        ]
        for row in summary.profile
    ]
    heads = [
        _("block"),
        _("gradient rms, first"),
        _("last"),
        _("update / weight, first"),
        _("last"),
    ]
    return figures_table([*heads, _("zeros, first"), _("last")], rows)
