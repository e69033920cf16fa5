"""UV705 weight-decay-dominates: decay outweighs the gradient."""

import math
from collections.abc import Callable, Iterable

from unvanish.cards import Card
from unvanish.causes.cause import Case, Cause, Finding, found
from unvanish.causes.level import converged
from unvanish.causes.standing_still import NOTHING
from unvanish.experiments.rehearsal import Rehearsal
from unvanish.training.optimizer import OptimizerReading

CARD = Card(
    code="UV705",
    name="weight-decay-dominates",
    title="weight decay outweighs the gradient",
    says="Weight decay shrinks the weights by {shrink:.1g} of their size a step, {times:.1f} "
    "times as much as the gradient moves them ({where} first): half of them is gone after "
    "{half_life:.0f} steps.",
    what="Each step multiplies the weights by a number below one and adds what the gradient "
    "asks for. Here the first is the larger.",
    hurts="The weights collapse towards zero, and with them signal and gradient.",
    apart="Measured, not computed from the setting: two copies take the same real steps, with "
    "and without decay; Adam and its kin, whose step has one size whatever it is for, must also go "
    "down the loss by less than two thirds of what they do without. A converged net, where decay "
    "and gradient balance, is not named, and weights whose gradient is still exactly zero (behind "
    "a head or gate that starts at zero) do not count. Where the gradient is lost on its way, any "
    "decay outweighs it: then that is named first.",
    do="Lower weight_decay by that factor or more; keep it off norms and biases.",
    reference="Loshchilov and Hutter 2019, arXiv:1711.05101",
)

REMEDIES = ("weight-decay",)


def find(case: Case) -> Iterable[Finding]:
    """Weights that shrink by decay faster than the gradient moves them."""
    return _outweighed(case, _slower)


def collapsed(case: Case) -> Iterable[Finding]:
    """The same of a net that knows nothing after its steps, where nothing else says why.

    Weights that are gone do not come back in as few steps without decay.
    """
    return _outweighed(case, _knows_nothing) if case.laboratory.stepped else []


def _knows_nothing(case: Case, with_decay: Rehearsal) -> bool:
    """Whether the loss does not tell the net's own targets from shuffled ones."""
    ratio = case.laboratory.shuffled_ratio()
    return ratio is not None and 1 - ratio < NOTHING


def _outweighed(case: Case, slower: Callable[[Case, Rehearsal], bool]) -> Iterable[Finding]:
    reading = case.optimizer
    if reading is None or not any(group.weight_decay for group in reading.groups):
        return
    with_decay, first = case.laboratory.rehearsal(), _first(case)
    if with_decay is None or first is None or not with_decay.weights or not with_decay.finite:
        return
    if reading.name in LINEAR:
        shrink, moved = known_shrinkage(first, reading)
        if lost_along(first) < shrink / 2:
            return  # in balance: the gradient gives back along the weights what decay takes
    elif reading.name in ADAPTIVE:
        shrink, moved = outweighed(first, reading)
        if shrink > moved and not slower(case, with_decay):
            return
    elif case.laboratory.allowed:
        without = case.laboratory.rehearsal(decay=False, share=0.0)
        if without is None:
            return
        shrink, moved = shrinkage(with_decay, without)
    else:
        return  # a second copy would cost more than the whole rest of the diagnosis
    if shrink <= moved or shrink <= 0 or converged(case):
        return
    order = sorted(with_decay.weights, key=lambda m: m.weight[-1] / m.weight[0])
    yield found(
        CARD,
        "harmful",
        [m.name for m in order[:8]],
        {
            "shrink": shrink,
            "moved": moved,
            "times": shrink / moved if moved > 0 else math.inf,
            "half_life": math.log(2) / shrink,
        },
        REMEDIES,
    )


def _first(case: Case) -> Rehearsal | None:
    """One step of an optimizer that begins anew: what it remembers may be decay of steps before."""
    if not case.laboratory.stepped:
        return case.laboratory.rehearsal()
    return case.laboratory.rehearsal(fresh=True, share=0.0)


LINEAR = frozenset(("SGD", "AdamW"))
"""Optimizers whose first step is the gradient's part plus ``-lr * weight_decay * weight``."""

ADAPTIVE = frozenset(("Adam", "RMSprop", "Adagrad", "Adamax", "NAdam", "RAdam"))
"""Optimizers that add ``weight_decay * weight`` to the gradient and then rescale the sum."""


def outweighed(taken: Rehearsal, reading: OptimizerReading) -> tuple[float, float]:
    """The relative change of the first step, shared out as decay and gradient share the sum.

    The sum is brought to one size whatever it is, so that decay cannot be seen in the size of the
    step: the larger part gives it its direction.
    """
    decay = gradient = update = weight = 0.0
    for movement in taken.weights:
        step, group = movement.first, reading.group_of(movement.name)
        if step is None or not step.weight:
            continue  # asleep behind a zero: its gradient is still to come
        setting = (group.weight_decay or 0.0) if group is not None else 0.0
        decay += setting**2 * step.weight
        gradient += (movement.gradient[0] or 0.0) ** 2
        update += step.update
        weight += step.weight
    if not weight or not decay + gradient:
        return 0.0, 0.0
    size, parts = math.sqrt(update / weight), math.sqrt(decay) + math.sqrt(gradient)
    return size * math.sqrt(decay) / parts, size * math.sqrt(gradient) / parts


def _slower(case: Case, with_decay: Rehearsal) -> bool:
    """Whether the loss falls less than two thirds as far as it does without decay."""
    without = case.laboratory.rehearsal(decay=False)
    if without is None or without.fell <= 0:
        return False
    return with_decay.fell < 2 * without.fell / 3


def known_shrinkage(taken: Rehearsal, reading: OptimizerReading) -> tuple[float, float]:
    """As :func:`shrinkage`, decay from its setting and the rest from the real first step.

    The step is u = g - d w, so that the gradient's part is g = u + d w: exact, also where decay and
    gradient hold each other at the end of training.
    """
    decay = gradient = weight = 0.0
    for movement in taken.weights:
        step, group = movement.first, reading.group_of(movement.name)
        if step is None or not step.weight:
            continue  # asleep behind a zero: its gradient is still to come
        rate = movement.rate * ((group.weight_decay or 0.0) if group is not None else 0.0)
        decay += rate**2 * step.weight
        gradient += max(step.update + 2 * rate * step.product + rate**2 * step.weight, 0.0)
        weight += step.weight
    return (math.sqrt(decay / weight), math.sqrt(gradient / weight)) if weight else (0.0, 0.0)


def lost_along(taken: Rehearsal) -> float:
    """Share of their own size that the entries with gradient really lost in the first step."""
    steps = [m.first for m in taken.weights if m.first is not None]
    weight = math.fsum(step.weight for step in steps)
    return -math.fsum(step.product for step in steps) / weight if weight else 0.0


def shrinkage(with_decay: Rehearsal, without: Rehearsal) -> tuple[float, float]:
    """Relative change of the entries with gradient in the first step: by decay and by gradient alone.

    With and without differ by the decay only; both updates start at the same weights.
    """
    twins = {m.name: m for m in without.weights}
    decay = gradient = weight = 0.0
    for movement in with_decay.weights:
        twin = twins.get(movement.name)
        step, other = movement.first, twin.first if twin is not None else None
        if step is None or other is None:
            continue
        # |a|^2 = |b|^2 + |d|^2 + 2 b.d: the cross term is left out; at a random start the gradient
        # is nearly orthogonal to the weights.
        decay += max(step.update - other.update, 0.0)
        gradient += other.update
        weight += step.weight
    return (math.sqrt(decay / weight), math.sqrt(gradient / weight)) if weight else (0.0, 0.0)


CAUSE = Cause(card=CARD, find=find, otherwise=collapsed)
