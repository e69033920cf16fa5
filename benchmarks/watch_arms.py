"""The watchers that are compared, each as somebody would use it, at every step."""

import contextlib
import importlib.util
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from watch_models import Training

from unvanish.watching.fused import Passes
from unvanish.watching.listening import LISTENING
from unvanish.watching.own_work import OwnWork
from unvanish.watching.watch import watch


class Arm:
    """A training under one watcher. ``seconds`` were spent in the watcher's own code (CPU time).

    ``countable`` is False where a watcher sits in hooks or modes and only whole steps can be timed.
    """

    countable = True

    def __init__(self, training: Training) -> None:
        self.training = training
        self.seconds = 0.0

    def step(self) -> None:
        self.training.backward()
        started = time.thread_time()
        self.look(self.training.model)
        self.seconds += time.thread_time() - started
        self.training.optimizer.step()

    def look(self, model: nn.Module) -> None:
        """What the watcher does between backward and the update."""

    def resume(self) -> None:
        """The other arms had their turn; this one's comes."""

    def pause(self) -> None:
        """Its turn is over."""

    def close(self) -> None:
        """Everything is over."""


class Clip(Arm):
    """``torch.nn.utils.clip_grad_norm_``."""

    def look(self, model: nn.Module) -> None:
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)


class Folk(Arm):
    """The loop that everybody writes: mean magnitude and largest of each gradient, to numbers."""

    def look(self, model: nn.Module) -> None:
        self.kept = {
            name: (p.grad.abs().mean().item(), p.grad.abs().max().item())
            for name, p in model.named_parameters()
            if p.grad is not None
        }


class LightningNorm(Arm):
    """Lightning's ``grad_norm``: the norm of each and of all, each a number (its formula)."""

    def look(self, model: nn.Module) -> None:
        norms = {
            name: p.grad.data.norm(2) for name, p in model.named_parameters() if p.grad is not None
        }
        total = torch.tensor(list(norms.values())).norm(2)
        self.kept = {name: norm.item() for name, norm in norms.items()} | {"": total.item()}


class Anomaly(Arm):
    """``torch.autograd.set_detect_anomaly(True)``."""

    countable = False

    def step(self) -> None:
        with torch.autograd.detect_anomaly(check_nan=True):
            self.training.backward()
        self.training.optimizer.step()


class Wandb(Arm):
    """``wandb.watch(log="gradients", log_freq=1)``, offline, logged at every step."""

    countable = False

    def __init__(self, training: Training) -> None:
        super().__init__(training)
        import wandb

        self._folder = tempfile.mkdtemp()
        os.environ |= {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_DIR": self._folder}
        self._run: Any = wandb.init(project="cost", dir=self._folder)
        self._run.watch(training.model, log="gradients", log_freq=1)

    def step(self) -> None:
        super().step()
        self._run.log({"step": 1})

    def close(self) -> None:
        self._run.finish()


class TensorBoard(Arm):
    """``add_histogram`` of each gradient, as in its tutorial."""

    def __init__(self, training: Training) -> None:
        super().__init__(training)
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(tempfile.mkdtemp())
        self._step = 0

    def look(self, model: nn.Module) -> None:
        self._step += 1
        for name, p in model.named_parameters():
            if p.grad is not None:
                self._writer.add_histogram(name, p.grad, self._step)

    def close(self) -> None:
        self._writer.close()


class _InProcessorTime:
    """The watcher's own work as it is, also timed in CPU time of this thread."""

    def __init__(self, own: OwnWork, arm: Arm) -> None:
        self._own, self._arm, self._deep = own, arm, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        self._deep += 1
        started = time.thread_time()
        try:
            with self._own():
                yield
        finally:
            self._deep -= 1
            if not self._deep:
                self._arm.seconds += time.thread_time() - started


class Ours(Arm):
    """``unvanish.watch``, recording to disk."""

    def __init__(self, training: Training, budget: float | None) -> None:
        super().__init__(training)
        self.folder = tempfile.mkdtemp()
        self.monitor = watch(training.model, training.optimizer, to=self.folder, budget=budget)
        self._heard, self._own = self.monitor._steps, self.monitor._own
        vars(self._heard)["_own"] = _InProcessorTime(self._own, self)
        self.pause()

    def resume(self) -> None:
        LISTENING.add(self._heard)
        self._own.last_step = time.perf_counter()  # the other arms' time is not this training's

    def pause(self) -> None:
        LISTENING.remove(self._heard)

    def close(self) -> None:
        self.monitor.close()


class PassesAlone(Arm):
    """Only the passes over memory: no recording, no alarms, no budget."""

    def __init__(self, training: Training, everything: bool) -> None:
        super().__init__(training)
        self.parameters = list(training.model.parameters())
        self.passes, self.everything = Passes(self.parameters), everything

    def step(self) -> None:
        self.training.backward()
        started = time.thread_time()
        gradients = [parameter.grad for parameter in self.parameters]
        self.kept = self.passes.gradients(gradients, histogram=self.everything).values
        if self.everything:
            self.passes.before_step()
        self.seconds += time.thread_time() - started
        self.training.optimizer.step()
        started = time.thread_time()
        if self.everything:
            self.kept |= self.passes.after_step()
        self.seconds += time.thread_time() - started


def _installed(*names: str) -> bool:
    return all(importlib.util.find_spec(name) is not None for name in names)


def arms() -> dict[str, Callable[[Training], Arm]]:
    """Every watcher that is installed here, by name; ``nothing`` is what all are compared with."""
    found: dict[str, Callable[[Training], Arm]] = {
        "nothing": Arm,
        "nothing again": Arm,
        "clip_grad_norm_": Clip,
        "folk loop": Folk,
        "lightning grad_norm": LightningNorm,
        "unvanish": lambda training: Ours(training, 0.02),
        "unvanish, budget=None": lambda training: Ours(training, None),
        "passes alone, moments": lambda training: PassesAlone(training, False),
        "passes alone, everything": lambda training: PassesAlone(training, True),
        "anomaly mode": Anomaly,
    }
    if _installed("tensorboard"):
        found["tensorboard histograms"] = TensorBoard
    if _installed("wandb"):
        found["wandb.watch"] = Wandb
    return found
