"""The alarms of a watch: those of its detectors and those of its deep looks, each name once at a time."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from unvanish.causes import CAUSES
from unvanish.causes.cause import Finding
from unvanish.diagnosis import Diagnosis
from unvanish.errors import TrainingStopped
from unvanish.recording import Event
from unvanish.recording.records import begun
from unvanish.remedies import REMEDIES
from unvanish.watching.alarm_said import sentence_said

LOG = logging.getLogger("unvanish")


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm(Finding):
    """A finding in a running training: ``step`` is the one at which it was raised (from 0).

    ``over`` is the step at which it was cleared, ``None`` while it lasts. ``detail`` says what
    changed just before, where something did.
    """

    step: int
    over: int | None = None

    @property
    def since(self) -> int:
        """The step that it began at, see :func:`unvanish.recording.records.begun`."""
        return begun(self.evidence, self.step)


class AlarmBook:
    """Keeps alarms; tells ``on_alarm`` about the new ones at :meth:`call_back`."""

    def __init__(
        self, on_alarm: Callable[[Alarm], object] | None = None, *, strict: bool = False
    ) -> None:
        self.alarms: list[Alarm] = []
        self._on_alarm, self._strict = on_alarm, strict
        self._fresh: list[Alarm] = []
        self._by_look: set[str] = set()

    @property
    def active(self) -> tuple[Alarm, ...]:
        """Those that were not cleared."""
        return tuple(alarm for alarm in self.alarms if alarm.over is None)

    def from_detectors(self, events: list[Event], causes: Mapping[str, str]) -> list[Event]:
        """Take the detectors' events in; those that say something new.

        ``causes``: of alarms that follow from another one, the name of that one.
        """
        new: list[Event] = []
        for event in events:
            standing = self._standing(event.name)
            if event.kind == "cleared" and standing is not None:
                self._clear(event.name, event.step)
                new.append(event)
            elif event.kind == "alarm" and standing is None:
                self._raise(event, _remedies_for(event.name))
                new.append(event)
        self._follow(causes)
        return new

    def from_look(
        self,
        diagnosis: Diagnosis,
        step: int,
        seconds: float,
        told: Callable[[Event, str, str | None], Event],
    ) -> list[Event]:
        """What a deep look found, and what it does not find any more, as events.

        ``told(event, sentence, cause)`` adds to an alarm what the steps before know of it.
        """
        serious = [f for f in diagnosis.findings if f.severity != "note"]
        events: list[Event] = []
        for finding in serious:
            if self._standing(finding.name) is None:
                event = Event(
                    kind="alarm",
                    name=finding.name,
                    step=step,
                    seconds=seconds,
                    severity=finding.severity,
                    where=finding.where,
                    evidence=finding.evidence,
                    detail=finding.detail or "",
                )
                event = told(event, sentence_said(event), finding.because)
                self._raise(event, finding.remedies)
                self._by_look.add(finding.name)
                events.append(event)
        for name in sorted(self._by_look - {finding.name for finding in serious}):
            self._clear(name, step)
            events.append(Event(kind="cleared", name=name, step=step, seconds=seconds))
        return events

    def _follow(self, causes: Mapping[str, str]) -> None:
        """Of those that stand, say what they follow from."""
        for place, alarm in enumerate(self.alarms):
            if alarm.over is None and alarm.name in causes:
                self.alarms[place] = replace(alarm, because=causes[alarm.name])

    def _standing(self, name: str) -> Alarm | None:
        return next((a for a in self.alarms if a.name == name and a.over is None), None)

    def _raise(self, event: Event, remedies: tuple[str, ...]) -> None:
        known = next((cause.card for cause in CAUSES if cause.card.name == event.name), None)
        alarm = Alarm(
            code=known.code if known is not None else "",
            name=event.name,
            severity=event.severity,
            where=event.where,
            evidence=dict(event.evidence),
            remedies=remedies,
            detail=event.detail or None,
            step=event.step,
        )
        self.alarms.append(alarm)
        if self._on_alarm is not None:
            self._fresh.append(alarm)

    def call_back(self) -> None:
        """Tell ``on_alarm``: last, as it may raise, which is no reason to watch no longer."""
        fresh, self._fresh = self._fresh, []
        for alarm in fresh:
            try:
                assert self._on_alarm is not None
                self._on_alarm(alarm)
            except TrainingStopped:
                raise
            except Exception as error:
                if self._strict:
                    raise
                kind = type(error).__name__
                LOG.warning("on_alarm raised %s at %s: %s", kind, alarm.name, error)

    def _clear(self, name: str, step: int) -> None:
        self._by_look.discard(name)
        for place, alarm in enumerate(self.alarms):
            if alarm.name == name and alarm.over is None:
                self.alarms[place] = replace(alarm, over=step)


def _remedies_for(name: str) -> tuple[str, ...]:
    return tuple(remedy.card.name for remedy in REMEDIES if name in remedy.treats)
