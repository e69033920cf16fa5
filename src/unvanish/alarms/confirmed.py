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
    detached,
    frozen_by_checkpoint,
    not_in_optimizer,
    stale_gradients,
    stuck_saddle,
)

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


def confirm(name: str, where: tuple[str, ...], columns: Columns, step: int) -> Sign | None:
    """The sign of a finding that the stream agrees with; ``None`` where it does not, or cannot."""
    named = _named(where, columns)
    run = _runs(name, columns)[named] if named.any() else np.zeros(0)
    if name != stale_gradients.CARD.name and (not len(run) or float(run.max()) < FEWEST):
        return None
    steps = float(run.max()) if len(run) else 0.0
    return Sign(
        severity=CONFIRMED[name][1],
        where=where,
        onset=max(step - int(steps) + 1, 0) if steps else step,
        evidence={"tensors": float(named.sum()), "steps": steps},
        detail=CONFIRMED[name][0].title,
    )


def _runs(name: str, columns: Columns) -> np.ndarray:
    """For each tensor, for how many steps in a row what the finding says was seen."""
    if name in (detached.CARD.name, frozen_by_checkpoint.CARD.name):
        return columns["none_run"]
    if name == stuck_saddle.CARD.name:
        return columns["zero_run"]
    if name == not_in_optimizer.CARD.name:
        return np.where(columns["update_most"] == 0, columns["judged"], 0.0)
    return np.zeros(len(columns))


def _named(where: tuple[str, ...], columns: Columns) -> Mask:
    """Tensors that places name: by their own name or by a module around them."""
    exact, inside = set(where), tuple(f"{place}." for place in where)
    return np.array([n in exact or n.startswith(inside) for n in columns.names], dtype=bool)
