"""Deep looks: now and then one step of the training is observed in full by the ledger."""

import contextlib
import json
import time
from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from unvanish.causes import CAUSES, nonfinite_backward, nonfinite_forward
from unvanish.causes.cause import Case, Finding
from unvanish.diagnosis import Diagnosis, judge, rank
from unvanish.experiments.laboratory import Laboratory
from unvanish.probe.live import LiveLook
from unvanish.shards import local_shard
from unvanish.trace import Trace
from unvanish.training.optimizer import read_optimizer
from unvanish.watching.budget import Budget
from unvanish.watching.stepping import STEPPING

PATIENCE = 3
"""Steps that an armed look waits for a forward and backward pass before it gives up."""
OVERFLOWED = frozenset((nonfinite_forward.CARD.name, nonfinite_backward.CARD.name))
"""What a loss scaler provokes and keeps from the weights."""


class Looks:
    """Arms a look, hands it what happens, and turns what it saw into a diagnosis.

    The first step is looked at on credit; from then on a look is taken when ``share`` of the
    training's time has paid for what the last one cost, or when an alarm asks for one. What it
    judges is the first of the ``optimizers``; others may hold the rest of the model.
    """

    def __init__(
        self, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], share: float | None
    ) -> None:
        self._model, self._optimizers = model, tuple(optimizers)
        self._began = STEPPING.clock
        self._budget = Budget(share, ())
        self._live: LiveLook | None = None
        self._closed = False
        self._waited = 0
        self._scale = 1.0
        self._cost = 0.0
        self._last = -1
        self.diagnosis: Diagnosis | None = None
        self.reason: str | None = None
        self.seconds = 0.0
        self._inside = 0.0

    @property
    def last(self) -> int | None:
        """The step that was last looked at."""
        return self._last if self._last >= 0 else None

    def take_inside(self) -> float:
        """Seconds since the last call that went by in here: they are booked as those of a look."""
        inside, self._inside = self._inside, 0.0
        return inside

    @contextlib.contextmanager
    def _booked(self) -> Generator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self._inside += time.perf_counter() - started

    @property
    def armed(self) -> bool:
        """Whether the next forward pass is looked at."""
        return self._live is not None

    def arm(self, locating: bool = False) -> None:
        """Look at the next forward and backward pass; ``locating`` the op that made NaN or Inf."""
        if self._live is not None or self.reason is not None or self._closed:
            return
        with self._booked():
            self._live = LiveLook(self._model, locating=locating)
            self._waited, self._scale = 0, 1.0
            self._live.begin()

    def before_backward(
        self, roots: Tensor | tuple[Tensor, ...], scale: float | None, continued: bool = False
    ) -> None:
        """A backward call begins."""
        if self._live is not None:
            with self._booked():
                self._scale = max(self._scale, scale or 1.0)
                self._live.before_backward(roots, scale, continued)

    def after_backward(self) -> None:
        """It is over."""
        if self._live is not None:
            with self._booked():
                self._live.after_backward()

    def gradients_ready(self, step: int) -> Diagnosis | None:
        """The optimizer is about to step: what was seen of this step, judged."""
        if self._live is None:
            return None
        with self._booked():
            return self._finish(self._live, step)

    def _finish(self, live: LiveLook, step: int) -> Diagnosis | None:
        self._waited += 1
        if not live.complete and self._waited < PATIENCE:
            return None
        self._live = None
        started = time.perf_counter()
        trace = live.finish()
        if trace is None:
            self.reason = live.reason or "no forward and backward pass of the model was met"
            return None
        beside = [*self._optimizers[1:], *STEPPING.since(self._began + 1)]
        reading = read_optimizer(self._optimizers[0], self._model, beside)
        trace = _less_reached(trace, self._model)
        case = Case(trace=trace, laboratory=Laboratory(), optimizer=reading)
        self.diagnosis = judge(case, CAUSES)
        if self._scale > 1:
            self.diagnosis = _scaled(self.diagnosis)
        self._cost = live.seconds + time.perf_counter() - started
        self.seconds += self._cost
        self._last = step
        return self.diagnosis

    def stepped(self, step: int, step_seconds: float) -> None:
        """A step is over: pay in, and arm the next look if it is paid for."""
        spent, self._cost = self._cost, 0.0
        if spent:
            self._budget.paid("look", spent)
        self._budget.stepped(step_seconds, spent)
        if self._budget.share is not None and self._budget.due("look") and step - self._last > 1:
            self.arm()

    def close(self) -> None:
        """Take everything off, for good: what is judged after that may still ask for a look."""
        self._closed = True
        if self._live is not None:
            self._live.abandon()
            self._live = None


def _less_reached(trace: Trace, model: nn.Module) -> Trace:
    """Cuts less the parameters that have a gradient all the same, now that the optimizer steps.

    One backward call was seen. Another one of this step reached them: an actor's, after its critic's.
    """
    parameters = dict(model.named_parameters())

    def has_gradient(name: str) -> bool:
        gradient = parameters[name].grad if name in parameters else None
        return gradient is not None and bool(local_shard(gradient.detach()).norm())

    kept = [
        replace(cut, parameters=tuple(n for n in cut.parameters if not has_gradient(n)))
        for cut in trace.cuts
    ]
    return replace(trace, cuts=tuple(cut for cut in kept if cut.parameters))


def _scaled(diagnosis: Diagnosis) -> Diagnosis:
    """Of a step at a loss scale above 1: what is not finite is the scale's doing, and is skipped.

    A fault that is there without a scale as well makes the scaler go down to 1, and is named there.
    """

    def told(finding: Finding) -> Finding:
        caused = finding.name in OVERFLOWED or finding.because in OVERFLOWED
        return replace(finding, severity="note") if caused else finding

    return replace(diagnosis, findings=rank([told(f) for f in diagnosis.findings], CAUSES))


def packed(diagnosis: Diagnosis) -> str:
    """The diagnosis as the text that a recording keeps."""
    return json.dumps(diagnosis.to_json(), allow_nan=False, default=_plain)


def _plain(value: Any) -> float:
    return float(value)
