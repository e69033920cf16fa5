"""A recording on the terminal: verdict, alarms, what a guard did, profile over depth, cost."""

import io
import math
from collections.abc import Callable

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from unvanish.causes.time_profile import FLOOR
from unvanish.languages import figure, filled, marked, ngettext, recognised, speaking
from unvanish.languages import gettext as _
from unvanish.recording.summary import Alarm, ProfileRow, Summary
from unvanish.report.profile import bar, shortened
from unvanish.report.recorded import (
    acted,
    changed_before,
    evidence_of,
    placed,
    recorded,
    sentence_of,
    title_of,
    verdict,
)

WIDTH = 96
_STYLE = {
    "broken": "bold red",
    "harmful": "bold yellow",
    "note": "cyan",
    "": "bold",
    "good": "bold green",
    "unknown": "bold yellow",
}
_SEVERITY = {"broken": marked("broken"), "harmful": marked("harmful"), "note": marked("note")}
_MOST_ALARMS = 12
_MOST_NOTES = 6
_BAR = 16


def render_recording(summary: Summary, width: int = WIDTH, language: str | None = None) -> str:
    """The summary as plain text; ``language`` as in :func:`unvanish.languages.speaking`."""
    file = io.StringIO()
    console = Console(file=file, width=width, color_system=None, force_terminal=False)
    with speaking(language):
        console.print(shown(summary))
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


def shown(summary: Summary) -> RenderableType:
    """All parts, top down."""
    parts: list[RenderableType] = [_verdict(summary), Text()]
    parts += _section(_("Alarms"), _alarms(summary))
    parts += _section(_("Found by the deep look alone"), [_alarm(a) for a in summary.look_findings])
    parts += _section(_("Guard"), [_line(acted(actions)) for actions in summary.actions])
    if summary.profile:
        parts += [_profile(summary), Text()]
    notes = [
        filled(
            _("step {step}: {said}"), step=note.step, said=f"{note.name}: {recognised(note.detail)}"
        )
        for note in summary.notes
    ]
    parts += _section(_("Notes"), [_line(note) for note in notes[:_MOST_NOTES]])
    parts += _section(_("Recorded"), [_line(line) for line in recorded(summary)])
    return Group(*parts[:-1])


def _verdict(summary: Summary) -> Text:
    severity, said = verdict(summary)
    return Text(said, style=_STYLE[severity])


def _alarms(summary: Summary) -> list[RenderableType]:
    order = sorted(summary.alarms, key=lambda alarm: (alarm.over is not None, alarm.step))
    lines: list[RenderableType] = [_alarm(alarm) for alarm in order[:_MOST_ALARMS]]
    if len(order) > _MOST_ALARMS:
        rest = len(order) - _MOST_ALARMS
        more = ngettext("and {count} more: {command}", "and {count} more: {command}", rest)
        lines.append(Text(filled(more, count=rest, command="unvanish show --json")))
    return lines


def _alarm(alarm: Alarm) -> RenderableType:
    when = _("step {step:,}: ")
    if alarm.over is not None:
        when = _("step {step:,}, over at step {over:,}: ")
    head = Text(filled(when, step=alarm.step, over=alarm.over))
    head.append(alarm.name, style=_STYLE[alarm.severity])
    severity = f"  {_(_SEVERITY[alarm.severity])}" if alarm.severity else ""
    head.append(f"{severity}{placed(alarm.where)}")
    lines: list[RenderableType] = [head]
    whole = sentence_of(alarm)
    said = (
        [whole, changed_before(alarm)]
        if whole
        else [title_of(alarm.name), recognised(alarm.detail), evidence_of(alarm.evidence)]
    )
    lines += [Padding(Text(line), (0, 0, 0, 2)) for line in said if line]
    return Group(*lines)


def _profile(summary: Summary) -> RenderableType:
    rows = summary.profile
    levels = [
        level for row in rows for value in row.gradient_rms if (level := _level(value)) is not None
    ]
    low, high = (min(levels), max(levels)) if levels else (0.0, 0.0)
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right")
    for _column in range(3):
        table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_row("", _("log10 gradient rms"), _("update / weight"), _("zeros"), "", style="dim")
    for row in rows:
        level = _level(row.gradient_rms[1])
        table.add_row(
            Text(shortened(row.block, 34)),
            _change(row.gradient_rms, _as_level),
            _change(row.update_to_weight, _as_power),
            _change(row.zeros, _as_share),
            "" if level is None else bar(level, low, high, _BAR),
        )
    title = Text(_("Profile, in the order of the model (first steps → last steps)"), style="bold")
    return Group(title, table, *_grouped(rows, summary.tensors))


def _grouped(rows: tuple[ProfileRow, ...], tensors: int) -> list[Text]:
    if len(rows) >= tensors:
        return []
    said = ngettext("({count} tensors in {blocks})", "({count} tensors in {blocks})", tensors)
    blocks = ngettext("{count} blocks", "{count} blocks", len(rows))
    blocks = filled(blocks, count=len(rows))
    return [Text("  " + filled(said, count=tensors, blocks=blocks), style="dim")]


def _change(pair: tuple[float | None, float | None], write: Callable[[float], str]) -> str:
    """``first → last``, or one of them where they read the same."""
    first, last = (write(value) if value is not None else "?" for value in pair)
    return first if first == last else f"{first} → {last}"


def _level(rms: float | None) -> float | None:
    return None if rms is None or math.isnan(rms) else math.log10(max(rms, FLOOR))


def _as_level(rms: float) -> str:
    if math.isnan(rms):
        return "NaN"
    return _("zero") if rms <= FLOOR else figure(math.log10(rms), ".1f")


def _as_power(ratio: float) -> str:
    return "0" if ratio == 0 else f"{ratio:.0e}".replace("e-0", "e-").replace("e+0", "e+")


def _as_share(share: float) -> str:
    return figure(share, ".0%")


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
