"""Every training of a process watched, with no line of its program changed.

torch calls a global hook before each step of any optimizer: one that is not watched yet is put
under watch there, over the module that owns its parameters.
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from unvanish.watching.monitor import Monitor
from unvanish.watching.owner import Doubt, forgotten_by, owner_of
from unvanish.watching.stepping import Met
from unvanish.watching.watch import watch

LOG = logging.getLogger("unvanish")

MOST = 16
"""Trainings watched in one process; a search over hundreds of nets is not one to write down."""


class Everything:
    """A context: each optimizer that steps inside is watched, recordings lie under ``to``.

    The first training is recorded in ``to`` itself, the next in ``to/2`` and so on. ``monitors`` are
    those of the trainings met, in the order of their first step.
    """

    def __init__(
        self,
        to: Path,
        *,
        guard: Sequence[str] = (),
        budget: float | None = 0.02,
        started: Callable[[Monitor], object] | None = None,
    ) -> None:
        self._to, self._guard, self._budget, self._started = to, tuple(guard), budget, started
        self._known = Met()
        self._doubts: list[Doubt] = []
        self.monitors: list[Monitor] = []
        self.left_out = 0

    def __enter__(self) -> "Everything":
        self._handle = register_optimizer_step_pre_hook(self._before_step)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._handle.remove()
        for monitor in self.monitors:
            monitor.__exit__(kind, error, traceback)

    def _before_step(self, optimizer: torch.optim.Optimizer, arguments: Any, options: Any) -> None:
        if optimizer in self._known:
            return
        if any(optimizer is one for monitor in self.monitors for one in monitor.optimizers):
            self._known.put(optimizer)
            return
        if len(self.monitors) >= MOST:
            self._known.put(optimizer)
            self.left_out += 1
            return
        try:
            model = self._model_of(optimizer)
            if model is None:
                return
            self._known.put(optimizer)
            # Its hooks are on the optimizer before torch goes on to call those: this step is read.
            folder = self._to / str(len(self.monitors) + 1) if self.monitors else self._to
            monitor = watch(model, optimizer, folder, self._guard, budget=self._budget)
        except Exception as error:
            self._known.put(optimizer)
            LOG.warning("a training is not watched: %s", error)
            return
        self.monitors.append(monitor)
        if self._started is not None:
            self._started(monitor)

    def _model_of(self, optimizer: torch.optim.Optimizer) -> nn.Module | None:
        """What it trains; ``None`` where only its next step can tell."""
        doubt = next((one for one in self._doubts if one.is_about(optimizer)), None)
        if doubt is None:
            left = forgotten_by(optimizer)
            if not left:
                return owner_of(optimizer)
            self._doubts.append(Doubt(optimizer, left))
            return None
        self._doubts.remove(doubt)
        return owner_of(optimizer, doubt.forgotten if doubt.confirmed() else ())
