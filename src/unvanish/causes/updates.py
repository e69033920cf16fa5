"""By how much steps change weights, relative to their size."""

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


def fastest(base: Rehearsal) -> float:
    """The largest relative change a step of any weight tensor, in the median over steps."""
    known = [statistics.median(m.update_to_weight) for m in pushed(base) if m.update_to_weight]
    return max(known, default=0.0)


def held_back(case: Case) -> float:
    """How many times larger the rate will be, or was, that a scheduler holds down now."""
    groups = case.optimizer.groups if case.optimizer is not None else ()
    held = [g.initial_lr / g.lr for g in groups if g.scheduled and g.initial_lr and g.lr]
    return max(held, default=1.0)


def update_to_weight(rehearsal: Rehearsal) -> float:
    """Median over weight tensors of the median relative change a step."""
    ratios = [
        statistics.median(m.update_to_weight) for m in pushed(rehearsal) if m.update_to_weight
    ]
    return statistics.median(ratios) if ratios else 0.0
