"""Whether a net stands still: by steps that leave its far layers out, or by steps that are too large."""

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
SMALLER = (0.1, 0.01)
"""Of the user's rate."""
FEWEST = 16
"""Samples a step: no fewer where a batch is taken apart to save time."""
WORK = 4e9
"""Entries that may be computed forward for it: mostly seconds on a processor core, of a wide net half
a minute. What takes longer is not asked."""
PRODUCTS = 16
"""Products of a weight and a number that are added up in the time of an entry."""
CALL = 10_000
"""Entries in whose time an operation is called: tens of microseconds, at some nanoseconds an entry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """The user's steps know nothing after ``own_steps``; Adam's step begins after ``even_steps``.

    ``better_rate``: what to multiply the user's rate by to begin after ``better_steps``; ``None``:
    no rate does, the steps are too unlike.
    """

    own_steps: float
    even_steps: float = math.inf
    better_rate: float | None = None
    better_steps: float = math.inf

    @property
    def told(self) -> str:
        """What the copies did, as a sentence ends."""
        return (
            f"in {self.own_steps:.0f} steps a copy learns nothing, at {self.better_rate:g} times the step "
            f"size another has begun to after {self.better_steps:.0f}"
        )

    @property
    def evidence(self) -> dict[str, float | None]:
        """The numbers behind that."""
        return {
            "own_steps": self.own_steps,
            "better_rate": self.better_rate,
            "better_steps": self.better_steps,
        }


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
        soon = _begun(case, most, other, parts)
        if soon is not None:
            return Stand(even_steps=even, own_steps=patience, better_rate=other, better_steps=soon)
    return Stand(even_steps=even, own_steps=patience)


def overstepping(case: Case) -> Stand | None:
    """A rate below the user's that teaches a copy what the user's own does not, of any optimizer.

    The same is asked of it as where a gradient falls: the smaller steps have begun in a few hundred
    and go on to know it, the user's own know nothing in ten times as many. On whole batches: smaller
    ones bear smaller steps alone. Where a rate is being warmed up, or was, nobody means to begin at
    the full one.
    """
    stand = stands_still(case)
    if stand is not None:
        better = stand.better_rate or math.inf
        return stand if better < 1 and _parts(case) == 1 else None
    given, lab = case.optimizer, case.laboratory
    if given is None or not lab.allowed or any(group.scheduled for group in given.groups):
        return None
    affordable = _steps(case)
    asked = lab.held_out()
    if (asked is not None and asked.known >= BEGUN) or affordable < LONG + MOST:
        return None
    if lab.steps_to_know(NOTHING, LONG) != math.inf:
        return None
    for rate in SMALLER:
        soon = _begun(case, MOST, rate)
        if soon is not None:
            patience = max(int(min(TIMES * soon, affordable)), LONG)
            if lab.steps_to_know(NOTHING, patience) != math.inf:
                return None
            return Stand(own_steps=patience, better_rate=rate, better_steps=soon)
    return None


def begins(case: Case) -> bool:
    """Whether a copy is seen to begin soon, by the user's own steps."""
    affordable = case.optimizer is not None and _steps(case) >= MOST
    return affordable and _begun(case, MOST) is not None


def _begun(case: Case, most: int, rate: float = 1.0, parts: int = 1) -> float | None:
    """Steps after which a copy has begun to learn for good; ``None``: it is not seen to."""
    soon = case.laboratory.steps_to_know(BEGUN, most, rate=rate, parts=parts, lasting=True)
    return soon if soon is not None and soon < math.inf else None


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
    trace = case.trace
    fans = {name: math.prod(p.shape[1:]) for p in trace.parameters for name in p.names}
    entries = 0.0
    for operation in trace.operations:
        products = sum(fans[name] for name in operation.parameters if name in fans)
        cost = math.prod(operation.output_shape) * max(products / PRODUCTS, 1.0)
        entries += max(cost, CALL)
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
