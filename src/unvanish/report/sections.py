"""What each section of a report of a diagnosis says, line by line, on a terminal and on a page."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from unvanish.causes import explain
from unvanish.causes.cause import Finding
from unvanish.languages import figure, filled, marked, ngettext, recognised
from unvanish.languages import gettext as _
from unvanish.report.next_steps import NEXT
from unvanish.report.sentences import fill, sentence

if TYPE_CHECKING:
    from unvanish.diagnosis import Diagnosis
    from unvanish.trace import Trace

SEVERITY = {"broken": marked("broken"), "harmful": marked("harmful"), "note": marked("note")}
"""The words of the severities; translate them where they are shown."""
_VERDICT = {"broken": marked("Broken: {said}"), "harmful": marked("Harmful: {said}")}
SHARES = {
    "activation": marked("activation"),
    "weight": marked("weight"),
    "norm": marked("norm"),
    "residual": marked("residual"),
    "rest": marked("rest"),
}
"""The words of the parts that a layer's decay is split into."""
_WITHOUT = {
    "decay": marked("without decay it would be {times:.2g} times that"),
    "momentum": marked("without momentum it would be {times:.2g} times that"),
}


def verdict(diagnosis: "Diagnosis") -> tuple[str, str]:
    """How bad it is (a severity, ``"good"``, or ``"unknown"``), and the verdict in one sentence."""
    if diagnosis.healthy:
        if not diagnosis.trace.layers:
            return "unknown", _("No fault found, but too little was seen to call it healthy.")
        if unexplained := _unexplained_zeros(diagnosis):
            said = _(
                "No alarm, but nothing found explains why the gradient of {names} is exactly zero."
            )
            return "unknown", filled(said, names=places(unexplained))
        if any(parameter.state == "zero" for parameter in diagnosis.trace.parameters):
            return "good", _("Healthy: no fault found. Some tensors get no gradient in this step.")
        named = any(finding.name != "blind-spot" for finding in diagnosis.findings)
        plain = _("Healthy: the gradient arrives everywhere.")
        noted = _("Healthy: the gradient arrives everywhere, with a note.")
        return "good", noted if named else plain
    first = diagnosis.findings[0]
    return first.severity, filled(_(_VERDICT[first.severity]), said=sentence(first))


def _unexplained_zeros(diagnosis: "Diagnosis") -> tuple[str, ...]:
    """What gets a gradient of exactly zero while others do not, and is named nowhere with a reason.

    Where all of it does, the loss has no slope: it is solved, or a finding says that it is flat.
    """
    states = {p.state for p in diagnosis.trace.parameters} - {"frozen", "none", "zero"}
    named = {name for item in (*diagnosis.findings, *diagnosis.expected) for name in item.where}
    zeros = [p for p in diagnosis.trace.parameters if p.state == "zero"]
    return tuple(p.name for p in zeros if states and named.isdisjoint(p.names))


def split(finding: Finding) -> str:
    """Where the decades go, for findings that carry the account."""
    parts = [
        f"{_(said)} {figure(value, '+.2f')}"
        for name, said in SHARES.items()
        if abs(value := finding.evidence.get(f"{name}_decades_per_layer", 0.0)) >= 0.005
    ]
    if "activation_decades_per_layer" not in finding.evidence or not parts:
        return ""
    return filled(_("decades a layer: {shares}"), shares=", ".join(parts))


def places(where: tuple[str, ...], most: int = 6) -> str:
    """Some names; of many the first, and how many there are."""
    shown = ", ".join(where[:most])
    if len(where) <= most:
        return shown
    said = ngettext("{shown}, ... ({count} in all)", "{shown}, ... ({count} in all)", len(where))
    return filled(said, shown=shown, count=len(where))


def clear(name: str, evidence: Mapping[str, float]) -> str:
    """Why a cause is ruled out."""
    return f"{name}: {fill(_(explain(name).clear), evidence)}"


def expected(item: Any) -> str:
    """What looks odd, why it is fine, and what would change that."""
    return filled(
        _("{name} ({places}): {because}; a problem only if {unless}"),
        name=item.name,
        places=places(item.where, 3),
        because=recognised(item.because),
        unless=recognised(item.unless),
    )


def updates(moved: tuple[Any, ...]) -> list[str]:
    """The least, the middle and the largest relative change of a step."""
    known = sorted((u for u in moved if u.update_to_weight), key=lambda u: u.update_to_weight)
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


def what_if(item: Any) -> str:
    """What one change on a copy did to the findings."""
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


def predicted(trace: "Trace") -> list[str]:
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


def next_steps(diagnosis: "Diagnosis") -> list[str]:
    """What to do about the first finding."""
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
