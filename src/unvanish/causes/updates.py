"""By how much steps change weights, relative to their size."""

import math
import statistics

from unvanish.causes.cause import Case
from unvanish.experiments.rehearsal import Movement, Rehearsal


def pushed(rehearsal: Rehearsal) -> list[Movement]:
    """The weight tensors that a gradient pushed in most steps.

    Without one the weights move by weight decay and momentum alone: that is no step taken with
    the learning rate, and says nothing about it (behind a head that starts at zero, all of them).
    """
    return [
        m for m in rehearsal.weights if 2 * sum(bool(norm) for norm in m.gradient) > len(m.gradient)
    ]


def _a_step(rehearsal: Rehearsal, movement: Movement) -> float:
    """What a step changes of a tensor, of as many as would change it by its own size.

    Adagrad divides by the root of all squares so far: of a steady gradient step k is the first one, u,
    over sqrt(k), n of them go 2 u sqrt(n), and it takes 1 / (2 u)^2 to go the whole way.
    """
    ratios = movement.update_to_weight
    if rehearsal.optimizer != "Adagrad":
        return statistics.median(ratios)
    first = statistics.median(u * math.sqrt(k) for k, u in enumerate(ratios, 1))
    return min((2 * first) ** 2, statistics.median(ratios))


def fastest(base: Rehearsal) -> float:
    """The largest relative change a step of any weight tensor, in the median over steps."""
    known = [_a_step(base, m) for m in pushed(base) if m.update_to_weight]
    return max(known, default=0.0)


BEGUN = 0.2
"""Share of its targets that a net knows when it has begun to learn."""


def held_back(case: Case) -> float:
    """How many times larger the rate will be, or was, that a scheduler holds down now.

    One where it came down for good before anything was learned: the rest is trained with this one.
    """
    groups = case.optimizer.groups if case.optimizer is not None else ()
    held = [g.initial_lr / g.lr for g in groups if g.scheduled and g.initial_lr and g.lr]
    return max(held) if held and not _over_too_soon(case) else 1.0


def _over_too_soon(case: Case) -> bool:
    """Whether a schedule has come down for good and left a net that has not begun.

    One that is through with a net that has learned left a small rate as it should.
    """
    if not case.laboratory.stepped or case.laboratory.rate_rises is not False:
        return False
    ratio = case.laboratory.shuffled_ratio()
    return ratio is not None and 1 - ratio < BEGUN


def update_to_weight(rehearsal: Rehearsal) -> float:
    """Median over weight tensors of the median relative change a step."""
    ratios = [_a_step(rehearsal, m) for m in pushed(rehearsal) if m.update_to_weight]
    return statistics.median(ratios) if ratios else 0.0
