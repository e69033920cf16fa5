"""Alarms: readings go in, one step at a time; what began and what is over comes out."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from unvanish.alarms.changes import changes_before
from unvanish.alarms.columns import Columns
from unvanish.alarms.confirmed import Confirmations
from unvanish.alarms.consequences import Consequences
from unvanish.alarms.dead_units import DETECTOR as DEAD
from unvanish.alarms.detector import Detector, Sign
from unvanish.alarms.listed import DETECTORS
from unvanish.alarms.moment import EPSILON, Course, Moment
from unvanish.alarms.nonfinite import FORWARD, BadLoss
from unvanish.alarms.standing import PATIENCE, Standing
from unvanish.alarms.suspicion import Suspicion
from unvanish.recording import Event, StepReading, TensorEntry
from unvanish.training.optimizer import PROPORTIONAL


class Alarms:
    """The causes of the diagnosis, watched for in the readings of a running training.

    ``tensors`` are those of the readings' columns; ``optimizer`` is the name of its class,
    ``epsilon`` its option (the smallest of its groups; Adam's own where it is not known). Feed every
    reading in order. An alarm comes once, when its condition is proven, with the step it
    began at in ``evidence["onset"]``; it is cleared once, when the condition has been away for
    fifty steps. What follows from another alarm is a note that says so.

    >>> import numpy as np
    >>> alarms = Alarms([TensorEntry(name="weight", shape=(4, 4), dtype="float32")])
    >>> bad = {"gradient_l2": np.float32([1.0]), "gradient_nonfinite": np.float32([2.0])}
    >>> reading = StepReading(step=7, seconds=0.5, stage="unscaled unclipped whole", values=bad)
    >>> [(event.kind, event.name, event.where) for event in alarms.feed(reading)]
    [('alarm', 'nonfinite-backward', ('weight',))]
    """

    def __init__(
        self,
        tensors: Sequence[TensorEntry],
        *,
        optimizer: str = "",
        epsilon: float = EPSILON,
        detectors: Sequence[Detector] = DETECTORS,
    ) -> None:
        self._columns = Columns()
        self._columns.add(tensors)
        self._course = Course()
        self._optimizer, self._epsilon = optimizer, epsilon
        self._watches = [Standing(detector) for detector in detectors]
        self._consequences = Consequences(detectors)
        self._hinted: list[tuple[str, tuple[str, ...]]] = []
        self._confirmed = Confirmations()
        self._suspicion, self._bad_loss = Suspicion(), BadLoss()
        self._fed = -1
        self.worth_a_look = False
        """Whether the last step showed something that only a deep look can judge."""
        self._over_since: dict[str, tuple[int, int]] = {}

    @property
    def active(self) -> tuple[Event, ...]:
        """The alarms that were raised and are not over, the earliest onset first."""
        raised = [watch.alarm for watch in self._watches if watch.alarm is not None]
        return tuple(
            sorted([*raised, *self._confirmed.alarms.values()], key=lambda event: event.since)
        )

    def add_tensors(self, entries: Sequence[TensorEntry]) -> None:
        """More columns, after the known ones, from the next reading on."""
        self._columns.add(entries)

    def hint(self, name: str, where: tuple[str, ...]) -> None:
        """A finding that a deep look of this training named, taken into account at the next step.

        An alarm of that name takes over its places. A finding that is only decided by a deep look
        (``detached`` and its like) becomes an alarm where the readings agree. One that explains
        alarms that are on is said in them from then on (:attr:`active`).
        """
        self._hinted.append((name, where))

    @property
    def causes(self) -> Mapping[str, str]:
        """Of alarms that follow from another one, the name of that one."""
        return self._consequences.causes

    def of_look(self, alarm: Event, said: str, cause: str | None) -> Event:
        """An alarm of a deep look, which explains it by ``cause`` itself, with what is known of it."""
        since = self._began(alarm.name, alarm.where)
        if since is None and alarm.name == FORWARD.card.name:
            since = alarm.step  # every loss before it was a number
        onset = alarm.step if since is None else since
        if since is not None:
            changed, _ = changes_before(onset, self._course, self._columns)
            alarm = replace(alarm, evidence={**alarm.evidence, "onset": float(onset), **changed})
        known, whole = self._known(alarm.step), replace(alarm, detail=said)
        if cause is None:
            settled = self._consequences.settle(whole, onset, known)
            return settled if settled.severity == "note" else alarm
        return self._consequences.follow(whole, cause, known.get(cause, onset))

    def _began(self, name: str, where: tuple[str, ...]) -> int | None:
        """The step since which the readings say what a look has found; ``None``: they do not."""
        if name == FORWARD.card.name:
            return self._bad_loss.since
        return self._confirmed.since(name, where, self._columns, self._fed)

    def feed(self, reading: StepReading) -> list[Event]:
        """Take one step into account: the alarms it raised and cleared, causes first."""
        self._fed = reading.step
        with np.errstate(all="ignore"):
            moment = self._take_in(reading)
            # What the detectors do not judge has no profile either.
            profile = None if moment.skipped or moment.poisoned else moment.profile
            self.worth_a_look = self._suspicion.see(
                self._columns, self._course, reading.step, profile
            )
            raised: list[tuple[Standing, Sign]] = []
            outgrown: list[Event] = []
            cleared: list[Event] = []
            for watch in self._watches:
                if (moment.skipped or moment.poisoned) and not watch.detector.always:
                    continue
                sign = watch.watcher.see(moment)
                if isinstance(sign, Sign):
                    watch.away = 0
                    left = self._left(watch.alarm, reading.step)
                    if watch.alarm is not None and watch.outgrown(sign, left):
                        outgrown.append(_cleared(watch.alarm, reading))
                        watch.alarm = None
                    if watch.alarm is None:
                        raised.append((watch, sign))
                elif watch.alarm is not None and watch.over(sign):
                    cleared.append(_cleared(watch.alarm, reading))
                    self._over_since[watch.name] = reading.step, watch.alarm.since
                    watch.alarm = None
            hinted = self._take_hints(reading)
            for alarm in self._confirmed.over(self._columns):
                cleared.append(_cleared(alarm, reading))
                self._over_since[alarm.name] = reading.step, alarm.since
            return [*outgrown, *self._raise(raised, reading), *hinted, *cleared]

    def _take_in(self, reading: StepReading) -> Moment:
        columns, course, scalars = self._columns, self._course, reading.scalars
        columns.look(reading)
        self._bad_loss.see(reading)
        bad = bool(columns.nonfinite.any())
        # A loss scaler never lets such a step pass, whether or not it said so.
        scaled = scalars.get("loss_scale", 1.0) != 1.0
        skipped = bool(scalars.get("skipped", float(bad and scaled)))
        poisoned = not skipped and (bad or not math.isfinite(scalars.get("loss", 0.0)))
        course.remember_settings(reading.step, scalars)
        if not skipped and not poisoned:
            course.remember_jump(reading.step, columns)
            columns.remember(reading, scalars.get("learning_rate", 1.0) > 0)
            course.remember(reading.step, scalars, columns)
        if not skipped:
            read = not poisoned and "update_to_weight" in reading.values
            course.remember_update(
                reading.step, scalars, columns, self._optimizer in PROPORTIONAL, read
            )
        return Moment(reading, columns, course, self._optimizer, skipped, poisoned, self._epsilon)

    def _raise(self, raised: list[tuple[Standing, Sign]], reading: StepReading) -> list[Event]:
        """Events for new signs; what another one explains becomes a note that follows it."""
        if not raised:
            return []
        raised.sort(key=lambda pair: pair[1].onset)
        fresh = {watch.name: sign.onset for watch, sign in raised}
        known = self._known(reading.step) | fresh
        events: list[Event] = []
        for watch, sign in raised:
            watch.alarm = self._event(watch.name, sign, reading, known)
            events.append(watch.alarm)
            self._fold_under(watch.alarm)
        return sorted(events, key=lambda event: "because_onset" in event.evidence)

    def _known(self, step: int) -> dict[str, int]:
        """What may be the cause of a new alarm, with its onset: what is on, or was until lately."""
        lately = {
            name: onset
            for name, (over, onset) in self._over_since.items()
            if step - over <= 2 * PATIENCE
        }
        return lately | {event.name: event.since for event in self.active}

    def _left(self, alarm: Event | None, step: int) -> bool:
        """Whether what an alarm follows from has been over for so long that it stands by itself."""
        if alarm is None or "because_onset" not in alarm.evidence:
            return False
        cause = self._consequences.causes.get(alarm.name)
        return cause in self._over_since and cause not in self._known(step)

    def _fold_under(self, cause: Event) -> None:
        """Alarms that were raised before their cause was proven, but did not begin before it."""
        for watch in self._watches:
            alarm = watch.alarm
            if alarm is None or "because_onset" in alarm.evidence or alarm.since < cause.since:
                continue
            explains = self._consequences.explains
            if explains(cause.name, alarm.name) and not explains(alarm.name, cause.name):
                watch.alarm = self._consequences.follow(alarm, cause.name, cause.since)

    def _event(self, name: str, sign: Sign, reading: StepReading, known: dict[str, int]) -> Event:
        changed, sentence = changes_before(sign.onset, self._course, self._columns)
        event = Event(
            kind="alarm",
            name=name,
            step=reading.step,
            seconds=reading.seconds,
            severity=sign.severity,
            where=sign.where,
            evidence={"onset": float(sign.onset), **sign.evidence, **changed},
            detail=" ".join(part for part in (f"{sign.detail}.", sentence) if part),
        )
        return self._consequences.settle(event, sign.onset, known)

    def _take_hints(self, reading: StepReading) -> list[Event]:
        hinted, self._hinted = self._hinted, []
        events: list[Event] = []
        for name, where in hinted:
            sign = self._confirmed.agree(name, where, self._columns, reading.step)
            if sign is not None:
                alarm = self._event(name, sign, reading, self._known(reading.step))
                self._confirmed.alarms[name] = alarm
                events.append(alarm)
            self._sharpen(name, where)
        return events

    def _sharpen(self, name: str, where: tuple[str, ...]) -> None:
        """What stands has the place that a look found, or is what follows from its finding."""
        known = {event.name: event.since for event in self.active}
        # Dead units become no alarm here that a consequence could be left by: it keeps its severity.
        began = None if name == DEAD.card.name else self._began(name, where)
        onset = known.get(name, began)
        for watch in self._watches:
            alarm = watch.alarm
            if alarm is None:
                continue
            if alarm.name == name and where:
                watch.alarm = replace(alarm, where=where)
            elif self._consequences.explains(name, alarm.name):
                watch.alarm = self._consequences.explained(alarm, name, onset)


def _cleared(alarm: Event, reading: StepReading) -> Event:
    return Event(
        kind="cleared",
        name=alarm.name,
        step=reading.step,
        seconds=reading.seconds,
        where=alarm.where,
        detail=f"not seen any more; it was raised at step {alarm.step}",
    )
