"""The norm of the whole gradient, kept below a percentile of the norms so far."""

import bisect
import math
from collections import deque

from unvanish.clipping import percentile
from unvanish.guard import gradients
from unvanish.guard.policy import Moment
from unvanish.guard.reach import Reach
from unvanish.guard.settings import count, number


class AutoClip:
    """Bring the whole gradient down to a percentile of its own past norms.

    Seetharaman, Wichern, Pardo, Le Roux 2020 (arXiv:2007.14469), algorithm 1: the norm before
    clipping joins the history, the limit is the ``percent``-th percentile of the history, and
    g ← g · min(1, limit / |g|).

    It acts by its nature on about one step in ten at the default, in healthy trainings as well: a
    mild clipping, not an alarm. Non-finite gradients are neither clipped nor remembered.

    When it harms: norms that rise in the course of a training (sparse rewards, a curriculum) are
    held at what they used to be, for as long as the history says so.

    Args:
        percent: the paper finds 10 best for source separation with Adam, which clips nine steps of
            ten and so removes the length of the gradient altogether. 90 leaves nine of ten as they
            are, and still stops a spike.
        history: norms remembered; the paper keeps all, which an endless training cannot.
        warm_up: steps at the start without clipping. The first norms are no history yet.
    """

    name = "autoclip"

    def __init__(self, percent: float = 90, history: int = 10_000, warm_up: int = 10) -> None:
        self.percent = number(self.name, "percent", percent, most=100)
        self.history = count(self.name, "history", history, least=2)
        self.warm_up = count(self.name, "warm_up", warm_up, least=0)
        self._reach = Reach(self.name)
        self._norms: deque[float] = deque()
        self._ordered: list[float] = []

    def before_step(self, moment: Moment) -> None:
        if moment.skip or not self._reach.covers(moment):
            return
        norm = gradients.whole_norm(moment)
        if not math.isfinite(norm):
            return
        self._remember(norm)
        limit = percentile(self._ordered, self.percent)
        if len(self._norms) > self.warm_up and norm > limit:
            gradients.shrink(moment, limit / norm)
            words = f"gradient norm {norm:.3g} brought down to its percentile {self.percent:g}"
            moment.say(self.name, f"{words}, {limit:.3g}", {"norm": norm, "limit": limit})

    def after_step(self, moment: Moment) -> None: ...

    def close(self) -> None: ...

    def _remember(self, norm: float) -> None:
        self._norms.append(norm)
        bisect.insort(self._ordered, norm)
        if len(self._norms) > self.history:
            oldest = self._norms.popleft()
            del self._ordered[bisect.bisect_left(self._ordered, oldest)]
