"""A treatment in words for a terminal: what was found, tried, done and proved."""

import re
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from unvanish.languages import figure, filled, ngettext, recognised, speaking
from unvanish.languages import gettext as _
from unvanish.report.text import WIDTH

if TYPE_CHECKING:
    from unvanish.treatment.record import Treatment, Tried
    from unvanish.trial import Verdict

_MOST = 8
_MARKER = re.compile(r"- |\d+\. ")
_HANGING = 4


def render(treatment: "Treatment", language: str | None = None, width: int = WIDTH) -> str:
    """The report as plain text; ``language`` as in :func:`unvanish.languages.speaking`."""
    with speaking(language):
        return "\n".join(wrapped(line, width) for line in _lines(treatment))


def wrapped(line: str, width: int) -> str:
    """A line in as many as it takes, those that follow further in; no name and no number is cut."""
    words = line.strip()
    inwards = len(line) - len(line.lstrip())
    marker = _MARKER.match(words)
    further = len(marker.group()) if marker else _HANGING
    return textwrap.fill(
        words,
        width,
        initial_indent=" " * inwards,
        subsequent_indent=" " * (inwards + further),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _lines(treatment: "Treatment") -> list[str]:
    lines = [recognised(treatment.said)]
    harmful = [f for f in treatment.before.findings if f.severity != "note"]
    if harmful:
        named = dict.fromkeys(f"{f.code} {f.name}" for f in harmful)
        lines += ["", filled(_("Found before: {names}"), names=", ".join(named))]
    if treatment.edits:
        lines += ["", _("The cure") if treatment.cured else _("The edits")]
        lines += [f"  {number}. {said}" for number, said in enumerate(treatment.told, 1)]
        lines += [f"  ({_kept(treatment)})"]
    if treatment.on_trial is not None and not treatment.cured:
        lines += ["", filled(_("On trial: {plan}"), plan=treatment.on_trial.name)]
    if treatment.verdict is not None:
        lines += ["", *str(treatment.verdict).splitlines(), *_cut_short(treatment.verdict)]
    lines += _tried(treatment)
    for heading, said in ((_("For you to do"), treatment.advice), (_("Notes"), treatment.notes)):
        if said:
            lines += ["", heading, *(f"  - {recognised(sentence)}" for sentence in said)]
    return lines


def _kept(treatment: "Treatment") -> str:
    """How far the edits go."""
    if treatment.only_mends_wiring:
        return _("mends the wiring; no layer is exchanged")
    if treatment.changes_architecture:
        return _("changes the architecture")
    return _("no module changes")


def _tried(treatment: "Treatment") -> list[str]:
    ranked = treatment.ranked
    if not ranked:
        return []
    heading = _("Tried ({count}, the best first)")
    if any(tried.score is None for tried in ranked):
        heading = _("Tried ({count}, the longest trained first, of these the best first)")
    lines = ["", filled(heading, count=len(ranked))]
    lines += [f"  {_row(tried)}" for tried in ranked[:_MOST]]
    rest = len(ranked) - _MOST
    if rest > 0:
        more = ngettext(
            "... and {count} more, given up earlier", "... and {count} more, given up earlier", rest
        )
        lines += ["  " + filled(more, count=rest)]
    return lines


def _cut_short(verdict: "Verdict") -> Sequence[str]:
    """What would have let an undecided trial come to its end."""
    done, planned = len(verdict.pairs), verdict.planned
    ended = f"the time was up after {done} of {planned} seeds"
    if verdict.word != "undecided" or ended not in verdict.notes:
        return ()
    return (_("The budget ended this trial: a larger one (--budget, budget_s=) may decide it."),)


def _row(tried: "Tried") -> str:
    each = _("{loss:.3g} at {steps}")
    losses = [filled(each, loss=value, steps=steps) for steps, value in tried.losses.items()]
    said = filled(_("loss {losses}"), losses=", ".join(losses)) if losses else _("not trained")
    if tried.score is not None:
        said += f"; {filled(_('score {score}'), score=figure(tried.score, '.4g'))}"
    if tried.left:
        said += f"; {filled(_('leaves {names}'), names=', '.join(tried.left))}"
    if tried.out:
        said += f"; {recognised(tried.out)}"
    return f"{tried.name:<44} {said}"
