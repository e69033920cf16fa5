"""The terminal report of a diagnosis."""

import io
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from unvanish.causes.cause import Finding
from unvanish.languages import filled, recognised, speaking
from unvanish.languages import gettext as _
from unvanish.report.observed import conditions
from unvanish.report.profile import depth_picture, time_pictures
from unvanish.report.sections import (
    SEVERITY,
    clear,
    expected,
    next_steps,
    places,
    predicted,
    split,
    updates,
    verdict,
    what_if,
)
from unvanish.report.sentences import sentence

if TYPE_CHECKING:
    from unvanish.diagnosis import Diagnosis

WIDTH = 96
_STYLE = {
    "broken": "bold red",
    "harmful": "bold yellow",
    "note": "cyan",
    "good": "bold green",
    "unknown": "bold yellow",
}


def render(diagnosis: "Diagnosis", width: int = WIDTH, language: str | None = None) -> str:
    """The report as plain text; ``language`` as in :func:`unvanish.languages.speaking`."""
    console = Console(file=io.StringIO(), width=width, color_system=None, force_terminal=False)
    with speaking(language):
        console.print(report(diagnosis))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in lines)


def report(diagnosis: "Diagnosis") -> RenderableType:
    """All parts of the report, top down: verdict, findings, picture, ruled out, next step."""
    parts: list[RenderableType] = [_verdict(diagnosis), Text()]
    shown = [finding for finding in diagnosis.findings if finding.name != "blind-spot"]
    for number, finding in enumerate(shown, 1):
        parts += [_finding(finding, number), Text()]
    picture = depth_picture(diagnosis.trace)
    for drawn in ([picture] if picture is not None else []) + time_pictures(diagnosis.trace):
        parts += [drawn, Text()]
    for heading, lines in (
        (_("Theory beside measurement"), predicted(diagnosis.trace)),
        (_("Update to weight"), updates(diagnosis.updates)),
        (_("What if (tried on a copy)"), [what_if(w) for w in diagnosis.what_ifs]),
        (_("Ruled out"), [clear(r.name, r.evidence) for r in diagnosis.ruled_out]),
        (_("Looks odd, is expected"), [expected(e) for e in diagnosis.expected]),
        (_("Not seen"), [recognised(said) for said in diagnosis.blind_spots]),
        (_("Tried on a copy"), [recognised(said) for said in diagnosis.experiments]),
        (_("Next"), next_steps(diagnosis)),
        (_("Observed"), [conditions(diagnosis)]),
    ):
        if lines:
            parts += [_section(heading, lines), Text()]
    return Group(*parts[:-1])


def _verdict(diagnosis: "Diagnosis") -> Text:
    severity, said = verdict(diagnosis)
    return Text(said, style=_STYLE[severity])


def _finding(finding: Finding, number: int) -> RenderableType:
    head = Text()
    head.append(f"{number}. {finding.name}", style=_STYLE[finding.severity])
    head.append(f"  {finding.code}  {_(SEVERITY[finding.severity])}", style="dim")
    if finding.because:
        head.append("  " + filled(_("follows from {cause}"), cause=finding.because), style="dim")
    rows: list[RenderableType] = [head]
    if number > 1 or finding.severity == "note":  # the first one's sentence is the verdict
        rows.append(Padding(Text(sentence(finding)), (0, 0, 0, 3)))
    shares = split(finding)
    if shares:
        rows.append(Padding(Text(shares), (0, 0, 0, 3)))
    if finding.where:
        where = filled(_("where: {places}"), places=places(finding.where))
        rows.append(Padding(Text(where, style="dim"), (0, 0, 0, 3)))
    return Group(*rows)


def _section(heading: str, lines: list[str]) -> RenderableType:
    table = Table.grid(padding=(0, 1))
    table.add_column(width=2)
    table.add_column()
    for line in lines:
        table.add_row(" -", escape(line))
    return Group(Text(heading, style="bold"), table)
