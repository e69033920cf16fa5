"""The terminal report of a diagnosis, also as HTML of the same text."""

import io
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from unvanish.causes import explain
from unvanish.causes.cause import Finding
from unvanish.languages import figure, filled, marked, ngettext, recognised, speaking
from unvanish.languages import gettext as _
from unvanish.report.next_steps import NEXT
from unvanish.report.observed import conditions
from unvanish.report.profile import depth_picture, time_pictures
from unvanish.report.sentences import fill, sentence

if TYPE_CHECKING:
    from unvanish.diagnosis import Diagnosis
    from unvanish.trace import Trace

WIDTH = 96
_STYLE = {"broken": "bold red", "harmful": "bold yellow", "note": "cyan"}
_SEVERITY = {"broken": marked("broken"), "harmful": marked("harmful"), "note": marked("note")}
_VERDICT = {"broken": marked("Broken: {said}"), "harmful": marked("Harmful: {said}")}
_SHARES = {
    "activation": marked("activation"),
    "weight": marked("weight"),
    "norm": marked("norm"),
    "residual": marked("residual"),
    "rest": marked("rest"),
}
_WITHOUT = {
    "decay": marked("without decay it would be {times:.2g} times that"),
    "momentum": marked("without momentum it would be {times:.2g} times that"),
}


def render(diagnosis: "Diagnosis", width: int = WIDTH, language: str | None = None) -> str:
    """The report as plain text; ``language`` as in :func:`unvanish.languages.speaking`."""
    console = Console(file=io.StringIO(), width=width, color_system=None, force_terminal=False)
    with speaking(language):
        console.print(report(diagnosis))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in lines)


def render_html(diagnosis: "Diagnosis", language: str | None = None) -> str:
    """The report as an HTML fragment for notebooks."""
    return _recorded(diagnosis, language).export_html(
        inline_styles=True, code_format="<pre style='line-height:1.2'>{code}</pre>"
    )


def render_page(diagnosis: "Diagnosis", language: str | None = None) -> str:
    """The report as one HTML page that opens offline."""
    return _recorded(diagnosis, language).export_html(inline_styles=True)


def plain_page(said: str) -> str:
    """Any text of ours as a page of its own."""
    console = Console(record=True, file=io.StringIO(), width=WIDTH, highlight=False)
    console.print(Text(said))
    return console.export_html(inline_styles=True)


def _recorded(diagnosis: "Diagnosis", language: str | None) -> Console:
    console = Console(file=io.StringIO(), width=WIDTH, record=True, force_terminal=True)
    with speaking(language):
        console.print(report(diagnosis))
    return console


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
        (_("Theory beside measurement"), _predicted(diagnosis.trace)),
        (_("Update to weight"), _updates(diagnosis.updates)),
        (_("What if (tried on a copy)"), [_what_if(w) for w in diagnosis.what_ifs]),
        (_("Ruled out"), [_clear(r.name, r.evidence) for r in diagnosis.ruled_out]),
        (_("Looks odd, is expected"), [_expected(e) for e in diagnosis.expected]),
        (_("Not seen"), [recognised(said) for said in diagnosis.blind_spots]),
        (_("Tried on a copy"), [recognised(said) for said in diagnosis.experiments]),
        (_("Next"), _next(diagnosis)),
        (_("Observed"), [conditions(diagnosis)]),
    ):
        if lines:
            parts += [_section(heading, lines), Text()]
    return Group(*parts[:-1])


def _verdict(diagnosis: "Diagnosis") -> Text:
    if diagnosis.healthy:
        if not diagnosis.trace.layers:
            said = _("No fault found, but too little was seen to call it healthy.")
            return Text(said, style="bold yellow")
        named = any(finding.name != "blind-spot" for finding in diagnosis.findings)
        plain = _("Healthy: the gradient arrives everywhere.")
        noted = _("Healthy: the gradient arrives everywhere, with a note.")
        return Text(noted if named else plain, style="bold green")
    first = diagnosis.findings[0]
    said = filled(_(_VERDICT[first.severity]), said=sentence(first))
    return Text(said, style=_STYLE[first.severity])


def _finding(finding: Finding, number: int) -> RenderableType:
    head = Text()
    head.append(f"{number}. {finding.name}", style=_STYLE[finding.severity])
    head.append(f"  {finding.code}  {_(_SEVERITY[finding.severity])}", style="dim")
    if finding.because:
        head.append("  " + filled(_("follows from {cause}"), cause=finding.because), style="dim")
    rows: list[RenderableType] = [head]
    if number > 1 or finding.severity == "note":  # the first one's sentence is the verdict
        rows.append(Padding(Text(sentence(finding)), (0, 0, 0, 3)))
    split = _split(finding)
    if split:
        rows.append(Padding(Text(split), (0, 0, 0, 3)))
    if finding.where:
        where = filled(_("where: {places}"), places=_places(finding.where))
        rows.append(Padding(Text(where, style="dim"), (0, 0, 0, 3)))
    return Group(*rows)


def _split(finding: Finding) -> str:
    """Where the decades go, for findings that carry the account."""
    parts = [
        f"{_(said)} {figure(value, '+.2f')}"
        for name, said in _SHARES.items()
        if abs(value := finding.evidence.get(f"{name}_decades_per_layer", 0.0)) >= 0.005
    ]
    if "activation_decades_per_layer" not in finding.evidence or not parts:
        return ""
    return filled(_("decades a layer: {shares}"), shares=", ".join(parts))


def _places(where: tuple[str, ...], most: int = 6) -> str:
    shown = ", ".join(where[:most])
    if len(where) <= most:
        return shown
    said = ngettext("{shown}, ... ({count} in all)", "{shown}, ... ({count} in all)", len(where))
    return filled(said, shown=shown, count=len(where))


def _clear(name: str, evidence: Mapping[str, float]) -> str:
    return f"{name}: {fill(_(explain(name).clear), evidence)}"


def _expected(item: Any) -> str:
    return filled(
        _("{name} ({places}): {because}; a problem only if {unless}"),
        name=item.name,
        places=_places(item.where, 3),
        because=recognised(item.because),
        unless=recognised(item.unless),
    )


def _updates(updates: tuple[Any, ...]) -> list[str]:
    """The least, the middle and the largest relative change of a step."""
    known = sorted((u for u in updates if u.update_to_weight), key=lambda u: u.update_to_weight)
    if not known:
        return []
    least, middle, most = known[0], known[len(known) // 2], known[-1]
    said = _(
        "a step changes {least} by {least_size:.1g} of its size (the least), half of the {count} "
        "tensors by less than {middle_size:.1g}, {most} by {most_size:.1g} (the most)"
    )
    values = {
        "least": least.name,
        "least_size": least.update_to_weight,
        "count": len(known),
        "middle_size": middle.update_to_weight,
        "most": most.name,
        "most_size": most.update_to_weight,
    }
    lines = [filled(said, values)]
    for word, without_it in _WITHOUT.items():
        pairs = [(u.update_to_weight, getattr(u, f"without_{word}")) for u in known]
        ratios = sorted(with_it / without for with_it, without in pairs if without)
        if ratios and not 0.99 < ratios[len(ratios) // 2] < 1.01:
            lines.append(filled(_(without_it), times=1 / ratios[len(ratios) // 2]))
    return lines


def _what_if(item: Any) -> str:
    parts = [
        filled(said, names=", ".join(names))
        for names, said in (
            (item.gone, _("{names} gone")),
            (item.stays, _("{names} still there")),
            (item.comes, _("{names} new")),
        )
        if names
    ]
    return f"{recognised(item.change)}: {'; '.join(parts)}"


def _predicted(trace: "Trace") -> list[str]:
    """Decades that mean-field theory expects of the layers it knows, beside the measured ones."""
    known = [layer for layer in trace.layers if layer.predicted is not None]
    if len(known) < 3:
        return []
    expected = math.fsum(layer.predicted or 0.0 for layer in known)
    measured = math.fsum(layer.total for layer in known)
    said = _(
        "from its weights alone the gradient should change by {expected:+.1f} decades over {count} "
        "layers ({each:+.2f} a layer); measured {measured:+.1f}"
    )
    count = len(known)
    return [filled(said, expected=expected, count=count, each=expected / count, measured=measured)]


def _next(diagnosis: "Diagnosis") -> list[str]:
    named = [finding for finding in diagnosis.findings if finding.name != "blind-spot"]
    if not named:
        return [
            _(
                "if it does not learn, it is not for want of gradient: look at the step size, the "
                "data and the labels"
            )
        ]
    first = named[0]
    steps = [_(NEXT[name]) for name in first.remedies if name in NEXT][:3]
    return [*steps, filled(_("more: unvanish explain {name}"), name=first.name)]


def _section(heading: str, lines: list[str]) -> RenderableType:
    table = Table.grid(padding=(0, 1))
    table.add_column(width=2)
    table.add_column()
    for line in lines:
        table.add_row(" -", escape(line))
    return Group(Text(heading, style="bold"), table)
