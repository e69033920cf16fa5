"""What a recording holds besides its verdict: steps, time, cost, state, conditions."""

from unvanish.causes import explain
from unvanish.errors import UnvanishError
from unvanish.languages import figure, filled, ngettext
from unvanish.languages import gettext as _
from unvanish.recording.summary import Summary


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
