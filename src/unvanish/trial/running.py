"""Running: the training of one arm under one seed, that can be taken further at any time."""

import contextlib
import copy
import math
import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from unvanish.errors import ModelFailed, UnvanishError
from unvanish.preserve import preserved
from unvanish.probe.compiled import eager
from unvanish.randomness import seed_all, seeded
from unvanish.surgery.controls import Controls
from unvanish.training.optimizer_copy import asks_for_closure, set_options
from unvanish.training.reached import kept
from unvanish.trial.arm import Arm
from unvanish.trial.task import Task
from unvanish.trial.yardstick import Score

_BETWEEN = 10
"""Steps between two looks at the clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What became of one arm under one seed.

    ``metric`` and ``loss`` are of the held-out part (``None``: no finite number), ``validation``
    the metric that step sizes are chosen by, ``losses`` of the training batches before each step
    (of a thinned record, means over equal stretches), ``seconds`` of the training alone. ``idle``:
    no loss required grad, nothing was trained.
    """

    label: str
    seed: int
    rate: float
    steps: int
    metric: float | None
    loss: float | None
    validation: float | None
    diverged: bool
    losses: tuple[float, ...]
    seconds: float
    idle: bool = False


class Running:
    """Copies of an arm's model and optimizer in training.

    The random numbers of step k are those of seed and k alone: going on later gives the bits of
    going through at once, and two arms that draw as many numbers draw the same ones.

    Args:
        arm: what is trained.
        task: on what, and what it is judged by.
        seed: of the draw, the order of batches and everything random.
        rate: factor on every learning rate.
        control: whose model the edits of the arm are made on under another seed than 0.
    """

    def __init__(
        self, arm: Arm, task: Task, seed: int = 0, rate: float = 1.0, control: Arm | None = None
    ) -> None:
        self._task, self._seed, self._rate, self._label = task, seed, rate, arm.label
        self._controls = copy.deepcopy(arm.controls)
        self.model, self.optimizer = arm.draw(seed, control, task.remake)
        if not any(module.training for module in self.model.modules()):
            self.model.train()
        if rate != 1:
            set_options(self.optimizer, rate, decay=True, momentum=True)
        self._closes = asks_for_closure(self.optimizer)
        self._losses: list[float] = []
        self._stopped, self._idle = False, True
        self.seconds = 0.0

    @property
    def losses(self) -> list[float]:
        """The training loss before each step; the last one is not finite where it diverged."""
        return self._losses

    @property
    def diverged(self) -> bool:
        """Whether a loss or a parameter is no finite number any more."""
        return self._stopped

    def advance(self, steps: int, until: float = math.inf) -> "Running":
        """Take more steps; none any more once it diverged, or when ``time.time()`` is past ``until``.

        Raises:
            ModelFailed: the model or the loss raised.
            BadInput: the loss is none.
        """
        started = time.perf_counter()
        try:
            with self._undisturbed():
                for taken in range(steps):
                    if self._stopped or (taken % _BETWEEN == 0 and time.time() > until):
                        break
                    self._step(self._task.split.batch(self._seed, len(self._losses)))
                self._stopped = self._stopped or not _finite(self.model)
        except UnvanishError:
            raise
        except Exception as error:
            if self._losses and not _finite(self.model):
                self._losses.append(math.nan)  # some losses refuse NaN instead of passing it on
                self._stopped = True
                return self
            raise self._failed(f"training step {len(self._losses)}", error) from error
        finally:
            self.seconds += time.perf_counter() - started
        return self

    def score(self) -> float:
        """The held-out metric with higher meaning better; minus infinity where it diverged.

        Of a task with a validation part it is that part's: what is chosen by must not be held out.
        """
        part = self._task.split.validation or self._task.split.held_out
        found = None if self._stopped else self.measure(part).metric
        if found is None:
            return -math.inf
        return found if self._task.yardstick.higher_is_better else -found

    def measure(self, batches: tuple[Any, ...]) -> Score:
        """The score on these batches in eval mode; the run can go on as if it had not been asked."""
        try:
            with self._undisturbed(), preserved(self.model, self._seed):
                self.model.eval()
                return self._task.yardstick.measure(self.model, batches)
        except UnvanishError:
            raise
        except Exception as error:
            raise self._failed("measuring it in eval mode", error) from error

    def run(self) -> Run:
        """The record so far."""
        split = self._task.split
        nothing = Score(metric=None, loss=None)
        judged = nothing if self._stopped else self.measure(split.held_out)
        asked = bool(split.validation) and not self._stopped
        chosen = self.measure(split.validation).metric if asked else None
        return Run(
            label=self._label,
            seed=self._seed,
            rate=self._rate,
            steps=len(self._losses),
            metric=judged.metric,
            loss=judged.loss,
            validation=chosen,
            diverged=judged.metric is None,
            losses=tuple(self._losses),
            seconds=self.seconds,
            idle=self._idle,
        )

    def _failed(self, doing: str, error: Exception) -> ModelFailed:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        return ModelFailed(f"{self._label or 'the model'}: {doing} raised: {said}.")

    @contextlib.contextmanager
    def _undisturbed(self) -> Generator[None]:
        outside = [thing for thing in self._task.outside() if thing is not self.model]
        with (
            torch.inference_mode(False),
            torch.enable_grad(),
            seeded(self._seed),
            kept(outside),
            eager(),
        ):
            yield

    def _step(self, batch: Any) -> None:
        seed_all(self._seed * 1_000_003 + len(self._losses))
        first: list[float] = []
        if self._closes:  # LBFGS asks for the loss several times a step
            cast(Any, self.optimizer).step(lambda: self._gradients(batch, first)[0])
        else:
            taken = self._gradients(batch, first)[1]
            if taken and math.isfinite(first[0]):
                self.optimizer.step()
        self._losses.append(first[0])
        self._stopped = not math.isfinite(first[0])

    def _gradients(self, batch: Any, seen: list[float]) -> tuple[Tensor, bool]:
        """The loss, its gradients in place, and whether the controls let the step be taken."""
        self.optimizer.zero_grad()
        self.model.zero_grad()
        value = self._task.loss_of(self.model, batch)
        seen.append(float(value.detach()))
        if not value.requires_grad:
            return value, False  # a sick arm may be one in which nothing trains
        self._idle = False
        if isinstance(self._controls, Controls):
            self._controls.before_backward(value, self.optimizer).backward()
            step = len(self._losses)
            return value, self._controls.before_step(self.model, self.optimizer, step)
        value.backward()
        if self._controls is not None:
            self._controls(self.model, self.optimizer)
        return value, True


def train(
    arm: Arm,
    task: Task,
    steps: int,
    seed: int = 0,
    rate: float = 1.0,
    control: Arm | None = None,
) -> Run:
    """One arm trained from its start, and its record."""
    return Running(arm, task, seed, rate, control).advance(steps).run()


def _finite(model: nn.Module) -> bool:
    floats = (p for p in model.parameters() if p.is_floating_point())
    return all(bool(p.isfinite().all()) for p in floats)
