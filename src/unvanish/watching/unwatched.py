"""What :func:`unvanish.watch` hands back where a training cannot be watched: it does nothing."""

import torch
from torch import nn

from unvanish.diagnosis import Diagnosis
from unvanish.watching.parallel import place
from unvanish.watching.unseen import nothing_seen


class Unwatched:
    """A monitor that watches nothing, so that the training's own code need not ask."""

    def __init__(self, model: nn.Module, reason: str) -> None:
        self._model, self.reason = model, reason
        self.steps, self.closed = 0, True
        self.alarms = self.active = ()
        self.recording = self.path = self.cost = None
        self.optimizers: tuple[torch.optim.Optimizer, ...] = ()
        self.place = place()

    @property
    def diagnosis(self) -> Diagnosis:
        """Nothing was seen, and why."""
        return nothing_seen(self._model, self.reason)

    def __enter__(self) -> "Unwatched":
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to take off."""

    def close(self) -> None:
        """Nothing to close."""
