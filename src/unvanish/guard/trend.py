"""When a loss has left its own trend for good: divergence, and not a bad batch."""

import math
import statistics
from collections import deque


class LossTrend:
    """Tells divergence from noise by medians, whatever the scale and the sign of the loss.

    A loss has diverged when the median of the last ``recent`` losses lies above the level, the
    median of ``reference`` losses before them,

    - by more than ``deviations`` robust standard deviations (1.4826 times the median absolute
      deviation) of those, and
    - by more than the share ``lost`` of everything gained so far (the first level minus the lowest).

    The first condition says that it is no noise, the second that it matters; shifting or
    scaling the loss changes neither. One bad batch among five does not move a median; a loss
    that stays up is seen after three. In the first 20 steps nothing is judged. What lies
    more than three deviations above the level does not become part of it before a hundred steps
    have passed: a training that gets worse by and by does not make that usual.

    Args:
        recent: losses that must agree.
        reference: losses that make the level.
        deviations: 6, which noise of any common shape does not reach with a median.
        lost: 0.25.
    """

    def __init__(
        self, recent: int = 5, reference: int = 50, deviations: float = 6.0, lost: float = 0.25
    ) -> None:
        self._recent: deque[float] = deque(maxlen=recent)
        self._reference: deque[float] = deque(maxlen=reference)
        self._deviations = deviations
        self._lost = lost
        self._start = math.nan
        self._lowest = math.inf
        self._apart = 0
        self.outside = 0
        """Steps since the loss left its trend; 0 while it is inside."""

    def feed(self, loss: float) -> bool:
        """Take in one finite loss; whether the recent ones have diverged."""
        full = len(self._recent) == self._recent.maxlen
        if full and not self.outside and self._usual():
            self._reference.append(self._recent[0])
        self._recent.append(loss)
        if len(self._reference) < _FEWEST:
            return False
        level, spread = self.level()
        if math.isnan(self._start):
            self._start = level
        self._lowest = min(self._lowest, level)
        rise = self.now - level
        ready = len(self._recent) == self._recent.maxlen
        gained = self._start - self._lowest
        out = ready and rise > self._deviations * spread and rise > self._lost * gained
        self.outside = self.outside + 1 if out or (self.outside and not ready) else 0
        return out

    def _usual(self) -> bool:
        """Whether the recent losses may become part of what "usual" means."""
        if len(self._reference) < _FEWEST:
            return True
        level, spread = self.level()
        self._apart = self._apart + 1 if self.now > level + 3 * spread else 0
        return self._apart == 0 or self._apart > _LONG

    @property
    def now(self) -> float:
        """The median of the recent losses."""
        return statistics.median(self._recent)

    def level(self) -> tuple[float, float]:
        """The usual loss, and its robust standard deviation."""
        level = statistics.median(self._reference)
        apart = statistics.median(abs(x - level) for x in self._reference)
        # Losses of one value are no proof of no spread: no less than single precision resolves.
        return level, max(1.4826 * apart, 1e-6 * abs(level), 1e-38)

    def within(self, loss: float) -> bool:
        """Whether this loss alone is a usual one (true as long as none is known to be usual)."""
        if not math.isfinite(loss):
            return False
        if len(self._reference) < _FEWEST:
            return True
        level, spread = self.level()
        return loss - level <= self._deviations * spread

    def judge_anew(self) -> None:
        """Forget the recent losses: something was done about them."""
        self._recent.clear()

    def restart(self) -> None:
        """Forget what is usual: the training is another one now."""
        self._recent.clear()
        self._reference.clear()
        self._start, self._lowest, self._apart, self.outside = math.nan, math.inf, 0, 0


_FEWEST = 15
"""Losses in the reference from which on it is judged: with the recent five, 20 steps."""
_LONG = 100
"""Steps after which losses somewhat above the level are taken as usual after all."""
