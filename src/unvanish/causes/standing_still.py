"""Whether a net stands still because steps in proportion to the gradient leave its far layers out."""

import math
from dataclasses import dataclass

from unvanish.causes.cause import Case
from unvanish.causes.updates import fastest, held_back, pushed
from unvanish.experiments.rehearsal import Rehearsal
from unvanish.stretch import Stretch, worst_fall
from unvanish.trace import Trace
from unvanish.training.optimizer import PROPORTIONAL

SEEN = 1.0
"""Decades over all layers: with less, the far layers' steps are ordinary ones."""
LEARNS, NOTHING = 0.2, 0.02
"""Share of its targets that a net knows when it has begun, and that it knows while it stands still."""
MOST = 200
"""Steps in which a copy has to begin that moves all its weights alike."""
LONG = 2 * MOST
"""Steps without anything learned, where there is nothing to measure them by."""
TIMES = 10
"""How many times as long the user's own steps are waited for: no slow start is that slow."""
LEAST, LARGEST = 0.001, 0.3
"""Update to weight of the fastest layer: between them is all that a layer could learn at."""
WORK = 1.5e9
"""Entries that may be computed forward for it: seconds on a processor core, of a wide net half a
minute. What takes longer is not asked."""


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


def even_fall(trace: Trace) -> Stretch | None:
    """The worst fall over the depth, if it is a decade or more and all layers take part in it."""
    fall = worst_fall(trace)
    if fall is None or -fall.decades < SEEN or fall.repeats_one_module or not fall.compounds:
        return None
    return fall if fall.slope is None or fall.slope.falls else None


def stands_still(case: Case) -> Stand | None:
    """Asked by experiment where the gradient falls with depth, however little.

    An optimizer whose step is proportional to the gradient moves the far layers by as many
    decades less. Whether that matters no size tells: features that nobody trains are often good
    enough. So copies are trained. One whose weights all move alike begins to tell its targets from
    shuffled ones; the user's own optimizer does not in ten times as many steps.
    """
    optimizer = case.optimizer
    if optimizer is None or optimizer.name not in PROPORTIONAL or even_fall(case.trace) is None:
        return None
    base = case.laboratory.rehearsal()
    if base is None or not base.finite or not fastest(base):
        return None
    even = case.laboratory.steps_to_know(LEARNS, _affordable(case), even=True)
    if even is None or even == math.inf:
        return None
    rate, patience = held_back(case), TIMES * int(even)
    if case.laboratory.steps_to_know(NOTHING, patience, rate=rate) != math.inf:
        return None
    for other in _other_rates(base):
        soon = case.laboratory.steps_to_know(LEARNS, 2 * int(even), rate=other)
        if soon is not None and soon < math.inf:
            return Stand(even_steps=even, own_steps=patience, better_rate=other, better_steps=soon)
    return Stand(even_steps=even, own_steps=patience)


def _other_rates(base: Rehearsal) -> list[float]:
    """Factors on the user's rate, half a decade apart: between rates that both fail none is left out.

    From where the largest step of all is a small one to where the fastest layer's usual step is a
    large one; the first steps, which learn how many there are of each class, are the largest.
    """
    largest = max(max(m.update_to_weight, default=0.0) for m in pushed(base))
    low, high = LEAST / largest, LARGEST / fastest(base)
    many = 1 + math.ceil(2 * math.log10(high / low))
    return [float(f"{low * (high / low) ** (k / (many - 1)):.1g}") for k in range(many)]


def _affordable(case: Case) -> int:
    """Steps that a copy may take that all others are measured by."""
    return int(min(MOST, _steps_of(WORK, case) / (3 * TIMES)))


def _steps_of(work: float, case: Case) -> float:
    return work / max(sum(math.prod(op.output_shape) for op in case.trace.operations), 1)


def never_begins(case: Case) -> bool:
    """Whether the user's own steps, of whatever optimizer, teach a copy nothing for a long time."""
    rates = [group.lr for group in case.optimizer.groups] if case.optimizer is not None else []
    if not any(rates) or _steps_of(WORK, case) < LONG:
        return False
    return case.laboratory.steps_to_know(NOTHING, LONG, rate=held_back(case)) == math.inf
