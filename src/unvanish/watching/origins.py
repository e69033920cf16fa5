"""When the origin of a loss that is not finite is looked for: while the weights are still sound."""

import math
from collections import deque

import torch
from torch import Tensor

from unvanish.shards import known_here
from unvanish.watching.origin import Origin, origin_of
from unvanish.watching.watched import Watched

MOST_KEPT = 64
"""More than the steps that wait to be judged."""


class Origins:
    """Looks for the origin once each time that losses begin not to be finite.

    After that step the weights may be NaN themselves, and with them every operation: what is found
    then is no origin, also where nothing was found before. Only a whole step of finite losses shows
    that the weights are sound. And a training that is lost is not to be slowed down as well.
    """

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self._lost = self._lost_now = False
        self._last: Origin | None = None
        self._kept: deque[tuple[int, Origin | None]] = deque(maxlen=MOST_KEPT)

    def loss(self, loss: Tensor) -> None:
        """A backward pass is about to begin from this loss, and to free its graph."""
        if loss.device.type != "cpu" or _finite(loss):
            return
        if not self._lost:
            self._last = origin_of(loss, self._watched.names)
        self._lost = self._lost_now = True

    def stepped(self, step: int) -> None:
        """All losses of this step were heard."""
        if self._lost_now:
            self._kept.append((step, self._last))
        self._lost, self._lost_now = self._lost_now, False

    def of(self, step: int) -> Origin | None:
        """Where the loss of this step comes from, if it is not finite and that was found."""
        return next((origin for at, origin in self._kept if at == step), None)


def _finite(loss: Tensor) -> bool:
    here = known_here(loss)
    if here is None:
        return True  # nobody has said otherwise
    loss = here
    if loss.numel() == 1 and not loss.is_complex():
        return math.isfinite(loss.item())  # a tenth of what the operations below take
    return bool(torch.isfinite(loss.detach()).all())
