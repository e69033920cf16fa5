"""The terminal report of a diagnosis, also as HTML of the same text."""

import io
import math
from collections.abc import Mapping
from string import Formatter
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from unvanish.causes import explain
from unvanish.causes.cause import Finding
from unvanish.report.next_steps import NEXT
from unvanish.report.profile import depth_picture, time_pictures

if TYPE_CHECKING:
    from unvanish.diagnosis import Diagnosis
    from unvanish.trace import Trace

WIDTH = 96
_STYLE = {"broken": "bold red", "harmful": "bold yellow", "note": "cyan"}


def render(diagnosis: "Diagnosis", width: int = WIDTH) -> str:
    """The report as plain text."""
    console = Console(file=io.StringIO(), width=width, color_system=None, force_terminal=False)
    console.print(report(diagnosis))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in lines)


def render_html(diagnosis: "Diagnosis") -> str:
    """The report as an HTML fragment for notebooks."""
    return _recorded(diagnosis).export_html(
        inline_styles=True, code_format="<pre style='line-height:1.2'>{code}</pre>"
    )


def render_page(diagnosis: "Diagnosis") -> str:
    """The report as one HTML page that opens offline."""
    return _recorded(diagnosis).export_html(inline_styles=True)


def plain_page(said: str) -> str:
    """Any text of ours as a page of its own."""
    console = Console(record=True, file=io.StringIO(), width=WIDTH, highlight=False)
    console.print(Text(said))
    return console.export_html(inline_styles=True)


def _recorded(diagnosis: "Diagnosis") -> Console:
    console = Console(file=io.StringIO(), width=WIDTH, record=True, force_terminal=True)
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
        ("Theory beside measurement", _predicted(diagnosis.trace)),
        ("Update to weight", _updates(diagnosis.updates)),
        ("What if (tried on a copy)", [_what_if(w) for w in diagnosis.what_ifs]),
        ("Ruled out", [_clear(r.name, r.evidence) for r in diagnosis.ruled_out]),
        ("Looks odd, is expected", [_expected(e) for e in diagnosis.expected]),
        ("Not seen", list(diagnosis.blind_spots)),
        ("Tried on a copy", list(diagnosis.experiments)),
        ("Next", _next(diagnosis)),
        ("Observed", [_conditions(diagnosis)]),
    ):
        if lines:
            parts += [_section(heading, lines), Text()]
    return Group(*parts[:-1])


def _verdict(diagnosis: "Diagnosis") -> Text:
    if diagnosis.healthy:
        if not diagnosis.trace.layers:
            said = "No fault found, but too little was seen to call it healthy."
            return Text(said, style="bold yellow")
        named = any(finding.name != "blind-spot" for finding in diagnosis.findings)
        end = ", with a note." if named else "."
        return Text(f"Healthy: the gradient arrives everywhere{end}", style="bold green")
    first = diagnosis.findings[0]
    words = {"broken": "Broken", "harmful": "Harmful"}[first.severity]
    return Text(f"{words}: {sentence(first)}", style=_STYLE[first.severity])


def sentence(finding: Finding) -> str:
    """The finding in one sentence: the card's words with this finding's numbers.

    An alarm of a running training has other numbers than a diagnosis: where the card asks for one
    that is not there, and the finding has words of its own, those are the sentence.
    """
    card = explain(finding.name)
    asked = {name for _, name, _, _ in Formatter().parse(card.says) if name}
    if finding.detail and asked - {"where", "places", "detail"} - set(finding.evidence):
        return finding.detail
    return fill(card.says, finding.evidence, finding.where, finding.detail)


def fill(
    template: str,
    evidence: Mapping[str, float],
    where: tuple[str, ...] = (),
    detail: str | None = None,
) -> str:
    """A card's template with numbers; a number that is not known is written as ``?``."""
    values = _Known(evidence)
    values["where"] = where[0] if where else "the model"
    values["places"] = len(where)
    values["detail"] = detail or "?"
    return template.format_map(values)


class _Known(dict[str, Any]):
    def __missing__(self, key: str) -> "_Unknown":
        return _Unknown()


class _Unknown:
    def __format__(self, spec: str) -> str:
        return "?"


def _finding(finding: Finding, number: int) -> RenderableType:
    head = Text()
    head.append(f"{number}. {finding.name}", style=_STYLE[finding.severity])
    head.append(f"  {finding.code}  {finding.severity}", style="dim")
    if finding.because:
        head.append(f"  follows from {finding.because}", style="dim")
    rows: list[RenderableType] = [head]
    if number > 1 or finding.severity == "note":  # the first one's sentence is the verdict
        rows.append(Padding(Text(sentence(finding)), (0, 0, 0, 3)))
    split = _split(finding)
    if split:
        rows.append(Padding(Text(split), (0, 0, 0, 3)))
    if finding.where:
        rows.append(Padding(Text(f"where: {_places(finding.where)}", style="dim"), (0, 0, 0, 3)))
    return Group(*rows)


def _split(finding: Finding) -> str:
    """Where the decades go, for findings that carry the account."""
    names = ("activation", "weight", "norm", "residual", "rest")
    parts = [
        f"{name} {value:+.2f}"
        for name in names
        if abs(value := finding.evidence.get(f"{name}_decades_per_layer", 0.0)) >= 0.005
    ]
    if "activation_decades_per_layer" not in finding.evidence or not parts:
        return ""
    return "decades a layer: " + ", ".join(parts)


def _places(where: tuple[str, ...], most: int = 6) -> str:
    shown = ", ".join(where[:most])
    return shown if len(where) <= most else f"{shown}, ... ({len(where)} in all)"


def _clear(name: str, evidence: Mapping[str, float]) -> str:
    return f"{name}: {fill(explain(name).clear, evidence)}"


def _expected(item: Any) -> str:
    return (
        f"{item.name} ({_places(item.where, 3)}): {item.because}; a problem only if {item.unless}"
    )


def _updates(updates: tuple[Any, ...]) -> list[str]:
    """The least, the middle and the largest relative change of a step."""
    known = sorted((u for u in updates if u.update_to_weight), key=lambda u: u.update_to_weight)
    if not known:
        return []
    least, middle, most = known[0], known[len(known) // 2], known[-1]
    lines = [
        f"a step changes {least.name} by {least.update_to_weight:.1g} of its size (the least), half "
        f"of the {len(known)} tensors by less than {middle.update_to_weight:.1g}, {most.name} by "
        f"{most.update_to_weight:.1g} (the most)"
    ]
    for word in ("decay", "momentum"):
        pairs = [(u.update_to_weight, getattr(u, f"without_{word}")) for u in known]
        ratios = sorted(with_it / without for with_it, without in pairs if without)
        if ratios and not 0.99 < ratios[len(ratios) // 2] < 1.01:
            lines.append(
                f"without {word} it would be {1 / ratios[len(ratios) // 2]:.2g} times that"
            )
    return lines


def _what_if(item: Any) -> str:
    parts = [
        f"{', '.join(names)} {word}"
        for names, word in ((item.gone, "gone"), (item.stays, "still there"), (item.comes, "new"))
        if names
    ]
    return f"{item.change}: {'; '.join(parts)}"


def _predicted(trace: "Trace") -> list[str]:
    """Decades that mean-field theory expects of the layers it knows, beside the measured ones."""
    known = [layer for layer in trace.layers if layer.predicted is not None]
    if len(known) < 3:
        return []
    expected = math.fsum(layer.predicted or 0.0 for layer in known)
    measured = math.fsum(layer.total for layer in known)
    return [
        f"from its weights alone the gradient should change by {expected:+.1f} decades over "
        f"{len(known)} layers ({expected / len(known):+.2f} a layer); measured {measured:+.1f}"
    ]


def _next(diagnosis: "Diagnosis") -> list[str]:
    named = [finding for finding in diagnosis.findings if finding.name != "blind-spot"]
    if not named:
        return [
            "if it does not learn, it is not for want of gradient: look at the step size, the data "
            "and the labels"
        ]
    first = named[0]
    steps = [NEXT[name] for name in first.remedies if name in NEXT][:3]
    return [*steps, f"more: unvanish explain {first.name}"]


def _conditions(diagnosis: "Diagnosis") -> str:
    seen = diagnosis.trace.conditions
    mode = "train" if seen.training else "eval"
    loss = "" if seen.loss is None else f"loss {seen.loss:.4g}, "
    seed = "" if seen.seed is None else f"seed {seen.seed}, "
    line = (
        f"{loss}{len(diagnosis.trace.ops)} ops, {len(diagnosis.trace.layers)} layers on the trunk, "
        f"{seen.trainable:,} of {seen.parameters:,} parameters train, {seen.batches} batch(es), "
        f"{mode} mode, {seen.device}, {seed}"
        f"torch {seen.torch}"
    )
    return "; ".join([line, *seen.notes])


def _section(heading: str, lines: list[str]) -> RenderableType:
    table = Table.grid(padding=(0, 1))
    table.add_column(width=2)
    table.add_column()
    for line in lines:
        table.add_row(" -", escape(line))
    return Group(Text(heading, style="bold"), table)
