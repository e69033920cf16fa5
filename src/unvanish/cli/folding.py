"""One alarm for one fault, in a recording as in the training itself.

A recording holds alarms as they were raised. What explains one of them may have come later, or been
seen by a deep look alone: the training folds them then, and whoever reads the recording has to.
"""

from collections.abc import Sequence
from dataclasses import replace

from unvanish.alarms import DETECTORS
from unvanish.alarms.consequences import Consequences
from unvanish.recording import Event
from unvanish.recording.summary import Alarm, Summary


def folded(summary: Summary) -> Summary:
    """The summary in which alarms that follow from another one that stands are notes that name it."""
    consequences = Consequences(DETECTORS)
    followed: dict[int, Alarm] = {}
    for cause in sorted(summary.standing, key=lambda alarm: alarm.since):
        if id(cause) not in followed:
            for alarm in summary.standing:
                if alarm is not cause and id(alarm) not in followed:
                    event = _following(alarm, cause, consequences)
                    if event is not None:
                        followed[id(alarm)] = event

    def told(alarms: Sequence[Alarm]) -> tuple[Alarm, ...]:
        return tuple(followed.get(id(alarm), alarm) for alarm in alarms)

    return replace(summary, alarms=told(summary.alarms), look_findings=told(summary.look_findings))


def _following(alarm: Alarm, cause: Alarm, consequences: Consequences) -> Alarm | None:
    """The alarm as what follows from the other one; ``None`` where it does not."""
    if not consequences.explains(cause.name, alarm.name):
        return None
    event = Event(
        kind="alarm",
        name=alarm.name,
        step=alarm.step,
        seconds=0.0,
        severity=alarm.severity,
        where=alarm.where,
        evidence=alarm.evidence,
        detail=alarm.detail,
    )
    # Of what a look alone has seen nobody knows since when it has been there.
    onset = cause.since if "onset" in cause.evidence else None
    consequences.explained(event, cause.name, onset)
    if alarm.name not in consequences.causes:
        return None
    said = consequences.follow(event, cause.name, cause.since)
    return replace(alarm, severity=said.severity, evidence=said.evidence, detail=said.detail)
