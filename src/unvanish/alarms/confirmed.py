"""What the numbers alone cannot tell from what is meant, said once a deep look has named it.

A tensor without gradient may be cut off, or a head that is not in this loss; one that gets a
gradient and does not move may be forgotten, or another optimizer's. The moments of a tensor never
tell which: so the stream is silent until a step was observed in full. Then it says since when.
"""

import numpy as np

from unvanish.alarms.columns import Columns, Mask
from unvanish.alarms.detector import Sign
from unvanish.cards import Card
from unvanish.causes import (
    dead_units,
    detached,
    frozen_by_checkpoint,
    not_in_optimizer,
    stale_gradients,
    stuck_saddle,
)
from unvanish.recording import Event

CONFIRMED: dict[str, tuple[Card, str]] = {
    detached.CARD.name: (detached.CARD, "broken"),
    frozen_by_checkpoint.CARD.name: (frozen_by_checkpoint.CARD, "broken"),
    not_in_optimizer.CARD.name: (not_in_optimizer.CARD, "broken"),
    stuck_saddle.CARD.name: (stuck_saddle.CARD, "broken"),
    stale_gradients.CARD.name: (stale_gradients.CARD, "harmful"),
}
"""Findings of a deep look that become alarms, with the severity that they always have there."""

FEWEST = 3
"""Steps in a row in which the stream must have seen what the look says."""
PATIENCE = 50
"""Steps in which it must not be seen any more."""


class Confirmations:
    """Alarms of this kind that are on, by name."""

    def __init__(self) -> None:
        self.alarms: dict[str, Event] = {}
        self._away: dict[str, int] = {}

    def agree(self, name: str, where: tuple[str, ...], columns: Columns, step: int) -> Sign | None:
        """The sign of a finding that the readings agree with; ``None``: they do not, or cannot."""
        if name not in CONFIRMED or name in self.alarms:
            return None
        steps = _longest(name, where, columns)
        if name != stale_gradients.CARD.name and steps < FEWEST:
            return None
        card, severity = CONFIRMED[name]
        return Sign(
            severity=severity,
            where=where,
            onset=max(step - int(steps) + 1, 0) if steps else step,
            evidence={"tensors": float(_named(where, columns).sum()), "steps": steps},
            detail=card.title,
        )

    def since(self, name: str, where: tuple[str, ...], columns: Columns, step: int) -> int | None:
        """The step since which the readings say what a look finds there; ``None``: they do not."""
        steps = _longest(name, where, columns)
        return max(step - int(steps) + 1, 0) if steps else None

    def over(self, columns: Columns) -> list[Event]:
        """Those that the readings have not agreed with for a while; they are off from now on."""
        ended: list[Event] = []
        for name, alarm in list(self.alarms.items()):
            there = name == stale_gradients.CARD.name or _longest(name, alarm.where, columns) > 0
            self._away[name] = 0 if there else self._away.get(name, 0) + 1
            if self._away[name] >= PATIENCE:
                ended.append(self.alarms.pop(name))
        return ended


def _longest(name: str, where: tuple[str, ...], columns: Columns) -> float:
    """For how many steps in a row the readings have said the same of any tensor there."""
    return float(_runs(name, columns)[_named(where, columns)].max(initial=0.0))


def _runs(name: str, columns: Columns) -> np.ndarray:
    """For each tensor, for how many steps in a row what the finding says was seen."""
    if name in (detached.CARD.name, frozen_by_checkpoint.CARD.name):
        return columns["none_run"]
    if name in (stuck_saddle.CARD.name, dead_units.CARD.name):
        return columns["zero_run"]
    if name == not_in_optimizer.CARD.name:
        # One that took the place of another bears its name, and the steps that moved that one.
        stands = np.where(columns["update"] == 0, 1.0, 0.0)
        replaced = np.maximum(columns["none_run"], stands)
        return np.where(columns["update_most"] == 0, columns["judged"], replaced)
    return np.zeros(len(columns))


def _named(where: tuple[str, ...], columns: Columns) -> Mask:
    """Tensors that places name: by their own name or by a module around them."""
    exact, inside = set(where), tuple(f"{place}." for place in where)
    return np.array([n in exact or n.startswith(inside) for n in columns.names], dtype=bool)
