"""A treatment in words for a terminal: what was found, tried, done and proved."""

from typing import TYPE_CHECKING

from unvanish.surgery.describe import describe

if TYPE_CHECKING:
    from unvanish.treatment.record import Treatment, Tried

_MOST = 8


def render(treatment: "Treatment") -> str:
    """The report as plain text."""
    lines = [treatment.said, ""]
    harmful = [f for f in treatment.before.findings if f.severity != "note"]
    if harmful:
        named = dict.fromkeys(f"{f.code} {f.name}" for f in harmful)
        lines += [f"Found before: {', '.join(named)}"]
    if treatment.edits:
        lines += ["", "The cure" if treatment.cured else "The edits"]
        lines += [f"  {number}. {describe(e)}" for number, e in enumerate(treatment.edits, 1)]
        kept = "changes the architecture" if treatment.changes_architecture else "no module changes"
        lines += [f"  ({kept})"]
    if treatment.verdict is not None:
        lines += ["", *str(treatment.verdict).splitlines()]
    lines += _tried(treatment)
    for heading, said in (("For you to do", treatment.advice), ("Notes", treatment.notes)):
        if said:
            lines += ["", heading, *(f"  - {sentence}" for sentence in said)]
    return "\n".join(lines)


def _tried(treatment: "Treatment") -> list[str]:
    if not treatment.trials:
        return []
    told = [t for t in treatment.trials if t.out != "the same as another"]
    ranked = sorted(told, key=lambda t: (t.score is None, -(t.score or 0.0)))
    lines = ["", f"Tried ({len(ranked)}, the best first)"]
    lines += [f"  {_row(tried)}" for tried in ranked[:_MOST]]
    if len(ranked) > _MOST:
        lines += [f"  ... and {len(ranked) - _MOST} more, given up earlier"]
    return lines


def _row(tried: "Tried") -> str:
    name = " + ".join(dict.fromkeys(tried.remedies))
    settings = [e for e in tried.edits if e.action in ("optimizer", "step") and not e.where]
    if settings:
        name += f" ({', '.join(describe(e).partition(': ')[2] for e in settings)})"
    losses = ", ".join(f"{value:.3g} at {steps}" for steps, value in tried.losses.items())
    said = f"loss {losses}" if losses else "not trained"
    if tried.score is not None:
        said += f"; score {tried.score:.4g}"
    if tried.left:
        said += f"; leaves {', '.join(tried.left)}"
    if tried.out:
        said += f"; {tried.out}"
    return f"{name:<44} {said}"
