"""The steps of a training as they come: from the first backward pass to the end of each step."""

import contextlib
import logging
import sys
import threading
import time
from collections.abc import Generator, Sequence
from typing import Any

import torch
from torch import Tensor

from unvanish.errors import TrainingStopped
from unvanish.guard.policy import Act
from unvanish.watching.attachment import Attachment
from unvanish.watching.budget import Budget
from unvanish.watching.guarding import Guarding
from unvanish.watching.judging import Judging
from unvanish.watching.listening import LISTENING
from unvanish.watching.looks import Looks
from unvanish.watching.own_work import OwnWork
from unvanish.watching.reading import Number, Pending, StepReader
from unvanish.watching.step_facts import StepFacts
from unvanish.watching.stepping import STEPPING
from unvanish.watching.telling import Telling
from unvanish.watching.watched import Watched

LOG = logging.getLogger("unvanish")

UNUSED = 100
"""Backward passes without a step. To add up the gradients of many batches is nothing unusual."""


class Steps:
    """Hears backward passes, clipping, loss scalers and optimizer steps; reads what each step used.

    ``number`` is how many steps are over. With several optimizers a step is over when each has
    stepped, or one steps again. Nothing in here may raise into the training (:class:`OwnWork`).
    """

    def __init__(
        self,
        optimizers: Sequence[torch.optim.Optimizer],
        watched: Watched,
        own: OwnWork,
        *,
        budget: Budget,
        looks: Looks,
        guarding: Guarding,
        judging: Judging,
        telling: Telling,
    ) -> None:
        self._optimizers, self._watched, self._own = tuple(optimizers), watched, own
        self._budget, self._looks, self._guarding = budget, looks, guarding
        self._judging, self._telling = judging, telling
        self._facts = StepFacts(watched)
        self._readers: dict[int, StepReader] = {}
        self._current: Pending | None = None
        self._done: set[int] = set()
        self._wanted: set[str] = set()
        self._home = threading.get_ident()
        self._compiled = self._early = self._local = False
        self.number = 0
        self._make_readers()
        self._attachments = [Attachment(one, self._ready, self._stepped) for one in optimizers]
        LISTENING.add(self)
        STEPPING.begin()

    def detach(self) -> None:
        """Hear nothing any more, and take every hook off."""
        LISTENING.remove(self)
        STEPPING.end()
        for attachment in self._attachments:
            attachment.remove()

    def release(self) -> None:
        """Let go of what the readers hold."""
        for reader in self._readers.values():
            reader.release()

    # What is heard: see unvanish.watching.listening.Listener.

    def before_backward(self, loss: Tensor, roots: Any, scale: Any, given: Any) -> None:
        """A backward call begins."""
        if self._elsewhere():
            return
        with self._own():
            self.catch_up()
            self._facts.before_backward(loss, scale, given)
            self._judging.loss(loss)
            if self._looks.armed:
                scale = None if scale is None else float(scale)
                self._looks.before_backward(roots, scale, self._facts.continued)

    def after_backward(self, failed: bool) -> None:
        """It is over."""
        if self._elsewhere():
            return
        with self._own():
            reached = self._facts.after_backward(failed)
            self._looks.after_backward()
            if reached and self._may_be_compiled():
                self._read_early()
            self._doubt(reached)

    def _doubt(self, reached: bool) -> None:
        """Say once that nothing steps, where so many gradients should have been used by now."""
        if reached and not self.number and self._facts.backwards == UNUSED:
            names = ", ".join(type(one).__name__ for one in self._optimizers)
            LOG.warning(
                "%d backward passes and no step of %s was seen: if another optimizer takes the "
                "steps, watch that one",
                UNUSED,
                names,
            )

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
            if any(optimizer is one for one in self._optimizers) and self._facts.skipped():
                self._read(optimizer)
                self._finish(optimizer, skipped=1.0)

    def scale_updated(self, scaler: Any) -> None:
        """A loss scaler has chosen its next scale."""
        with self._own():
            if self._guarding and self._facts.scaler is scaler:
                self._tell(self._guarding.after_scale_update(self.number, scaler))

    def _elsewhere(self) -> bool:
        """Whether this is another thread than the one that trains what is watched here.

        Everybody hears every thread's backward passes. To ask for a gradient while another thread
        frees it or adds to it would end the whole process.
        """
        return threading.get_ident() != self._home

    # A compiled step comes without a word: it is read before, and met afterwards.

    def _may_be_compiled(self) -> bool:
        """Whether the step that comes will not call us: once it is known, and once in case it is."""
        return self._compiled or (not self.number and "torch._dynamo" in sys.modules)

    def _read_early(self) -> None:
        self._current, self._early = None, True
        self._done.clear()
        for optimizer in self._optimizers:
            self._read(optimizer, self._facts.scale)
            if "update" in self._wanted:
                self._readers[id(optimizer)].before_step()

    def catch_up(self) -> None:
        """A compiled step has been taken since: what was read early is what it used."""
        for attachment in self._attachments:
            if attachment.compiled:
                attachment.compiled = False
                self._compiled = True
                if self._current is not None and self._early:
                    self._stepped(attachment.optimizer)

    # One step.

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
            self._tell(self._guarding.after_step())
            self._finish(optimizer, skipped=self._facts.found_nonfinite(optimizer))

    def _read(self, optimizer: torch.optim.Optimizer, scale: float | None = None) -> None:
        if id(optimizer) in self._done:
            self._end_step()  # it steps again: what the others did not do, they did not do
        if self._watched.changed():
            self._readers_anew()
        # Read early in case, a step may have another backward call before it.
        whole = self._compiled or not self._early
        diagnosis = self._looks.gradients_ready(self.number) if whole else None
        if diagnosis is not None:
            self._judging.look(self.number, diagnosis)
        if self._current is None:
            self._wanted = self._budget.wanted()
            if "update" in self._wanted and self._watched.renewed():
                self._readers_anew()
                self._looks.arm()
            self._current = Pending(self.number, self._own.clock, len(self._watched))
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
        self._current.stage = self._facts.stage(self._local, self._early)
        alarms = self._telling.take_alarms()
        try:
            self._guarding.before_step(optimizer, self._current, self._facts, scale, alarms)
        except TrainingStopped:
            self._tell(self._guarding.after_step())
            raise
        if self._guarding.skipping:
            self._current.scalars["skipped"] = 1.0

    def _tell(self, acts: list[Act]) -> None:
        for act in acts:
            self._telling.act(self.number, act)

    def _finish(self, optimizer: torch.optim.Optimizer, skipped: Number) -> None:
        assert self._current is not None
        self._done.add(id(optimizer))
        if not isinstance(skipped, float) or skipped:
            self._current.scalars["skipped"] = skipped
        if len(self._done) == len(self._optimizers):
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
        current.scalars["step_seconds"] = now - self._own.last_step
        current.scalars["watch_seconds"] = self._own.spent_in_step
        self._judging.step(current)
        self._budget.stepped(now - self._own.last_step, self._own.spent_in_step)
        self._looks.stepped(current.step, self._own.end_step(now))
        self.number += 1

    @contextlib.contextmanager
    def _costing(self, kind: str) -> Generator[None]:
        started = time.perf_counter()
        yield
        self._budget.paid(kind, time.perf_counter() - started)

    # Who reads.

    def _make_readers(self) -> None:
        free = self._watched.free_columns()
        for number, optimizer in enumerate(self._optimizers):
            reader = StepReader(self._watched, optimizer, free if number == 0 else ())
            self._readers[id(optimizer)] = reader

    def _readers_anew(self) -> None:
        added = self._watched.update()
        self.release()
        self._make_readers()
        if added:
            self._judging.new_tensors(added)
