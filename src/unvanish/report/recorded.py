"""What a recording says, line by line: verdict, alarms, what a guard did, cost, conditions."""

from collections.abc import Mapping

from unvanish.causes import explain
from unvanish.errors import UnvanishError
from unvanish.languages import figure, filled, marked, ngettext, recognised
from unvanish.languages import gettext as _
from unvanish.recording import Event
from unvanish.recording.endings import Ending
from unvanish.recording.summary import Actions, Alarm, Summary
from unvanish.report.evidence import numbers
from unvanish.report.sentences import fill

_MOST_ERROR = 60
_MOST_ENDINGS = 4
_WORD = {
    "broken": marked("Broken"),
    "harmful": marked("Harmful"),
    "note": marked("Note"),
    "": marked("Alarm"),
}
"""The word that a verdict begins with."""
_CHANGES = (
    "learning_rate_factor",
    "learning_rate_step",
    "loss_scale_factor",
    "loss_scale_step",
    "loss_deviations",
    "loss_spike_step",
    "gradient_factor",
    "gradient_step",
)
"""What an alarm measures of the steps up to the one it began at."""


def verdict(summary: Summary) -> tuple[str, str]:
    """How bad it is (a severity, ``"good"``, or ``"unknown"``), and the verdict in one sentence."""
    if not summary.steps:
        said = _("No verdict: no step was recorded yet.")
        return "unknown", f"{said} {_ended(summary)}" if summary.endings else said
    standing = summary.standing
    if not standing and summary.endings:
        return "unknown", f"{_ended(summary)} {_quiet(summary, _no_alarm(summary.steps))}"
    if not standing:
        return "good", _quiet(summary, _healthy(summary.steps))
    first = standing[0]
    said = _("{word}: {name} at step {step:,}{place}{more}.")
    if first.over is None and "onset" in first.evidence:
        said = _("{word}: {name} since step {step:,}{place}{more}.")
    more = ngettext("; {count} more below", "; {count} more below", len(standing) - 1)
    values = {
        "word": _(_WORD[first.severity]),
        "name": first.name,
        "step": first.since if first.over is None else first.step,
        "place": placed(first.where),
        "more": filled(more, count=len(standing) - 1) if len(standing) > 1 else "",
    }
    ended = f" {_ended(summary)}" if summary.endings else ""
    return first.severity, filled(said, values) + ended


def _healthy(steps: int) -> str:
    said = ngettext(
        "Healthy: no alarm stands after {count:,} step",
        "Healthy: no alarm stands after {count:,} steps",
        steps,
    )
    return filled(said, count=steps)


def _no_alarm(steps: int) -> str:
    said = ngettext(
        "No alarm stands after {count:,} step", "No alarm stands after {count:,} steps", steps
    )
    return filled(said, count=steps)


def _quiet(summary: Summary, said: str) -> str:
    """What was said of no alarm standing, with what is known beside."""
    over = sum(alarm.over is not None for alarm in summary.alarms)
    if over:
        earlier = ngettext(
            "({count} earlier alarm is over)", "({count} earlier alarms are over)", over
        )
        said += f" {filled(earlier, count=over)}"
    if summary.look is not None and not summary.look_serious:
        looked = _("; the deep look at step {step:,} found nothing")
        said += filled(looked, step=summary.look)
    return f"{said}."


def _ended(summary: Summary) -> str:
    """Which processes ended early, when and how; of many the first ones, and how many more.

    Which of them made the others end is not said: the last steps of one that was killed are lost.
    """
    endings = summary.endings[:_MOST_ENDINGS]
    others = len(summary.endings) - len(endings)
    said = _("Ended early: {ending}{more}.")
    more = ngettext("; {count} more process", "; {count} more processes", others)
    more = filled(more, count=others) if others else ""
    return filled(said, ending="; ".join(map(_ending, endings)), more=more)


def _ending(ending: Ending) -> str:
    rank = _("the process") if ending.rank is None else _("rank {rank}")
    values = {"who": filled(rank, rank=ending.rank), "step": ending.step}
    if ending.error:
        cut = len(ending.error) > _MOST_ERROR
        values["error"] = ending.error[:_MOST_ERROR] + " ..." * cut
        return filled(_("{who} raised at step {step:,} ({error})"), values)
    if ending.step is None:
        return filled(_("{who} ended before its first step"), values)
    said = _("{who} ended without closing its recording, whose last step is {step:,}")
    return filled(said, values)


def sentence_of(alarm: Alarm | Event) -> str:
    """The card's sentence with this alarm's numbers; empty where some of them were not measured.

    Empty as well for a consequence: its own words say what it follows from.
    """
    if "because_onset" in alarm.evidence:
        return ""
    try:
        said = fill(_(explain(alarm.name).says), alarm.evidence, alarm.where, alarm.detail or None)
    except (UnvanishError, KeyError, ValueError):
        return ""
    return "" if "?" in said else said


def evidence_of(evidence: Mapping[str, float]) -> str:
    """What was measured, each number with its name."""
    said = "; ".join(f"{name} {figure}" for name, figure in numbers(evidence))
    return filled(_("measured: {numbers}"), numbers=said) if said else ""


def changed_before(alarm: Alarm) -> str:
    """What changed just before, for alarms whose own words do not say it."""
    if "Just before" in alarm.detail:
        return ""
    changed = {key: alarm.evidence[key] for key in _CHANGES if key in alarm.evidence}
    said = "; ".join(f"{name} {figure}" for name, figure in numbers(changed))
    return filled(_("Just before: {numbers}."), numbers=said) if said else ""


def acted(actions: Actions) -> str:
    """What one policy of a guard did."""
    values = {"policy": actions.policy, "first": actions.first, "last": actions.last}
    values |= {"count": actions.count, "detail": recognised(actions.detail)}
    if actions.count == 1:
        said = _("{policy} acted at step {first:,}")
        return filled(f"{said}; {{detail}}" if actions.detail else said, values)
    said = ngettext(
        "{policy} acted {count:,} times, steps {first:,} to {last:,}",
        "{policy} acted {count:,} times, steps {first:,} to {last:,}",
        actions.count,
    )
    return filled(said + (_("; the last: {detail}") if actions.detail else ""), values)


def placed(where: tuple[str, ...]) -> str:
    """Where, as the end of a sentence; empty where no place is known."""
    if not where:
        return ""
    if len(where) == 1:
        return filled(_(" in {place}"), place=where[0])
    more = len(where) - 1
    said = ngettext(" in {place} and {count} more", " in {place} and {count} more", more)
    return filled(said, place=where[0], count=more)


def recorded(summary: Summary) -> list[str]:
    """How much, how long, at what cost, where; one line each."""
    facts = [_span(summary)] if summary.steps else []
    if summary.loss is not None:
        said = _("loss {first:.4g} at first, {last:.4g} at last")
        facts.append(filled(said, first=summary.loss[0], last=summary.loss[1]))
    if summary.watch_share is not None:
        said = _(
            "watching took {percent:.1f} % of the time (median {own:.2g} of {whole:.3g} ms a step)"
        )
        values = {
            "percent": 100 * summary.watch_share,
            "own": summary.watch_milliseconds,
            "whole": summary.step_milliseconds,
        }
        facts.append(filled(said, values))
    facts += _state(summary)
    known = [f"{name} {value}" for name, value in summary.conditions.items() if value or value == 0]
    if known:
        facts.append(", ".join(known))
    facts.append(summary.path)
    names = list(dict.fromkeys(alarm.name for alarm in summary.standing))[:2]
    more = _("more: unvanish explain {name}")
    return facts + [filled(more, name=name) for name in names if title_of(name)]


def _span(summary: Summary) -> str:
    """How many steps of how many tensors, in what time and space."""
    said = ngettext(
        "{count:,} step ({first:,} to {last:,})",
        "{count:,} steps ({first:,} to {last:,})",
        summary.steps,
    )
    steps = filled(said, count=summary.steps, first=summary.first_step, last=summary.last_step)
    if summary.seconds is not None:
        steps = filled(_("{steps} in {time}"), steps=steps, time=_duration(summary.seconds))
    tensors = ngettext("{count:,} tensors", "{count:,} tensors", summary.tensors)
    tensors = filled(tensors, count=summary.tensors)
    return f"{steps}, {tensors}, {_size(summary.bytes)}"


def _state(summary: Summary) -> list[str]:
    said = (
        _("begun {when}, closed")
        if summary.finished
        else _("begun {when}, not closed: still being written, or its program was killed")
    )
    facts = [filled(said, when=summary.started or _("at an unknown time"))]
    if summary.thinned:
        each = _("{kind} to every {step:,}th")
        kinds = [filled(each, kind=kind, step=1 << deep) for kind, deep in summary.thinned.items()]
        said = _("old steps were thinned to keep the file small: {kinds}")
        facts.append(filled(said, kinds=", ".join(kinds)))
    if summary.lost:
        kinds = [f"{figure(count, ',')} {kind}" for kind, count in summary.lost.items()]
        said = _("the disk was too slow for all of it; dropped: {kinds}")
        facts.append(filled(said, kinds=", ".join(kinds)))
    return facts


def _duration(seconds: float) -> str:
    if seconds < 60:
        return filled(_("{seconds:.1f} s"), seconds=seconds)
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return filled(_("{hours} h {minutes:02d} min"), hours=hours, minutes=minutes)
    return filled(_("{minutes} min {seconds:02d} s"), minutes=minutes, seconds=rest)


def _size(count: int) -> str:
    if count >= 1 << 20:
        return filled(_("{size:.1f} MiB"), size=count / (1 << 20))
    return filled(_("{size:.0f} KiB"), size=count / 1024)


def title_of(name: str) -> str:
    """The title of a card; empty where there is none of this name."""
    try:
        return _(explain(name).title)
    except (UnvanishError, KeyError):
        return ""
