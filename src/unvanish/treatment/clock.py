"""The time that a treatment may take, and who is told what it is doing."""

import math
import numbers
import time
from collections.abc import Callable

from unvanish.errors import BadInput

Progress = Callable[[str, float], None]
"""Called with what is being done and the seconds since the start."""


class Clock:
    """Counts from its making; ``budget_s`` ends the search, of which the proof has its share."""

    PROOF = 0.4
    """The share of the budget that is kept for the trial."""

    def __init__(self, budget_s: float | None, progress: Progress | None) -> None:
        if budget_s is not None and not _is_time(budget_s):
            raise BadInput(
                f"budget_s is {budget_s!r}: give the seconds that the search may take, above zero, "
                "or None for no limit."
            )
        self._started, self._budget = time.monotonic(), budget_s
        self._progress = progress

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    @property
    def left(self) -> float | None:
        """Seconds left of the whole budget; ``None``: there is no limit."""
        return None if self._budget is None else max(self._budget - self.seconds, 0.0)

    @property
    def spent(self) -> bool:
        """Whether the search has used its share."""
        return self._budget is not None and self.seconds > (1 - self.PROOF) * self._budget

    def tell(self, doing: str) -> None:
        """Pass on what is being done."""
        if self._progress is not None:
            self._progress(doing, self.seconds)


def _is_time(seconds: object) -> bool:
    """Whether it is a number of seconds that a search can be given; no text, even of digits."""
    if not isinstance(seconds, numbers.Real) or isinstance(seconds, bool):
        return False
    return math.isfinite(seconds) and float(seconds) > 0
