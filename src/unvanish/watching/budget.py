"""What may be read in this step, so that watching stays within a share of the training's time.

An account in seconds: every step pays in its share of the time it took, everything that was read
is paid out, and what is optional is read when the account covers what it cost last time. The first
reading of each kind is made on credit and paid back by the steps that follow.
"""

from collections.abc import Sequence
from typing import Final

AT_LEAST_EVERY: Final = 100
"""Optional readings are made at one step in a hundred even where the account is empty: they cost
a few times what the moments cost, so this adds a few per cent to the watcher, not to the training."""

_FORGETTING: Final = 0.3


class Budget:
    """The account. ``share`` of the step time, or ``None``: everything at every step.

    ``kinds`` are the optional readings of a step, the most wanted first. ``every``: they are made at
    each so-manieth step instead, whatever the account says: processes that train together have to
    read the same steps for their parts to add up.
    """

    def __init__(self, share: float | None, kinds: Sequence[str], every: int | None = None) -> None:
        self.share, self._every = share, every
        self._balance = 0.0
        self._costs: dict[str, float] = {}
        self._since: dict[str, int] = dict.fromkeys(kinds, 0)
        self._asked: dict[str, int] = dict.fromkeys(kinds, 0)

    def wanted(self) -> set[str]:
        """What to read in the step that comes."""
        if self.share is None:
            return set(self._since)
        if self._every is not None:
            return {kind for kind, since in self._since.items() if since % self._every == 0}
        chosen: set[str] = set()
        left = self._balance
        for kind, since in self._since.items():
            cost = self._costs.get(kind)
            asked = self._asked[kind] > 0 or since >= AT_LEAST_EVERY
            if cost is None or asked or left >= cost:
                chosen.add(kind)
                self._asked[kind] = max(self._asked[kind] - 1, 0)
                left -= cost or 0.0
        return chosen

    def ask(self, kind: str, times: int) -> None:
        """Make this reading at the next steps whatever the account says: something is going on.

        Not where processes have to read the same steps: each has an account and an eye of its own.
        """
        if self._every is None:
            self._asked[kind] = times

    def due(self, kind: str) -> bool:
        """Whether the account covers this kind; one that was never paid for is."""
        return self._balance >= self._costs.get(kind, 0.0)

    def paid(self, kind: str, seconds: float) -> None:
        """Note what a reading cost. It is taken from the account by :meth:`stepped`."""
        known = self._costs.get(kind, seconds)
        self._costs[kind] = known + _FORGETTING * (seconds - known)
        if kind in self._since and self._every is None:
            self._since[kind] = -1

    def stepped(self, step_seconds: float, spent: float) -> None:
        """A step is over: it took ``step_seconds``, and ``spent`` was paid out during it."""
        for kind in self._since:
            self._since[kind] += 1
        if self.share is None:
            return
        self._balance += self.share * step_seconds - spent
        # A pause (validation, a night) is not saved up: at most what the dearest readings cost.
        self._balance = min(self._balance, 2 * max(self._costs.values(), default=0.0))
