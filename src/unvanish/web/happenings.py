"""What happened in a training, and what a deep look at a step found, as a page shows it."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from unvanish.errors import BadInput, UnvanishError
from unvanish.languages import gettext as _
from unvanish.recording import Recording
from unvanish.recording.records import Event
from unvanish.recording.summarising import actions_of, alarms_of
from unvanish.recording.summary import Alarm

if TYPE_CHECKING:
    from unvanish.diagnosis import Diagnosis

MOST: Final = 300
"""Alarms, and marks of actions, that a page gets at most; how many there are is said."""
MOST_LAYERS: Final = 400


def happenings(recording: Recording, words: bool) -> dict[str, Any]:
    """Alarms, actions and notes of a recording; ``words``: with their sentences.

    The sentences are those of the cards, which takes a second the first time: torch is loaded.
    """
    with recording.snapshot():
        events, looks = recording.events, recording.looks.tolist()
    alarms = alarms_of(events)
    shown = alarms[-MOST:]
    return {
        "alarms": [_alarm(alarm, looks, words) for alarm in shown],
        "more": len(alarms) - len(shown),
        "standing": sum(alarm.over is None and alarm.severity != "note" for alarm in alarms),
        "actions": [
            {
                "policy": act.policy,
                "count": act.count,
                "first": act.first,
                "last": act.last,
                "detail": _recognised(act.detail) if words else act.detail,
            }
            for act in actions_of(events)
        ],
        "marks": _marks([event for event in events if event.kind == "action"]),
        "notes": [
            {
                "step": note.step,
                "said": f"{note.name}: {_recognised(note.detail) if words else note.detail}",
            }
            for note in events
            if note.kind == "note"
        ][:20],
        "looks": looks,
    }


def _marks(actions: Sequence[Event]) -> list[dict[str, Any]]:
    every = -(-len(actions) // MOST) or 1
    return [{"step": act.step, "name": act.name} for act in actions[::every]]


def _alarm(alarm: Alarm, looks: Sequence[int], words: bool) -> dict[str, Any]:
    told = {"title": "", "said": ""}
    if words:
        told = _told(alarm.name, alarm.evidence, alarm.where, alarm.detail)
    return {
        "name": alarm.name,
        "severity": alarm.severity,
        "step": alarm.step,
        "over": alarm.over,
        "where": alarm.where[:12],
        "places": len(alarm.where),
        "detail": alarm.detail,
        "look": look_for(alarm.step, looks),
        **told,
    }


def look_for(step: int, looks: Sequence[int]) -> int | None:
    """The look that an alarm asked for is of the step after it; else the nearest there is."""
    return min(looks, key=lambda look: (abs(look - step - 1), -look), default=None)


def _told(
    name: str, evidence: Mapping[str, float], where: tuple[str, ...], detail: str
) -> dict[str, str]:
    """The title and the sentence of a finding or alarm, in the language that is spoken."""
    from unvanish.causes import explain
    from unvanish.causes.cause import Finding
    from unvanish.report.sentences import sentence

    try:
        card = explain(name)
        finding = Finding(
            code=card.code,
            name=name,
            severity="note",
            where=where,
            evidence=dict(evidence),
            remedies=(),
            detail=detail or None,
        )
        said = sentence(finding)
    except (UnvanishError, KeyError, ValueError, TypeError):
        return {"title": name, "said": _recognised(detail)}
    return {"title": _(card.title), "said": _recognised(detail) if "?" in said else said}


def _recognised(detail: str) -> str:
    from unvanish.languages import recognised

    return recognised(detail)


def deep_look(recording: Recording, step: int) -> dict[str, Any]:
    """The verdict, the findings and the gradient over depth of a step that was observed in full.

    Raises:
        BadInput: there was no look at this step, or it was written by another version.
    """
    diagnosis = _restored(recording.look(step), step)
    return {
        "step": step,
        "healthy": diagnosis.healthy,
        "verdict": _verdict(diagnosis),
        "findings": [
            {
                "code": finding.code,
                "name": finding.name,
                "severity": finding.severity,
                "where": finding.where[:12],
                "places": len(finding.where),
                "because": finding.because,
                **_told(finding.name, finding.evidence, finding.where, finding.detail or ""),
            }
            for finding in diagnosis.findings
        ],
        "blind_spots": [_recognised(spot) for spot in diagnosis.blind_spots[:12]],
        "profile": _profile(diagnosis),
    }


def _restored(found: dict[str, Any], step: int) -> "Diagnosis":
    from unvanish.diagnosis import Diagnosis

    try:
        return Diagnosis.from_json(found)
    except (UnvanishError, KeyError, TypeError, ValueError, AttributeError) as error:
        said = _("The look at step {step} cannot be read by this version of unvanish.")
        raise BadInput(said.format(step=step)) from error


def _verdict(diagnosis: "Diagnosis") -> str:
    from unvanish.languages import spoken
    from unvanish.report.text import render

    # The report begins with its verdict; wide enough that the line is not broken.
    return render(diagnosis, 4000, spoken()).splitlines()[0].strip()


def _profile(diagnosis: "Diagnosis") -> list[dict[str, Any]]:
    """The layers from the input to the loss; ``level`` is log10 of the gradient, absent for zero."""
    layers = [layer for layer in diagnosis.trace.layers if layer.norm is not None][::-1]
    every = -(-len(layers) // MOST_LAYERS) or 1
    return [
        {
            "name": layer.name or "(model)",
            "zero": layer.norm == 0,
            "level": math.log10(layer.norm) if layer.norm and math.isfinite(layer.norm) else None,
        }
        for layer in layers[::every]
    ]
