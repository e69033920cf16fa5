"""The watcher's own code inside of somebody's training: what it takes, and what it may do to it."""

import contextlib
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass

import torch

from unvanish.errors import TrainingStopped


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


class OwnWork:
    """A context for the watcher's own code: timed, without a graph, and no reason for training to stop.

    An error inside goes to ``gave_up``; with ``strict`` it is raised. ``apart`` says how many of the
    seconds since it was last asked are booked elsewhere: those of deep looks.
    """

    def __init__(
        self, gave_up: Callable[[Exception], None], *, strict: bool, apart: Callable[[], float]
    ) -> None:
        self._gave_up, self._strict, self._apart = gave_up, strict, apart
        self._thread = threading.local()
        self._began = self.last_step = time.perf_counter()
        self._spent_before = 0.0
        self.spent = self.training = 0.0

    @property
    def clock(self) -> float:
        """Seconds since the watch began."""
        return time.perf_counter() - self._began

    @property
    def spent_in_step(self) -> float:
        """Seconds of the watcher's own since the end of the last step."""
        return self.spent - self._spent_before

    def end_step(self, now: float) -> float:
        """A step ends ``now``: how long it took, from the end of the one before."""
        took = now - self.last_step
        self.training += took
        self.last_step, self._spent_before = now, self.spent
        return took

    @contextlib.contextmanager
    def __call__(self) -> Generator[None]:
        outermost = not getattr(self._thread, "inside", False)
        self._thread.inside = True
        started = time.perf_counter()
        try:
            with torch.no_grad():
                yield
        except TrainingStopped:  # a policy's own word, and the only one that stops a training
            raise
        except Exception as error:
            if self._strict:
                raise
            self._gave_up(error)
        finally:
            if outermost:
                self._thread.inside = False
                self.spent += time.perf_counter() - started - self._apart()
