"""A learning rate that is taken back and returned."""


class ReducedRate:
    """The factor on the learning rate: cut at once, held, returned step by step.

    A cut multiplies the factor by ``factor``; one that follows while the last is still held
    multiplies it by the square of what the one before did (0.5, 0.25, 0.0625): the rate that a
    training bears is found in a few cuts even if it is a hundred times lower. After ``hold`` steps
    the factor rises by equal ratios and is 1 again after ``back`` more. Where the training
    diverges again *on the way back or soon after*, that rate is known to be too high: from then on
    the factor stays below what makes half of it, until the user's own schedule is below that.

    Args:
        factor: of the first cut.
        hold: steps for which a cut is held.
        back: steps in which the rate returns.
        lowest: the factor never falls below this.
    """

    def __init__(self, factor: float, hold: int, back: int, lowest: float) -> None:
        self._first, self._hold, self._back, self._lowest = factor, hold, back, lowest
        self.factor = 1.0
        """What the rate is multiplied by at this step."""
        self.ceiling: float | None = None
        """A rate that the reduced one stays below for good."""
        self._next_cut = factor
        self._rise = 1.0
        self._held = 0
        self._quiet: int | None = None

    @property
    def at_lowest(self) -> bool:
        """Whether a further cut would change nothing."""
        return self.factor <= self._lowest

    def cut(self, rate: float) -> None:
        """Take the rate back; ``rate`` is the user's own (the largest of all groups)."""
        holding = self._held > 0
        if not holding and self._quiet is not None and self._quiet <= self._hold + self._back:
            tried = rate * self.factor
            self.ceiling = min(tried * self._first, self.ceiling or tried)
        self._next_cut = self._next_cut**2 if holding else self._first
        self.factor = max(self.factor * self._next_cut, self._lowest)
        self._rise = (1 / self.factor) ** (1 / self._back)
        self._held, self._quiet = self._hold, 0

    def advance(self, rate: float) -> float:
        """The factor for a step, ``rate`` being the user's own."""
        if self._held > 0:
            self._held -= 1
        elif self._quiet is not None:
            self._quiet += 1
            self.factor = min(1.0, self.factor * self._rise)
        if self.ceiling is not None and rate > 0:
            self.factor = min(self.factor, self.ceiling / rate)
        return self.factor
