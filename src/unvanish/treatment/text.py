"""A treatment in words for a terminal: what was found, tried, done and proved."""

from typing import TYPE_CHECKING

from unvanish.languages import figure, filled, ngettext, recognised, speaking
from unvanish.languages import gettext as _
from unvanish.surgery.describe import describe

if TYPE_CHECKING:
    from unvanish.treatment.record import Treatment, Tried

_MOST = 8


def render(treatment: "Treatment", language: str | None = None) -> str:
    """The report as plain text; ``language`` as in :func:`unvanish.languages.speaking`."""
    with speaking(language):
        return "\n".join(_lines(treatment))


def _lines(treatment: "Treatment") -> list[str]:
    lines = [recognised(treatment.said), ""]
    harmful = [f for f in treatment.before.findings if f.severity != "note"]
    if harmful:
        named = dict.fromkeys(f"{f.code} {f.name}" for f in harmful)
        lines += [filled(_("Found before: {names}"), names=", ".join(named))]
    if treatment.edits:
        lines += ["", _("The cure") if treatment.cured else _("The edits")]
        lines += [f"  {number}. {describe(e)}" for number, e in enumerate(treatment.edits, 1)]
        changed = treatment.changes_architecture
        kept = _("changes the architecture") if changed else _("no module changes")
        lines += [f"  ({kept})"]
    if treatment.verdict is not None:
        lines += ["", *str(treatment.verdict).splitlines()]
    lines += _tried(treatment)
    for heading, said in ((_("For you to do"), treatment.advice), (_("Notes"), treatment.notes)):
        if said:
            lines += ["", heading, *(f"  - {recognised(sentence)}" for sentence in said)]
    return lines


def _tried(treatment: "Treatment") -> list[str]:
    if not treatment.trials:
        return []
    told = [t for t in treatment.trials if t.out != "the same as another"]
    ranked = sorted(told, key=lambda t: (t.score is None, -(t.score or 0.0)))
    lines = ["", filled(_("Tried ({count}, the best first)"), count=len(ranked))]
    lines += [f"  {_row(tried)}" for tried in ranked[:_MOST]]
    rest = len(ranked) - _MOST
    if rest > 0:
        more = ngettext(
            "... and {count} more, given up earlier", "... and {count} more, given up earlier", rest
        )
        lines += ["  " + filled(more, count=rest)]
    return lines


def _row(tried: "Tried") -> str:
    name = " + ".join(dict.fromkeys(tried.remedies))
    settings = [e for e in tried.edits if e.action in ("optimizer", "step") and not e.where]
    if settings:
        name += f" ({', '.join(describe(e).partition(': ')[2] for e in settings)})"
    each = _("{loss:.3g} at {steps}")
    losses = [filled(each, loss=value, steps=steps) for steps, value in tried.losses.items()]
    said = filled(_("loss {losses}"), losses=", ".join(losses)) if losses else _("not trained")
    if tried.score is not None:
        said += f"; {filled(_('score {score}'), score=figure(tried.score, '.4g'))}"
    if tried.left:
        said += f"; {filled(_('leaves {names}'), names=', '.join(tried.left))}"
    if tried.out:
        said += f"; {recognised(tried.out)}"
    return f"{name:<44} {said}"
