"""Which plans to try for a patient, and in which order."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import get_args

from unvanish.causes import CAUSES
from unvanish.causes.cause import Finding
from unvanish.errors import BadInput
from unvanish.remedies import REMEDIES
from unvanish.remedies.remedy import Keep, Level, Patient, Plan, Remedy, Safety
from unvanish.surgery.edits import ARCHITECTURE

LEVELS: tuple[Level, ...] = get_args(Level)
KEEPS: tuple[Keep, ...] = get_args(Keep)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One plan of one remedy, and the findings that it was planned for."""

    remedy: str
    level: Level
    safety: Safety
    plan: Plan
    findings: tuple[str, ...]

    @property
    def edits_architecture(self) -> bool:
        """Whether another function is computed with than before, not only other values."""
        return any(edit.action in ARCHITECTURE for edit in self.plan)


def candidates(
    patient: Patient, keep: Keep = "function", remedies: Sequence[Remedy] = REMEDIES
) -> tuple[Candidate, ...]:
    """The plans that ``keep`` allows, each once.

    First those for harmful and broken findings that no other finding explains, the smallest
    intervention first; then those for their consequences, and for notes of what such a finding may
    be a consequence of: mild by itself, it may be the cause here. Last, of notes, what is advice.
    Within a level remedies stand in the order in which the finding names them.

    With ``keep="function"`` no plan exchanges, inserts or wraps anything in the model, but for
    faults of the wiring: a cut that is mended, a softmax too many that goes.

    Raises:
        BadInput: ``keep`` is none of the four.
    """
    if keep not in KEEPS:
        raise BadInput(f"keep must be one of {', '.join(KEEPS)}, not {keep!r}.")
    roots, followers, notes = _grouped(patient.diagnosis.findings)
    planned: list[Candidate] = []
    for group in (roots, [*followers, *_suspects(roots, notes)]):
        found = [c for f in group for c in _for(patient, f, keep, remedies)]
        planned += sorted(found, key=lambda c: LEVELS.index(c.level))
    said = [c for f in notes for c in _for(patient, f, keep, remedies)]
    planned += [candidate for candidate in said if candidate.level == "advice"]
    return _merged(planned)


def treatable(patient: Patient, keep: Keep) -> list[Candidate]:
    """The candidates that are more than advice."""
    return [c for c in candidates(patient, keep) if c.level != "advice"]


def _grouped(
    findings: Iterable[Finding],
) -> tuple[list[Finding], list[Finding], list[Finding]]:
    """Causes, consequences, notes."""
    roots: list[Finding] = []
    followers: list[Finding] = []
    notes: list[Finding] = []
    for finding in findings:
        if finding.severity == "note":
            notes.append(finding)
        else:
            (roots if finding.because is None else followers).append(finding)
    return roots, followers, notes


def _suspects(roots: Iterable[Finding], notes: Iterable[Finding]) -> list[Finding]:
    """The notes that would explain a harmful finding, were they harmful themselves."""
    unexplained = {finding.name for finding in roots}
    able = {c.card.name for c in CAUSES if not unexplained.isdisjoint(c.explains)}
    return [note for note in notes if note.name in able]


def _for(
    patient: Patient, finding: Finding, keep: Keep, remedies: Sequence[Remedy]
) -> Iterable[Candidate]:
    by_name = {remedy.card.name: remedy for remedy in remedies}
    for name in finding.remedies:
        remedy = by_name.get(name)
        if remedy is None or KEEPS.index(remedy.keep) > KEEPS.index(keep):
            continue
        for plan in remedy.plan(patient, finding):
            candidate = _candidate(remedy, finding, plan)
            bound = keep == "function" and remedy.level != "wiring"
            if plan and not (bound and candidate.edits_architecture):
                yield candidate
                if remedy.one:
                    break


def _candidate(remedy: Remedy, finding: Finding, plan: Plan) -> Candidate:
    advises = all(edit.action == "advice" for edit in plan)
    return Candidate(
        remedy=remedy.card.name,
        level="advice" if advises else remedy.level,
        safety="advice" if advises else remedy.safety,
        plan=plan,
        findings=(finding.name,),
    )


def _merged(planned: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """Each plan once, where it comes first, with all findings that it is for."""
    kept: dict[str, Candidate] = {}
    for candidate in planned:
        key = json.dumps([edit.to_json() for edit in candidate.plan], sort_keys=True)
        known = kept.get(key)
        if known is None:
            kept[key] = candidate
        else:
            names = dict.fromkeys((*known.findings, *candidate.findings))
            kept[key] = replace(known, findings=tuple(names))
    return tuple(kept.values())
