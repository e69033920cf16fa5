"""Judges a training: by detectors over the readings of every step, and by deep looks at one."""

import atexit
import os
import threading
import weakref
from collections import deque
from dataclasses import replace
from typing import Final

import torch
from torch import Tensor

from unvanish.alarms import Alarms
from unvanish.alarms.moment import EPSILON
from unvanish.diagnosis import Diagnosis
from unvanish.recording import Event, StepReading, TensorEntry
from unvanish.watching.alarm_book import AlarmBook
from unvanish.watching.budget import Budget
from unvanish.watching.looks import Looks
from unvanish.watching.origins import Origins
from unvanish.watching.reading import Pending
from unvanish.watching.telling import Telling
from unvanish.watching.watched import Watched

AT_LATEST: Final = 0.4
"""Seconds for which steps may wait to be judged. Right after a backward pass the processor's caches
hold none of this code: judging a few steps one after the other costs little more than one. With the
next step, which may take almost as long, and the fifth of a second until the recording is written,
a process that is killed loses less than a second."""
MOST_TOGETHER: Final = 16
COMPARED: Final = 2
"""Readings of the weights that a change is seen from, where something is worth a look."""


class Judging:
    """Takes what was read of each step, in order; what it finds goes into the book and is told.

    Steps are judged a few at a time, ``at_once`` where somebody acts on what is found.
    """

    def __init__(
        self,
        watched: Watched,
        optimizer: torch.optim.Optimizer,
        looks: Looks,
        book: AlarmBook,
        telling: Telling,
        *,
        readings: Budget,
        at_once: bool,
    ) -> None:
        self._watched, self._looks, self._book = watched, looks, book
        self._readings = readings
        self._telling = telling
        kind = type(optimizer).__name__
        self._alarms = Alarms(watched.entries, optimizer=kind, epsilon=_epsilon(optimizer))
        self._pending: deque[Pending] = deque()
        self._origins = Origins(watched)
        self._at_once, self._judging = at_once, False
        self._home = threading.get_ident(), os.getpid()
        _open.add(self)

    def loss(self, loss: Tensor) -> None:
        """Find the operation that made a loss non-finite, while its graph is still there."""
        self._origins.loss(loss)

    def new_tensors(self, added: list[TensorEntry]) -> None:
        """Tensors that came while the training ran."""
        self._alarms.add_tensors(added)
        self._telling.new_tensors(added)

    def step(self, pending: Pending) -> None:
        """A step is over; its numbers may still be on their way from a device."""
        self._home = threading.get_ident(), os.getpid()
        self._origins.stepped(pending.step)
        self._pending.append(pending)
        waited = self._telling.clock() - self._pending[0].seconds
        if self._at_once or waited >= AT_LATEST or len(self._pending) >= MOST_TOGETHER:
            self.drain()

    def catch_up(self) -> None:
        """Judge what waits, before somebody reads it; only the thread that trains can, once at a time.

        Who is told of an alarm may ask for all of them.
        """
        if self._home == (threading.get_ident(), os.getpid()) and not self._judging:
            self.drain()

    def close(self) -> None:
        """Judge and write everything, and wait for what a device still holds."""
        _open.discard(self)
        self.drain(wait=True)

    def drain(self, wait: bool = False) -> None:
        """Judge and write what has arrived, in order."""
        self._judging = True
        try:
            while self._pending and (wait or self._pending[0].ready()):
                self._judge(self._pending.popleft().reading())
        finally:
            self._judging = False

    def _judge(self, reading: StepReading) -> None:
        self._telling.reading(reading, self._watched.entries)
        events = [self._placed(event) for event in self._alarms.feed(reading)]
        for event in self._book.from_detectors(events, self._alarms.causes):
            self._telling.event(event)
            if event.kind == "alarm":
                self._looks.arm(locating=event.name.startswith("nonfinite"))
            elif any(alarm.because == event.name for alarm in self._book.active):
                self._looks.arm()  # what followed from it may be there all the same
        self._book.call_back()
        if self._alarms.worth_a_look:
            self._looks.arm()
            self._readings.ask("update", COMPARED)

    def _placed(self, event: Event) -> Event:
        """Of a loss that is not finite, with the operation that made it so, where it was found."""
        if event.kind != "alarm" or event.name != "nonfinite-forward":
            return event
        origin = self._origins.of(event.step)
        if origin is None:
            return event
        said = f"{event.detail} {origin.said}."
        return replace(event, where=origin.where or event.where, detail=said)

    def look(self, step: int, diagnosis: Diagnosis) -> None:
        """This step was observed in full."""
        self.drain()  # what was found is told with what the steps before know of it
        self._telling.look(step, diagnosis)
        clock, told = self._telling.clock(), self._alarms.of_look
        for event in self._book.from_look(diagnosis, step, clock, told):
            self._telling.event(event)
        self._book.call_back()
        for finding in diagnosis.findings:
            if finding.severity != "note":
                self._alarms.hint(finding.name, finding.where)


_open: weakref.WeakSet[Judging] = weakref.WeakSet()


def _epsilon(optimizer: torch.optim.Optimizer) -> float:
    """The least that a group has been given, which is what every tensor meets; else torch's own."""
    given = [g["eps"] for g in optimizer.param_groups if isinstance(g.get("eps"), float | int)]
    return float(min(given, default=EPSILON))


@atexit.register
def _close_all() -> None:
    """Of a watch that nobody closed, the last steps: a process that ends takes them along."""
    for judging in list(_open):
        judging.catch_up()
