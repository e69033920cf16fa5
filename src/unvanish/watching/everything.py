"""Every training of a process watched, with no line of its program changed.

torch calls a global hook before each step of any optimizer: one that is not watched yet is put
under watch there, over the module that owns its parameters.
"""

import gc
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from unvanish.watching.monitor import Monitor
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
        self._known.put(optimizer)
        if any(optimizer is one for monitor in self.monitors for one in monitor.optimizers):
            return
        if len(self.monitors) >= MOST:
            self.left_out += 1
            return
        try:
            # Its hooks are on the optimizer before torch goes on to call those: this step is read.
            folder = self._to / str(len(self.monitors) + 1) if self.monitors else self._to
            monitor = watch(
                owner_of(optimizer), optimizer, folder, self._guard, budget=self._budget
            )
        except Exception as error:
            LOG.warning("a training is not watched: %s", error)
            return
        self.monitors.append(monitor)
        if self._started is not None:
            self._started(monitor)


def owner_of(optimizer: torch.optim.Optimizer) -> nn.Module:
    """The outermost living module that owns all parameters of an optimizer and trains no others.

    What is frozen around them (the base of an adapter, a backbone) belongs to the same model. Where
    no single module owns all, the largest owners side by side, in a module that is never called.
    """
    wanted = {
        id(p) for group in optimizer.param_groups for p in cast(list[Tensor], group["params"])
    }
    owned: list[tuple[int, int, nn.Module]] = []
    for module in _living_modules():
        own = {id(parameter) for parameter in module.parameters()}
        if own & wanted:
            trained = {id(p) for p in module.parameters() if p.requires_grad}
            owned.append((len(own & wanted), len(trained | (own & wanted)), module))
    if not owned:
        return nn.ParameterList()
    most = max(covers for covers, _, _ in owned)
    if most == len(wanted):
        # Of those that own no more than they must the outermost: it is the one that is called.
        size = min(size for covers, size, _ in owned if covers == most)
        smallest = [m for covers, s, m in owned if covers == most and s == size]
        return max(smallest, key=lambda module: sum(1 for _ in module.modules()))
    return _side_by_side(sorted(owned, key=lambda one: (-one[0], one[1])), wanted)


def _side_by_side(owned: list[tuple[int, int, nn.Module]], wanted: set[int]) -> nn.Module:
    left = set(wanted)
    together: dict[str, nn.Module] = {}
    for _, _, module in owned:
        own = {id(parameter) for parameter in module.parameters()}
        if own & left:
            name = type(module).__name__.lower()
            taken = sum(1 for key in together if key.rstrip("0123456789") == name)
            together[f"{name}{taken + 1}" if taken else name] = module
            left -= own
    return nn.ModuleDict(together)


def _living_modules() -> list[nn.Module]:
    found: list[nn.Module] = []
    for thing in gc.get_objects():
        # type() and not isinstance(): lazy proxies answer isinstance by importing what they stand for.
        if issubclass(type(thing), nn.Module) and "_parameters" in thing.__dict__:
            found.append(thing)
    return found
