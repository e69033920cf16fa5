"""Whether a net stands still because steps in proportion to the gradient leave its far layers out."""

import math
from dataclasses import dataclass

from unvanish.causes.cause import Case
from unvanish.causes.updates import fastest, held_back
from unvanish.stretch import worst_fall
from unvanish.training.optimizer import PROPORTIONAL

SEEN = 1.0
"""Decades over all layers: with less, the far layers' steps are ordinary ones."""
LEARNS, NOTHING = 0.2, 0.02
"""Share of its targets that a net knows when it has begun, and that it knows while it stands still."""
MOST = 200
"""Steps in which a copy has to begin that moves all its weights alike."""
TIMES = 10
"""How many times as long the user's own steps are waited for: no slow start is that slow."""
UPDATES = (0.003, 0.01, 0.03, 0.1, 0.3)
"""Update to weight of the fastest layer: all rates that any of the layers could learn at."""
WORK = 2e8
"""Entries that may be computed forward for it: seconds, on a processor core."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """The user's steps know nothing after ``own_steps``; Adam's step begins after ``even_steps``.

    ``better_rate``: what to multiply the user's rate by to begin after ``better_steps``; ``None``:
    no rate does, the steps are too unlike.
    """

    even_steps: float
    own_steps: float
    better_rate: float | None = None
    better_steps: float = math.inf


def stands_still(case: Case) -> Stand | None:
    """Asked by experiment where the gradient falls with depth, however little.

    An optimizer whose step is proportional to the gradient moves the far layers by as many
    decades less. Whether that matters no size tells: features that nobody trains are often good
    enough. So copies are trained. One whose weights all move alike begins to tell its targets from
    shuffled ones; the user's own optimizer does not in ten times as many steps.
    """
    optimizer, fall = case.optimizer, worst_fall(case.trace)
    if optimizer is None or optimizer.name not in PROPORTIONAL or fall is None:
        return None
    if -fall.decades < SEEN or fall.repeats_one_module or not fall.compounds:
        return None
    if fall.slope is not None and not fall.slope.falls:
        return None
    base = case.laboratory.rehearsal()
    moved = fastest(base) if base is not None else 0.0
    even = case.laboratory.steps_to_know(LEARNS, _affordable(case), even=True) if moved else None
    if even is None or even == math.inf:
        return None
    rate, patience = held_back(case), TIMES * int(even)
    if case.laboratory.steps_to_know(NOTHING, patience, rate=rate) != math.inf:
        return None
    for update in UPDATES:
        other = float(f"{update / moved:.1g}")
        soon = case.laboratory.steps_to_know(LEARNS, 2 * int(even), rate=other)
        if soon is not None and soon < math.inf:
            return Stand(even_steps=even, own_steps=patience, better_rate=other, better_steps=soon)
    return Stand(even_steps=even, own_steps=patience)


def _affordable(case: Case) -> int:
    """Steps that a copy may take, by how much is computed in one."""
    work = sum(math.prod(op.output_shape) for op in case.trace.operations)
    return int(min(MOST, WORK / max(work, 1) / (TIMES + 1 + 2 * len(UPDATES))))
