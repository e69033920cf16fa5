"""When a loss has left its own trend for good: divergence, and not a bad batch."""

import math
import statistics
from collections import deque


class LossTrend:
    """Tells divergence from noise by medians, whatever the scale and the sign of the loss.

    The level is the median of the last 9 usual losses, the deviation that of the noise from batch to
    batch: 1.4826 / √2 times the median distance of neighbours (von Neumann's difference
    estimate, with a median), which a loss that falls does not widen; of the last 50 or of
    the last 9, whichever is larger, because leaving a plateau makes a loss noisier.

    A loss has diverged when the median of the last ``recent`` losses

    - lies above the level by more than ``deviations`` such deviations, and
    - has lost more than the share ``lost`` of everything gained (the first level minus the lowest).

    The first says that it is no noise, the second that it matters; shifting or scaling the loss
    changes neither. One bad batch among five does not move a median; a loss that stays up is seen
    after three. In the first 20 steps nothing is judged. What lies more than three deviations above
    the level does not become part of it before a hundred steps have passed: a training that
    gets worse by and by does not make that usual.

    Args:
        recent: losses that must agree.
        deviations: 6, which noise of any common shape does not reach with a median.
        lost: 0.25.
    """

    def __init__(self, recent: int = 5, deviations: float = 6.0, lost: float = 0.25) -> None:
        self._recent: deque[float] = deque(maxlen=recent)
        self._usual: deque[float] = deque(maxlen=_LEVEL)
        self._apart: deque[float] = deque(maxlen=_NOISE)
        self._deviations = deviations
        self._lost = lost
        self._start = math.nan
        self._lowest = math.inf
        self._above = 0
        self.outside = 0
        """Steps since the loss left its trend; 0 while it is inside."""

    def feed(self, loss: float) -> bool:
        """Take in one finite loss; whether the recent ones have diverged."""
        if len(self._recent) == self._recent.maxlen and not self.outside and self._joins():
            self._apart += [abs(self._recent[0] - self._usual[-1])] if self._usual else []
            self._usual.append(self._recent[0])
        self._recent.append(loss)
        if not self.ready:
            return False
        level, spread = self.level()
        self._start = level if math.isnan(self._start) else self._start
        self._lowest = min(self._lowest, level)
        ready = len(self._recent) == self._recent.maxlen
        out = ready and self.now - level > self._deviations * spread
        out = out and self.now - self._lowest > self._lost * (self._start - self._lowest)
        self.outside = self.outside + 1 if out or (self.outside and not ready) else 0
        return out

    def _joins(self) -> bool:
        """Whether the oldest recent loss may become part of what "usual" means."""
        if not self.ready:
            return True
        level, spread = self.level()
        self._above = self._above + 1 if self.now > level + 3 * spread else 0
        return self._above == 0 or self._above > _LONG

    @property
    def ready(self) -> bool:
        """Whether enough losses are known to judge by."""
        return len(self._apart) >= _FEWEST

    @property
    def now(self) -> float:
        """The median of the recent losses."""
        return statistics.median(self._recent)

    def level(self) -> tuple[float, float]:
        """The usual loss, and the deviation of its noise."""
        level = statistics.median(self._usual)
        apart = max(statistics.median(self._apart), statistics.median(list(self._apart)[-_LEVEL:]))
        noise = 1.4826 / math.sqrt(2) * apart
        # Losses of one value are no proof of no noise: no less than single precision resolves.
        return level, max(noise, 1e-6 * abs(level), 1e-38)

    def within(self, loss: float) -> bool:
        """Whether this loss alone is a usual one (true as long as none is known to be usual)."""
        if not math.isfinite(loss):
            return False
        if not self.ready:
            return True
        level, spread = self.level()
        return loss - level <= self._deviations * spread

    def judge_anew(self) -> None:
        """Forget the recent losses: something was done about them."""
        self._recent.clear()

    def restart(self) -> None:
        """Forget what is usual: the training is another one now."""
        for kept in (self._recent, self._usual, self._apart):
            kept.clear()
        self._start, self._lowest, self._above, self.outside = math.nan, math.inf, 0, 0


_LEVEL = 9
_NOISE = 50
_FEWEST = 14
"""Distances known from which on it is judged: with the recent five losses, 20 steps."""
_LONG = 100
"""Steps after which losses somewhat above the level are taken as usual after all."""
