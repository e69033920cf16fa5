"""UV704 epsilon-dominated: Adam's epsilon swallows the gradient."""

import statistics
from collections.abc import Iterable

from unvanish.cards import Card
from unvanish.causes.cause import Case, Cause, Finding, found
from unvanish.causes.level import converged
from unvanish.experiments.rehearsal import Movement

CARD = Card(
    code="UV704",
    name="epsilon-dominated",
    title="Adam's epsilon swallows the gradient",
    says="Adam's epsilon swallows the gradient of {tensors:.0f} weight tensors ({where} "
    "first): entries with gradient move by {moved:.1g} of the learning rate instead of "
    "about 1.",
    what="Adam divides the gradient by its own root mean square plus epsilon. Where the "
    "gradient is smaller than epsilon, the division no longer makes up for its size.",
    hurts="The weights stand still although Adam is said not to care about the scale of the loss.",
    apart="A loss divided by 1e5 is harmless with Adam and is not named. Measured on a real "
    "step of a copy: how far the entries with gradient moved, in units of the learning "
    "rate. If the gradient vanishes with depth, that is named first.",
    do="Scale the loss up (sum instead of mean, a factor), or lower eps; if early layers "
    "alone are meant, cure the decay.",
    reference="Kingma and Ba 2015, arXiv:1412.6980, algorithm 1",
)

REMEDIES = ("optimizer-epsilon", "loss-scale")
FAMILY = frozenset(("Adam", "AdamW", "NAdam", "Adamax"))
SWALLOWED = 0.1
"""Moving by a tenth of the rate means that epsilon is nine times the gradient's own size."""


def find(case: Case) -> Iterable[Finding]:
    """Weights whose entries with gradient move far less than the rate that Adam was given."""
    base = case.laboratory.rehearsal()
    if base is None or base.optimizer not in FAMILY:
        return
    swallowed = [m for m in base.weights if is_swallowed(m) and below_epsilon(case, m)]
    if not swallowed or converged(case):
        return
    whole = 2 * len(swallowed) > len(base.weights)
    yield found(
        CARD,
        "harmful" if whole else "note",
        [m.name for m in swallowed],
        {
            "moved": statistics.median(m.moved[0] or 0.0 for m in swallowed),
            "tensors": float(len(swallowed)),
            "weights": float(len(base.weights)),
        },
        REMEDIES,
    )


def is_swallowed(movement: Movement) -> bool:
    """Whether the first real step moved the entries with gradient by a tenth of the rate or less."""
    moved = movement.moved[0]
    return moved is not None and 0 <= moved < SWALLOWED


def below_epsilon(case: Case, movement: Movement) -> bool:
    """Whether epsilon is larger than the gradient, entry by entry in the root mean square.

    A trained optimizer also moves little where past gradients were far larger than this one.
    """
    group = case.optimizer.group_of(movement.name) if case.optimizer is not None else None
    if group is None or group.eps is None or movement.gradient[0] is None:
        return True
    read = case.trace.parameter(movement.name)
    touched = max(read.elements - (read.zeros or 0), 1)
    return movement.gradient[0] / touched**0.5 < group.eps


CAUSE = Cause(card=CARD, find=find, explains=("step-too-small",))
