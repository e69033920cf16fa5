"""What a diagnosis is: ranked findings, the benign look-alikes, and what was not seen."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from unvanish.causes.cause import SEVERITIES, Ask, Case, Cause, Expected, Finding, RuledOut
from unvanish.experiments.bench import Bench
from unvanish.experiments.updates import Update
from unvanish.experiments.what_ifs import WhatIf
from unvanish.report import text, write_report
from unvanish.saved import Saved, restore
from unvanish.trace import Trace


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis(Saved):
    """What is wrong with the gradient flow of a model, most serious first.

    ``findings`` are ranked: by severity, then by precedence of the cause, consequences under what
    explains them (``finding.because``). ``expected`` are benign look-alikes, ``ruled_out`` what
    was checked and is not so, with its number, ``blind_spots`` what could not be judged,
    ``experiments`` what was tried on copies and what each took, ``what_ifs`` which findings go when
    one thing is changed (tried where ``steps`` were granted), ``updates`` the relative change of
    each tensor in a real step of the optimizer.
    """

    findings: tuple[Finding, ...]
    expected: tuple[Expected, ...]
    ruled_out: tuple[RuledOut, ...]
    blind_spots: tuple[str, ...]
    experiments: tuple[str, ...] = ()
    what_ifs: tuple[WhatIf, ...] = ()
    updates: tuple[Update, ...] = ()
    trace: Trace

    @property
    def healthy(self) -> bool:
        """No finding of severity broken or harmful."""
        return all(finding.severity == "note" for finding in self.findings)

    def __str__(self) -> str:
        return text.render(self)

    def _repr_html_(self) -> str:
        from unvanish.report.html import diagnosis_cell

        return diagnosis_cell(self)

    def to_json(self) -> dict[str, Any]:
        """Plain dictionaries and lists, the trace included."""
        return {"healthy": self.healthy, **Saved.to_json(self)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Diagnosis":
        """The diagnosis that :meth:`to_json` wrote.

        Raises:
            BadInput: a field is missing or unknown.
        """
        return restore(cls, {key: value for key, value in data.items() if key != "healthy"})

    def report(self, path: str | Path, language: str | None = "en") -> None:
        """Write a report: one HTML file that opens offline (a name in .html), plain text else.

        Args:
            path: the file.
            language: ``"en"``, ``"ru"``, ``"tr"`` or ``"uz"``; ``None``: what the environment says.

        Raises:
            BadInput: there is no such language, or the file cannot be written.
        """
        write_report(self, path, language)


def judge(case: Case, causes: Sequence[Cause], bench: Bench | None = None) -> Diagnosis:
    """Ask every cause, fold consequences under what explains them, rank."""
    findings: list[Finding] = []
    expected: list[Expected] = []
    ruled_out: list[RuledOut] = []
    blind: list[str] = []
    for cause in causes:
        if cause.fallback and _serious(findings):
            continue
        met = _asked(cause, cause.find, case, blind)
        if met is None:
            continue
        findings += [item for item in met if isinstance(item, Finding)]
        expected += [item for item in met if isinstance(item, Expected)]
        if not any(isinstance(item, Finding) for item in met) and cause.clear is not None:
            evidence = cause.clear(case)
            if evidence is not None:
                ruled_out.append(RuledOut(name=cause.card.name, evidence=evidence))
    for cause in causes:
        if cause.otherwise is not None and not _serious(findings):
            last = _asked(cause, cause.otherwise, case, blind) or []
            findings += [item for item in last if isinstance(item, Finding)]
    blind = [*case.trace.unseen, *blind, *_untested(case.trace, bench)]
    return Diagnosis(
        findings=rank(fold(findings, causes), causes),
        expected=tuple(expected),
        ruled_out=tuple(ruled_out),
        blind_spots=tuple(blind),
        experiments=tuple(bench.tried) if bench is not None else (),
        trace=case.trace,
    )


def _serious(findings: Sequence[Finding]) -> bool:
    return any(finding.severity != "note" for finding in findings)


def _asked(cause: Cause, ask: Ask, case: Case, blind: list[str]) -> list[Finding | Expected] | None:
    """What one cause finds; a check that fails is a blind spot, never a clean bill."""
    try:
        return list(ask(case))
    except Exception as error:
        blind.append(f"{cause.card.name} could not be judged: {error} ({type(error).__name__})")
        return None


def _untested(trace: Trace, bench: Bench | None) -> list[str]:
    """What the arguments did not allow to be judged, and which would."""
    if bench is None:
        return ["no experiment was possible: this is the diagnosis of a trace without its model"]
    if not bench.has_optimizer:
        return [*bench.failures, "not tested: step size and optimizer (pass optimizer=)"]
    if not bench.allowed:
        return [*bench.failures, "not tested: more than one step (pass steps=20)"]
    return bench.failures


def fold(findings: Sequence[Finding], causes: Sequence[Cause]) -> list[Finding]:
    """Mark each finding that another one explains, by the first cause that does."""
    present = {finding.name for finding in findings if finding.severity != "note"}
    reasons: dict[str, str] = {}
    for cause in causes:
        if cause.card.name in present:
            for name in cause.explains:
                reasons.setdefault(name, cause.card.name)
    return [replace(f, because=reasons.get(f.name)) for f in findings]


def rank(findings: Sequence[Finding], causes: Sequence[Cause]) -> tuple[Finding, ...]:
    """Causes before consequences, then by severity, then by precedence."""
    order = {cause.card.name: position for position, cause in enumerate(causes)}

    def key(finding: Finding) -> tuple[bool, bool, int, int]:
        severity = SEVERITIES.index(finding.severity)
        note = finding.severity == "note"
        return note, finding.because is not None, severity, order.get(finding.name, len(order))

    return tuple(sorted(findings, key=key))
