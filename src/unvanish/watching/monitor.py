"""Monitor: a running training, watched step by step."""

import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import torch
from torch import nn

from unvanish.causes import CAUSES, nonfinite_forward
from unvanish.causes.cause import Finding
from unvanish.diagnosis import Diagnosis, rank
from unvanish.guard.policy import Policy
from unvanish.recording.joined import with_mates
from unvanish.recording.reader import Recording
from unvanish.recording.writer import Writer
from unvanish.trace import Trace
from unvanish.watching.alarm_book import Alarm, AlarmBook
from unvanish.watching.budget import Budget
from unvanish.watching.guarding import Guarding
from unvanish.watching.judging import Judging
from unvanish.watching.looks import Looks
from unvanish.watching.own_work import Cost, OwnWork
from unvanish.watching.parallel import place
from unvanish.watching.sinks import Sink
from unvanish.watching.steps import Steps
from unvanish.watching.telling import Telling
from unvanish.watching.unseen import nothing_seen
from unvanish.watching.watched import Watched

LOG = logging.getLogger("unvanish")

LOOKS_SHARE = 0.25
"""Of the budget: deep looks save up for theirs, so that the cheap readings never starve them."""

EVERY_TOGETHER = 25
"""At which steps the optional readings are made where several processes train together."""


class Monitor:
    """A training under watch. Made by :func:`unvanish.watch`; use it as a context, or :meth:`close` it.

    ``alarms`` are all that were raised, ``active`` those that still hold, ``steps`` how many
    optimizer steps were seen, ``recording`` what was written (``None`` without a folder),
    ``diagnosis`` the last deep look's with the standing alarms, ``cost`` what watching took.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizers: Sequence[torch.optim.Optimizer],
        writer: Writer | None = None,
        *,
        share: float | None = 0.02,
        policies: Sequence[Policy] = (),
        sinks: Sequence[Sink] = (),
        on_alarm: Callable[[Alarm], object] | None = None,
        strict: bool = False,
    ) -> None:
        self._model = model
        self.optimizers = tuple(optimizers)
        self.place = place()
        self.closed = self.entered = self._closing = False
        watched = Watched(model, self.optimizers)
        for_looks = None if share is None else share * LOOKS_SHARE
        for_readings = None if share is None else share * (1 - LOOKS_SHARE)
        together = EVERY_TOGETHER if self.place.world > 1 else None
        self._looks = Looks(model, self.optimizers, for_looks)
        self._own = OwnWork(self._give_up, strict=strict, apart=self._looks.take_inside)
        self._book = AlarmBook(on_alarm, strict=strict)
        self._telling = Telling(
            writer, sinks, rank=self.place.spoken, clock=lambda: self._own.clock
        )
        readings = Budget(for_readings, ("update", "histogram"), together)
        self._judging = Judging(
            watched,
            self.optimizers[0],
            self._looks,
            self._book,
            self._telling,
            readings=readings,
            at_once=bool(policies),
        )
        self._guarding = Guarding(policies, model, watched)
        self._steps = Steps(
            self.optimizers,
            watched,
            self._own,
            budget=readings,
            looks=self._looks,
            guarding=self._guarding,
            judging=self._judging,
            telling=self._telling,
        )
        with self._own():
            self._looks.arm()

    @property
    def steps(self) -> int:
        """How many steps of the optimizer were seen."""
        return self._steps.number

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        """Every alarm raised so far, in order."""
        self._catch_up()
        return tuple(self._book.alarms)

    @property
    def active(self) -> tuple[Alarm, ...]:
        """The alarms that still hold."""
        self._catch_up()
        return self._book.active

    @property
    def recording(self) -> Recording | None:
        """What has been written so far, open for reading; ``None`` where nothing is written."""
        writer = self._telling.writer
        if writer is None:
            return None
        self._catch_up()
        writer.flush()
        return with_mates(Recording.open(writer.path))

    @property
    def path(self) -> Path | None:
        """The file of the recording."""
        writer = self._telling.writer
        return None if writer is None else Path(writer.path)

    @property
    def diagnosis(self) -> Diagnosis:
        """The diagnosis so far: the last step observed in full, and the alarms that hold."""
        seen = self._looks.diagnosis
        if seen is None:
            waiting = "none is over yet" if not self.steps else "the look is still waiting"
            seen = nothing_seen(self._model, self._looks.reason or waiting)
        elif not self.steps:
            names = ", ".join(type(one).__name__ for one in self.optimizers)
            unseen = f"no step of {names} was seen: what steps the weights is not watched"
            seen = replace(seen, blind_spots=(*seen.blind_spots, unseen))
        known = {finding.name for finding in seen.findings}
        active = self.active
        standing = {alarm.name: alarm for alarm in active}
        found = [_as_it_began(f, standing.get(f.name), seen.trace) for f in seen.findings]
        risen = [alarm for alarm in active if alarm.name not in known]
        return replace(seen, findings=rank((*found, *risen), CAUSES))

    @property
    def looked_at(self) -> int | None:
        """The last step that was observed in full; ``None`` before the first."""
        return self._looks.last

    @property
    def cost(self) -> Cost:
        """What watching has cost so far."""
        return Cost(
            steps=self.steps,
            seconds=self._own.spent + self._looks.seconds,
            looks=self._looks.seconds,
            training_seconds=self._own.training,
        )

    def _catch_up(self) -> None:
        if not self.closed:
            with self._own():
                self._judging.catch_up()

    def __enter__(self) -> "Monitor":
        self.entered = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None and not self.closed:
            with self._own():
                said = (str(error).strip().splitlines() or [""])[0]
                name = type(error).__name__
                self._telling.note(self.steps, "training-raised", f"{name}: {said}")
        self.close()

    def close(self) -> None:
        """Take every hook off, undo what a guard holds changed, write what is left. May be repeated."""
        if self.closed or self._closing:
            return
        self._closing = True  # an error on the way must not begin it again
        with self._own():
            self._steps.catch_up()
        self.closed = True
        self._steps.detach()
        self._looks.close()
        self._guarding.close()
        with self._own():
            self._judging.close()
        self._steps.release()
        self._telling.close()

    def _give_up(self, error: Exception) -> None:
        if self.closed:
            return
        LOG.warning(
            "unvanish stopped watching at step %d, training goes on: %s (%s)",
            self.steps,
            error,
            type(error).__name__,
            exc_info=error,
        )
        with contextlib.suppress(Exception):
            self.close()


def _as_it_began(finding: Finding, alarm: Alarm | None, trace: Trace) -> Finding:
    """What a look found, with what the alarm that stands for the same knows of it.

    Where weights are poisoned already, a look sees that and no more: the alarm saw it happen.
    """
    if alarm is None:
        return finding
    finding = replace(finding, because=finding.because or alarm.because)
    poisoned = any(bad.phase == "forward" and bad.parameters for bad in trace.nonfinite)
    if finding.name != nonfinite_forward.CARD.name or not poisoned or not alarm.detail:
        return finding
    return replace(finding, where=alarm.where, evidence=alarm.evidence, detail=alarm.detail)
