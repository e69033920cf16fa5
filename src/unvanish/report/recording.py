"""A recording on the terminal: verdict, alarms, what a guard did, profile over depth, cost."""

import io
import math
from collections.abc import Callable, Mapping

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from unvanish.causes import explain
from unvanish.causes.time_profile import FLOOR
from unvanish.errors import UnvanishError
from unvanish.recording.summary import Actions, Alarm, ProfileRow, Summary
from unvanish.report.profile import bar, shortened
from unvanish.report.text import fill

WIDTH = 96
_STYLE = {"broken": "bold red", "harmful": "bold yellow", "note": "cyan", "": "bold"}
_WORD = {"broken": "Broken", "harmful": "Harmful", "note": "Note", "": "Alarm"}
_MOST_ALARMS = 12
_MOST_NOTES = 6
_BAR = 16


def render_recording(summary: Summary, width: int = WIDTH) -> str:
    """The summary as plain text."""
    file = io.StringIO()
    Console(file=file, width=width, color_system=None, force_terminal=False).print(shown(summary))
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


def render_recording_page(summary: Summary) -> str:
    """The summary as one HTML page that opens offline."""
    console = Console(file=io.StringIO(), width=WIDTH, record=True, force_terminal=True)
    console.print(shown(summary))
    return console.export_html(inline_styles=True)


def shown(summary: Summary) -> RenderableType:
    """All parts, top down."""
    parts: list[RenderableType] = [_verdict(summary), Text()]
    parts += _section("Alarms", _alarms(summary))
    parts += _section("Found by the deep look alone", [_alarm(a) for a in summary.look_findings])
    parts += _section("Guard", [_line(_acted(actions)) for actions in summary.actions])
    if summary.profile:
        parts += [_profile(summary), Text()]
    notes = [f"step {note.step}: {note.name}: {note.detail}" for note in summary.notes]
    parts += _section("Notes", [_line(note) for note in notes[:_MOST_NOTES]])
    parts += _section("Recorded", [_line(line) for line in _facts(summary)])
    return Group(*parts[:-1])


def _verdict(summary: Summary) -> Text:
    if not summary.steps:
        return Text("No verdict: no step was recorded yet.", style="bold yellow")
    standing = summary.standing
    if standing:
        first = standing[0]
        more = f"; {len(standing) - 1} more below" if len(standing) > 1 else ""
        since = "at" if first.over is not None else "since"
        place = _places(first.where)
        said = f"{_WORD[first.severity]}: {first.name} {since} step {first.step:,}{place}{more}."
        return Text(said, style=_STYLE[first.severity])
    over = sum(alarm.over is not None for alarm in summary.alarms)
    said = f"Healthy: no alarm stands after {summary.steps:,} {_plural(summary.steps, 'step')}"
    if over:
        said += f" ({over} earlier {_plural(over, 'alarm')} {'is' if over == 1 else 'are'} over)"
    if summary.look is not None and not summary.look_findings:
        said += f"; the deep look at step {summary.look:,} found nothing"
    return Text(f"{said}.", style="bold green")


def _alarms(summary: Summary) -> list[RenderableType]:
    order = sorted(summary.alarms, key=lambda alarm: (alarm.over is not None, alarm.step))
    lines: list[RenderableType] = [_alarm(alarm) for alarm in order[:_MOST_ALARMS]]
    if len(order) > _MOST_ALARMS:
        lines.append(Text(f"and {len(order) - _MOST_ALARMS} more: unvanish show --json"))
    return lines


def _alarm(alarm: Alarm) -> RenderableType:
    until = "" if alarm.over is None else f", over at step {alarm.over:,}"
    head = Text(f"step {alarm.step:,}{until}: ")
    head.append(alarm.name, style=_STYLE[alarm.severity])
    severity = f"  {alarm.severity}" if alarm.severity else ""
    head.append(f"{severity}{_places(alarm.where)}")
    lines: list[RenderableType] = [head]
    whole = _sentence(alarm)
    said = [whole] if whole else [_title(alarm.name), alarm.detail, _evidence(alarm.evidence)]
    lines += [Padding(Text(line), (0, 0, 0, 2)) for line in said if line]
    return Group(*lines)


def _sentence(alarm: Alarm) -> str:
    """The card's sentence with this alarm's numbers; empty where some of them were not measured."""
    try:
        said = fill(explain(alarm.name).says, alarm.evidence, alarm.where, alarm.detail or None)
    except (UnvanishError, KeyError, ValueError):
        return ""
    return "" if "?" in said else said


def _title(name: str) -> str:
    try:
        return explain(name).title
    except (UnvanishError, KeyError):
        return ""


def _evidence(evidence: Mapping[str, float]) -> str:
    numbers = [f"{name.replace('_', ' ')} {number:.4g}" for name, number in evidence.items()]
    return f"measured: {', '.join(numbers)}" if numbers else ""


def _acted(actions: Actions) -> str:
    if actions.count == 1:
        when = f"at step {actions.first:,}"
    else:
        when = f"{actions.count:,} times, steps {actions.first:,} to {actions.last:,}"
    said = f"{'' if actions.count == 1 else 'the last: '}{actions.detail}" if actions.detail else ""
    return f"{actions.policy} acted {when}" + (f"; {said}" if said else "")


def _profile(summary: Summary) -> RenderableType:
    rows = summary.profile
    levels = [
        level for row in rows for value in row.gradient_rms if (level := _level(value)) is not None
    ]
    low, high = (min(levels), max(levels)) if levels else (0.0, 0.0)
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right")
    for _ in range(3):
        table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_row("", "log10 gradient rms", "update / weight", "zeros", "", style="dim")
    for row in rows:
        level = _level(row.gradient_rms[1])
        table.add_row(
            Text(shortened(row.block, 34)),
            _change(row.gradient_rms, _as_level),
            _change(row.update_to_weight, _as_power),
            _change(row.zeros, _as_share),
            "" if level is None else bar(level, low, high, _BAR),
        )
    title = Text("Profile, in the order of the model (first steps → last steps)", style="bold")
    return Group(title, table, *_grouped(rows, summary.tensors))


def _grouped(rows: tuple[ProfileRow, ...], tensors: int) -> list[Text]:
    if len(rows) >= tensors:
        return []
    return [Text(f"  ({tensors} tensors in {len(rows)} blocks)", style="dim")]


def _change(pair: tuple[float | None, float | None], write: Callable[[float], str]) -> str:
    """``first → last``, or one of them where they read the same."""
    first, last = (write(value) if value is not None else "?" for value in pair)
    return first if first == last else f"{first} → {last}"


def _level(rms: float | None) -> float | None:
    return None if rms is None else math.log10(max(rms, FLOOR))


def _as_level(rms: float) -> str:
    return "zero" if rms <= FLOOR else f"{math.log10(rms):.1f}"


def _as_power(ratio: float) -> str:
    return "0" if ratio == 0 else f"{ratio:.0e}".replace("e-0", "e-").replace("e+0", "e+")


def _as_share(share: float) -> str:
    return f"{100 * share:.0f}%"


def _facts(summary: Summary) -> list[str]:
    facts: list[str] = []
    if summary.steps:
        took = "" if summary.seconds is None else f" in {_duration(summary.seconds)}"
        facts.append(
            f"{summary.steps:,} {_plural(summary.steps, 'step')} ({summary.first_step:,} to "
            f"{summary.last_step:,}){took}, {summary.tensors:,} tensors, {_size(summary.bytes)}"
        )
    if summary.loss is not None:
        facts.append(f"loss {summary.loss[0]:.4g} at first, {summary.loss[1]:.4g} at last")
    if summary.watch_share is not None:
        facts.append(
            f"watching took {100 * summary.watch_share:.1f} % of the time (median "
            f"{summary.watch_milliseconds:.2g} of {summary.step_milliseconds:.3g} ms a step)"
        )
    facts += _state(summary)
    known = [f"{name} {value}" for name, value in summary.conditions.items() if value or value == 0]
    if known:
        facts.append(", ".join(known))
    facts.append(summary.path)
    names = list(dict.fromkeys(alarm.name for alarm in summary.standing))[:2]
    return facts + [f"more: unvanish explain {name}" for name in names if _title(name)]


def _state(summary: Summary) -> list[str]:
    said = (
        "closed"
        if summary.finished
        else "not closed: still being written, or its program was killed"
    )
    facts = [f"begun {summary.started or 'at an unknown time'}, {said}"]
    if summary.thinned:
        kinds = [f"{kind} to every {1 << level:,}th" for kind, level in summary.thinned.items()]
        facts.append(f"old steps were thinned to keep the file small: {', '.join(kinds)}")
    if summary.lost:
        kinds = [f"{count:,} {kind}" for kind, count in summary.lost.items()]
        facts.append(f"the disk was too slow for all of it; dropped: {', '.join(kinds)}")
    return facts


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def _size(count: int) -> str:
    return f"{count / (1 << 20):.1f} MiB" if count >= 1 << 20 else f"{count / 1024:.0f} KiB"


def _places(where: tuple[str, ...]) -> str:
    more = f" and {len(where) - 1} more" if len(where) > 1 else ""
    return "".join(f" in {place}{more}" for place in where[:1])


def _plural(count: int, word: str) -> str:
    return word if count == 1 else f"{word}s"


def _line(said: str) -> Text:
    return Text(said)


def _section(heading: str, lines: list[RenderableType]) -> list[RenderableType]:
    if not lines:
        return []
    table = Table.grid(padding=(0, 1))
    table.add_column(width=2)
    table.add_column()
    for line in lines:
        table.add_row(" -", line)
    return [Group(Text(heading, style="bold"), table), Text()]
