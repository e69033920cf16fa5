"""Whether a net stands still because steps in proportion to the gradient leave its far layers out."""

import math
from dataclasses import dataclass

from unvanish.causes.cause import HARMFUL_DECADES, Case
from unvanish.causes.updates import BEGUN, fastest, held_back, pushed
from unvanish.experiments.rehearsal import Rehearsal
from unvanish.stretch import Stretch, worst_fall
from unvanish.trace import Trace
from unvanish.training.optimizer import PROPORTIONAL

SEEN = 1.0
"""Decades over all layers: with less, the far layers' steps are ordinary ones."""
NOTHING = 0.02
"""Share of its targets that a net knows while it stands still."""
MOST = 200
"""Steps in which a copy has to begin that moves all its weights alike, or at a better rate."""
LONG = 2 * MOST
"""Steps that are waited for at least: some slow starts take hundreds, however soon others begin."""
TIMES = 10
"""How many times as long the user's own steps are waited for: no slow start is that slow."""
LEAST, LARGEST = 0.001, 0.3
"""Update to weight of the fastest layer: between them is all that a layer could learn at."""
RATES = 7
"""About as many other rates are tried."""
FEWEST = 16
"""Samples a step: no fewer where a batch is taken apart to save time."""
WORK = 4e9
"""Entries that may be computed forward for it: mostly seconds on a processor core, of a wide net half
a minute. What takes longer is not asked."""
CALL = 10_000
"""Entries in whose time an operation is called: tens of microseconds, at some nanoseconds an entry."""


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


def decades_behind(fall: Stretch) -> float:
    """Decades by which the far layers' elasticity lies below the near ones'."""
    return -min(fall.elasticity or 0.0, 0.0)


def told_by_size(fall: Stretch) -> bool:
    """Whether so little arrives that no experiment is needed."""
    return min(decades_behind(fall), -fall.decades) >= HARMFUL_DECADES


def stands_still(case: Case) -> Stand | None:
    """Asked by experiment where the gradient falls with depth, by less than its size alone tells.

    An optimizer whose step is proportional to the gradient moves the far layers by as many
    decades less. Whether that matters no size tells: features that nobody trains are often good
    enough. So copies are trained. One whose weights all move alike begins to tell its targets from
    shuffled ones; the user's own optimizer does not in ten times as many steps.
    """
    fall = even_fall(case.trace)
    if fall is None or told_by_size(fall) or not proportional(case) or too_long(case):
        return None
    base = case.laboratory.rehearsal()
    if base is None or not base.finite or not fastest(base):
        return None
    parts = _parts(case)
    even = case.laboratory.steps_to_know(BEGUN, _affordable(case), even=True, parts=parts)
    if even is None or even == math.inf:
        return None
    rate, patience = held_back(case), max(TIMES * int(even), LONG)
    if case.laboratory.steps_to_know(NOTHING, patience, rate=rate, parts=parts) != math.inf:
        return None
    most = max(2 * int(even), MOST)
    for other in _other_rates(base):
        soon = case.laboratory.steps_to_know(BEGUN, most, rate=other, parts=parts)
        if soon is not None and soon < math.inf:
            return Stand(even_steps=even, own_steps=patience, better_rate=other, better_steps=soon)
    return Stand(even_steps=even, own_steps=patience)


def proportional(case: Case) -> bool:
    """Whether steps are in proportion to the gradient."""
    return case.optimizer is not None and case.optimizer.name in PROPORTIONAL


def teaches(case: Case, rate: float) -> bool:
    """Whether at so many times the user's rate a copy begins to tell its targets from others.

    That its loss falls is not enough: the last layers learn how often each target occurs, at any
    rate that they bear, whatever arrives at the others.
    """
    parts = _parts(case)
    steps = int(min(MOST, _steps(case) * parts))
    return case.laboratory.steps_to_know(NOTHING, steps, rate=rate, parts=parts) != math.inf


def _other_rates(base: Rehearsal) -> list[float]:
    """Factors on the user's rate, half a decade apart: between rates that both fail none is left out.

    From where the largest step of all is a small one to where the fastest layer's usual step is a
    large one; the first steps, which learn how many there are of each class, are the largest.
    """
    largest = max(max(m.update_to_weight, default=0.0) for m in pushed(base))
    low, high = LEAST / largest, LARGEST / fastest(base)
    many = 1 + math.ceil(2 * math.log10(high / low))
    return [float(f"{low * (high / low) ** (k / (many - 1)):.1g}") for k in range(many)]


def too_long(case: Case) -> bool:
    """Whether steps cost so much that those that are taken at least are not affordable."""
    return _steps(case) * _parts(case) < LONG + RATES * MOST


def _affordable(case: Case) -> int:
    """Steps that a copy may take that all others are measured by."""
    return int(min(MOST, _steps(case) * _parts(case) / (TIMES + 2 * RATES)))


def _parts(case: Case) -> int:
    """Into how many a batch is taken apart, so that enough steps are affordable."""
    samples = case.laboratory.samples or 1
    return max(1, min(math.ceil((TIMES + 2 * RATES) * MOST / _steps(case)), samples // FEWEST))


def _steps(case: Case) -> float:
    """Steps on whole batches that are affordable."""
    entries = sum(max(math.prod(op.output_shape), CALL) for op in case.trace.operations)
    return WORK / max(entries, CALL)


def never_begins(case: Case) -> bool:
    """Whether the user's own steps, of whatever optimizer, teach a copy nothing for a long time.

    Adam's, where none was given.
    """
    parts, given = _parts(case), case.optimizer
    if _steps(case) * parts < LONG or (given is not None and not any(g.lr for g in given.groups)):
        return False
    rate, even = held_back(case), given is None
    known = case.laboratory.steps_to_know(NOTHING, LONG, rate=rate, even=even, parts=parts)
    return known == math.inf
