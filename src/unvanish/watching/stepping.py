"""Which optimizers of this process step, and since when: none of them is kept alive for that."""

import threading
import weakref
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook


class Met:
    """Optimizers by identity, each with a number. A dead one is forgotten: its id may come again."""

    def __init__(self) -> None:
        self._met: dict[int, tuple[weakref.ref[torch.optim.Optimizer], int]] = {}

    def put(self, optimizer: torch.optim.Optimizer, number: int = 0) -> None:
        """Remember it, with its newest number."""
        entry = self._met.get(id(optimizer))
        known = entry[0] if entry is not None and entry[0]() is optimizer else None
        self._met[id(optimizer)] = known or weakref.ref(optimizer), number

    def __contains__(self, optimizer: torch.optim.Optimizer) -> bool:
        entry = self._met.get(id(optimizer))
        return entry is not None and entry[0]() is optimizer

    def since(self, number: int) -> list[torch.optim.Optimizer]:
        """Those that live and have this number or a higher one."""
        living = [(one(), last) for one, last in list(self._met.values())]
        self._met = {key: entry for key, entry in list(self._met.items()) if entry[0]() is not None}
        return [one for one, last in living if one is not None and last >= number]


class Stepping:
    """Notes every optimizer that steps, for as long as somebody watches.

    ``clock`` counts those steps. A model's parameters may be spread over optimizers that the watch
    was never told of: what those hold is not forgotten, if they step. One of an earlier stage lives
    on and steps no more.
    """

    def __init__(self) -> None:
        self.clock = 0
        self._met = Met()
        self._lock = threading.Lock()
        self._users = 0
        self._handle: Any = None

    def begin(self) -> None:
        """Somebody watches."""
        with self._lock:
            if not self._users:
                self._handle = register_optimizer_step_post_hook(self._after_step)
            self._users += 1

    def end(self) -> None:
        """And no more; the last one to go takes the hook off."""
        with self._lock:
            self._users -= 1
            if not self._users:
                self._handle.remove()
                self._met = Met()

    def since(self, clock: int) -> list[torch.optim.Optimizer]:
        """The living optimizers that stepped since then."""
        return self._met.since(clock)

    def _after_step(self, optimizer: torch.optim.Optimizer, arguments: Any, options: Any) -> None:
        if not torch.compiler.is_compiling():
            self.clock += 1
            self._met.put(optimizer, self.clock)


STEPPING = Stepping()
"""The one of this process."""
