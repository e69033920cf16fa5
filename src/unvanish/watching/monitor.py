"""Monitor: a running training, watched step by step."""

import contextlib
import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from unvanish.alarms import Alarms
from unvanish.causes import CAUSES
from unvanish.diagnosis import Diagnosis, rank
from unvanish.errors import TrainingStopped
from unvanish.guard.policy import Act, Policy
from unvanish.recording import Event
from unvanish.recording.joined import with_mates
from unvanish.recording.reader import Recording
from unvanish.recording.writer import Writer
from unvanish.watching.alarm_book import Alarm, AlarmBook
from unvanish.watching.attachment import Attachment
from unvanish.watching.budget import Budget
from unvanish.watching.guarding import Guarding
from unvanish.watching.listening import LISTENING
from unvanish.watching.looks import Looks, packed
from unvanish.watching.origin import Origin, origin_of
from unvanish.watching.parallel import place
from unvanish.watching.reading import Number, Pending, StepReader
from unvanish.watching.sinks import Sink, Sinks
from unvanish.watching.step_facts import StepFacts
from unvanish.watching.unseen import nothing_seen
from unvanish.watching.watched import Watched

LOG = logging.getLogger("unvanish")

LOOKS_SHARE = 0.25
"""Of the budget: deep looks save up for theirs, so that the cheap readings never starve them."""


EVERY_TOGETHER = 25
"""At which steps the optional readings are made where several processes train together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What watching has cost so far.

    ``seconds`` were spent in the watcher's own code inside of the training's thread (deep looks
    included: ``looks``), out of ``training_seconds`` since the watch began.
    """

    steps: int
    seconds: float
    looks: float
    training_seconds: float

    @property
    def share(self) -> float:
        """Watcher's seconds over all seconds; 0 before the first step is over."""
        return self.seconds / self.training_seconds if self.training_seconds else 0.0


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
        self._model, self._strict = model, strict
        self.optimizers = tuple(optimizers)
        self._writer, self._sinks = writer, Sinks(sinks)
        self._book = AlarmBook(on_alarm)
        self._watched = Watched(model, self.optimizers)
        self._alarms = Alarms(self._watched.entries, optimizer=type(optimizers[0]).__name__)
        self._readers: dict[int, StepReader] = {}
        self._facts = StepFacts(self._watched)
        self._guarding = Guarding(policies, model, self._watched)
        readings = None if share is None else share * (1 - LOOKS_SHARE)
        self.place = place()
        together = EVERY_TOGETHER if self.place.world > 1 else None
        self._budget = Budget(readings, ("update", "histogram"), together)
        self._looks = Looks(
            model, self.optimizers[0], None if share is None else share * LOOKS_SHARE
        )
        self._pending: deque[Pending] = deque()
        self._current: Pending | None = None
        self._done: set[int] = set()
        self._wanted: set[str] = set()
        self._new_alarms: tuple[Event, ...] = ()
        self._began = time.perf_counter()
        self._last_step = self._began
        self._spent = self._spent_before = self._training = 0.0
        self._depth = threading.local()
        self._home = threading.get_ident()
        self._origin: Origin | None = None
        self._compiled = self._early = self._local = False
        self.steps = 0
        self.closed = self.entered = False
        self._make_readers()
        self._attachments = [Attachment(one, self._ready, self._stepped) for one in self.optimizers]
        LISTENING.add(self)
        with self._own():
            self._looks.arm()

    # What a user reads.

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        """Every alarm raised so far, in order."""
        return tuple(self._book.alarms)

    @property
    def active(self) -> tuple[Alarm, ...]:
        """The alarms that still hold."""
        return self._book.active

    @property
    def recording(self) -> Recording | None:
        """What has been written so far, open for reading; ``None`` where nothing is written."""
        if self._writer is None:
            return None
        self._writer.flush()
        return with_mates(Recording.open(self._writer.path))

    @property
    def path(self) -> Path | None:
        """The file of the recording."""
        return None if self._writer is None else Path(self._writer.path)

    @property
    def diagnosis(self) -> Diagnosis:
        """The diagnosis so far: the last step observed in full, and the alarms that hold."""
        seen = self._looks.diagnosis
        if seen is None:
            waiting = "none is over yet" if not self.steps else "the look is still waiting"
            seen = nothing_seen(self._model, self._looks.reason or waiting)
        known = {finding.name for finding in seen.findings}
        risen = tuple(alarm for alarm in self._book.active if alarm.name not in known)
        return replace(seen, findings=rank((*seen.findings, *risen), CAUSES))

    @property
    def cost(self) -> Cost:
        """What watching has cost so far."""
        return Cost(
            steps=self.steps,
            seconds=self._spent + self._looks.seconds,
            looks=self._looks.seconds,
            training_seconds=self._training,
        )

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
                self._tell(
                    self._event("note", "training-raised", f"{type(error).__name__}: {said}")
                )
        self.close()

    def close(self) -> None:
        """Take every hook off, undo what a guard holds changed, write what is left. May be repeated."""
        if self.closed:
            return
        with self._own():
            self._catch_up()
        self.closed = True
        LISTENING.remove(self)
        for attachment in self._attachments:
            attachment.remove()
        self._looks.close()
        self._guarding.close()
        with self._own():
            self._drain(wait=True)
        for reader in self._readers.values():
            reader.release()
        self._sinks.close()
        if self._writer is not None:
            self._writer.close()

    # What happens in the training. Nothing below may raise into it.

    def before_backward(self, loss: Tensor, roots: Any, scale: Any) -> None:
        """A backward call begins (see :class:`unvanish.watching.listening.Listener`)."""
        if self._elsewhere():
            return
        with self._own():
            self._catch_up()
            self._facts.before_backward(loss, scale)
            # The first time only: a training that is lost is not to be slowed down as well.
            if self._origin is None and loss.device.type == "cpu" and not _finite(loss):
                self._origin = origin_of(loss, self._watched.names)
            if self._looks.armed:
                self._looks.before_backward(roots, None if scale is None else float(scale))

    def after_backward(self, failed: bool) -> None:
        """It is over."""
        if self._elsewhere():
            return
        with self._own():
            reached = self._facts.after_backward(failed)
            self._looks.after_backward()
            if reached and self._may_be_compiled():
                self._read_early()

    def clipped(self, parameters: list[Tensor], factor: Any, limit: float, kind: str) -> None:
        """Gradients were clipped."""
        if self._elsewhere():
            return
        with self._own():
            self._facts.clipped(parameters, factor, kind)

    def before_scaler_step(self, scaler: Any, optimizer: Any) -> None:
        """A loss scaler is asked to step an optimizer."""
        with self._own():
            self._facts.before_scaler_step(scaler, optimizer)

    def after_scaler_step(self, scaler: Any, optimizer: Any) -> None:
        """It has, or it has skipped the step: then this is the only word of it."""
        with self._own():
            if any(optimizer is one for one in self.optimizers) and self._facts.skipped():
                self._read(optimizer)
                self._finish(optimizer, skipped=1.0)

    def scale_updated(self, scaler: Any) -> None:
        """A loss scaler has chosen its next scale."""
        with self._own():
            if self._guarding and self._facts.scaler is scaler:
                for act in self._guarding.after_scale_update(self.steps, scaler):
                    self._tell_act(act)

    def _elsewhere(self) -> bool:
        """Whether this is another thread than the one that trains what is watched here.

        Everybody hears every thread's backward passes. To ask for a gradient while another thread
        frees it or adds to it would end the whole process.
        """
        return threading.get_ident() != self._home

    def _may_be_compiled(self) -> bool:
        """Whether the step that comes will not call us: once it is known, and once in case it is."""
        return self._compiled or (not self.steps and "torch._dynamo" in sys.modules)

    def _read_early(self) -> None:
        """Read after the backward pass: a compiled step comes without a word."""
        self._current, self._early = None, True
        self._done.clear()
        for optimizer in self.optimizers:
            self._read(optimizer, self._facts.scale)
            if "update" in self._wanted:
                self._readers[id(optimizer)].before_step()

    def _catch_up(self) -> None:
        """A compiled step has been taken since: what was read early is what it used."""
        for attachment in self._attachments:
            if attachment.compiled:
                attachment.compiled = False
                self._compiled = True
                if self._current is not None and self._early:
                    self._stepped(attachment.optimizer)

    def _ready(self, optimizer: torch.optim.Optimizer) -> None:
        self._home = threading.get_ident()
        with self._own():
            if self._early:  # it calls after all: gradients are read where they are complete
                self._current, self._early = None, False
            self._read(optimizer)
            self._guard(optimizer)
            if "update" in self._wanted:
                with self._costing("update"):
                    self._readers[id(optimizer)].before_step()

    def _stepped(self, optimizer: torch.optim.Optimizer) -> None:
        with self._own():
            self._facts.stepped()
            if self._current is None:  # attached in the middle of a step, or a closure never called
                return
            if "update" in self._wanted:
                with self._costing("update"):
                    self._readers[id(optimizer)].after_step(self._current)
            for act in self._guarding.after_step():
                self._tell_act(act)
            self._finish(optimizer, skipped=self._facts.found_nonfinite(optimizer))

    def _read(self, optimizer: torch.optim.Optimizer, scale: float | None = None) -> None:
        if id(optimizer) in self._done:
            self._end_step()  # it steps again: what the others did not do, they did not do
        if self._watched.changed():
            self._readers_anew()
        diagnosis = self._looks.gradients_ready(self.steps)
        if diagnosis is not None:
            self._take_look(diagnosis)
        if self._current is None:
            self._wanted = self._budget.wanted()
            seconds = time.perf_counter() - self._began
            self._current = Pending(self.steps, seconds, len(self._watched))
            self._current.scalars |= self._facts.of_optimizer(optimizer)
        reader = self._readers[id(optimizer)]
        if scale is None:
            scale = self._facts.remaining_scale(optimizer)
        histogram = "histogram" in self._wanted
        with self._costing("histogram") if histogram else contextlib.nullcontext():
            reader.gradients(self._current, histogram=histogram, scale=scale)
        self._local = reader.local

    def _guard(self, optimizer: torch.optim.Optimizer) -> None:
        if not self._guarding or self._current is None:
            return
        scale = self._facts.remaining_scale(optimizer)
        alarms, self._new_alarms = self._new_alarms, ()
        try:
            self._guarding.before_step(optimizer, self._current, self._facts, scale, alarms)
        except TrainingStopped:
            for act in self._guarding.after_step():
                self._tell_act(act)
            raise
        if self._guarding.skipping:
            self._current.scalars["skipped"] = 1.0

    def _finish(self, optimizer: torch.optim.Optimizer, skipped: Number) -> None:
        assert self._current is not None
        self._done.add(id(optimizer))
        if not isinstance(skipped, float) or skipped:
            self._current.scalars["skipped"] = skipped
        if len(self._done) == len(self.optimizers):
            self._end_step()

    def _end_step(self) -> None:
        current, self._current = self._current, None
        self._done.clear()
        if current is None:
            return
        current.stage = self._facts.stage(self._local, self._early)
        current.scalars |= self._facts.of_step()
        self._facts.start_step()
        self._early = False
        now = time.perf_counter()
        current.scalars["step_seconds"] = now - self._last_step
        current.scalars["watch_seconds"] = self._spent - self._spent_before
        self._pending.append(current)
        self._drain()
        self._pay(current, now)
        self.steps += 1

    def _pay(self, current: Pending, now: float) -> None:
        """Balance the budget over the time from the end of the last step to the end of this one."""
        took = now - self._last_step
        self._training += took
        self._budget.stepped(took, self._spent - self._spent_before)
        self._looks.stepped(current.step, took)
        self._last_step, self._spent_before = now, self._spent

    def _drain(self, wait: bool = False) -> None:
        """Judge and write what has arrived, in order."""
        while self._pending and (wait or self._pending[0].ready()):
            reading = self._pending.popleft().reading()
            if self._writer is not None:
                self._writer.write(reading)
            self._sinks.write(reading, self._watched.entries)
            for event in self._book.from_detectors(self._placed(self._alarms.feed(reading))):
                self._tell(event)
                if event.kind == "alarm":
                    self._looks.arm(locating=event.name.startswith("nonfinite"))

    def _placed(self, events: list[Event]) -> list[Event]:
        """Of a loss that is not finite, with the operation that made it so, where it was found."""
        origin = self._origin
        if origin is None:
            return events
        return [
            replace(
                event, where=origin.where or event.where, detail=f"{event.detail} {origin.said}."
            )
            if event.kind == "alarm" and event.name == "nonfinite-forward"
            else event
            for event in events
        ]

    def _take_look(self, diagnosis: Diagnosis) -> None:
        seconds = time.perf_counter() - self._began
        if self._writer is not None:
            self._writer.look(self.steps, packed(diagnosis))
        names = [finding.name for finding in diagnosis.findings if finding.severity != "note"]
        self._tell(self._event("look", "look", ", ".join(names) or "healthy"))
        for event in self._book.from_look(diagnosis, self.steps, seconds):
            self._tell(event)
        for finding in diagnosis.findings:
            self._alarms.hint(finding.name, finding.where)

    def _tell(self, event: Event) -> None:
        if self._writer is not None:
            self._writer.event(event)
        self._sinks.event(event)
        if event.kind == "alarm":
            self._new_alarms = (*self._new_alarms, event)
            level = logging.INFO if event.severity == "note" else logging.WARNING
            place = f" in {event.where[0]}" if event.where else ""
            more = f" and {len(event.where) - 1} more" if len(event.where) > 1 else ""
            why = f": {event.detail}" if event.detail else ""
            rank = self.place.spoken
            LOG.log(level, "%sstep %d: %s%s%s%s", rank, event.step, event.name, place, more, why)
        elif event.kind == "action":
            LOG.info("step %d: guard %s: %s", event.step, event.name, event.detail)

    def _tell_act(self, act: Act) -> None:
        self._tell(self._event("action", act.policy, act.detail, act.evidence, act.where))

    def _event(
        self,
        kind: str,
        name: str,
        detail: str,
        evidence: Any = None,
        where: tuple[str, ...] = (),
    ) -> Event:
        return Event(
            kind=kind,
            name=name,
            step=self.steps,
            seconds=time.perf_counter() - self._began,
            detail=detail,
            evidence=evidence or {},
            where=where,
        )

    # How it is done.

    def _make_readers(self) -> None:
        free = self._watched.free_columns()
        for number, optimizer in enumerate(self.optimizers):
            reader = StepReader(self._watched, optimizer, free if number == 0 else ())
            self._readers[id(optimizer)] = reader

    def _readers_anew(self) -> None:
        added = self._watched.update()
        for reader in self._readers.values():
            reader.release()
        self._make_readers()
        if added:
            self._alarms.add_tensors(added)
            if self._writer is not None:
                self._writer.add_tensors(added)

    @contextlib.contextmanager
    def _costing(self, kind: str) -> Generator[None]:
        started = time.perf_counter()
        yield
        self._budget.paid(kind, time.perf_counter() - started)

    @contextlib.contextmanager
    def _own(self) -> Generator[None]:
        """The watcher's own code: timed, without a graph, and never a reason for training to stop."""
        outermost = not getattr(self._depth, "inside", False)
        self._depth.inside = True
        started = time.perf_counter()
        try:
            with torch.no_grad():
                yield
        except TrainingStopped:  # a policy's own word, and the only one that stops a training
            raise
        except Exception as error:
            if self._strict:
                raise
            self._give_up(error)
        finally:
            if outermost:
                self._depth.inside = False
                self._spent += time.perf_counter() - started - self._looks.take_inside()

    def _give_up(self, error: Exception) -> None:
        if not self.closed:
            LOG.warning(
                "unvanish stopped watching at step %d, training goes on: %s (%s)",
                self.steps,
                error,
                type(error).__name__,
                exc_info=error,
            )
            with contextlib.suppress(Exception):
                self.close()


def _finite(loss: Tensor) -> bool:
    return bool(torch.isfinite(loss.detach()).all())
