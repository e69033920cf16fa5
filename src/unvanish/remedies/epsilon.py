"""optimizer-epsilon and loss-scale: a gradient that Adam can see."""

import inspect
import math
from collections.abc import Iterable

import torch

from unvanish.causes.cause import Finding
from unvanish.remedies.chart import gradient_scale, made_optimizer, optimizer_of
from unvanish.remedies.drafts import advice, option
from unvanish.remedies.remedy import Patient, Plan, Remedy, RemedyCard
from unvanish.training.optimizer import read_optimizer

EPSILON = RemedyCard(
    name="optimizer-epsilon",
    title="an epsilon below the gradient's own size",
    what="Adam divides by the root of the mean square gradient plus epsilon. Where epsilon, 1e-8 "
    "by default, is the larger one, steps are as small as the gradient. It is set to its default "
    "where that is at most a hundredth of the rms of the smallest gradient, otherwise to this "
    "hundredth, at most to 1e-12.",
    harms="A unit that gets a gradient once in a long while then takes a full step from next to "
    "nothing.",
    reference="Kingma and Ba 2015, arXiv:1412.6980; torch.optim.Adam",
)
LOSS_SCALE = RemedyCard(
    name="loss-scale",
    title="a larger loss, and with it a gradient above epsilon",
    what="A loss times s makes Adam's step s m / (s sqrt(v) + epsilon), which is what epsilon / s "
    "does, exactly. So the power of two that lifts the smallest gradient a hundred times above "
    "epsilon is taken off epsilon, and named for those who would rather scale the loss.",
    harms="Weight decay that is part of the loss, clipping limits and logged losses change their "
    "meaning with the loss. With plain gradient descent it is a change of the step size.",
    reference="Kingma and Ba 2015, arXiv:1412.6980, section 2.1 (invariance to the gradient's "
    "scale); Micikevicius et al. 2018, arXiv:1710.03740",
)
BELOW = 0.01
"""Share of epsilon in the denominator: steps are one part in a hundred too short."""
SMALL = 1e-12


def epsilons(patient: Patient, finding: Finding) -> Iterable[Plan]:
    """An epsilon below the smallest gradient: the usual one where it is that."""
    made = made_optimizer(patient)
    if made is None:
        return
    largest = max((group.eps or 0.0 for group in read_optimizer(*made).groups), default=0.0)
    if not largest:
        return
    _, smallest = gradient_scale(patient)
    bound = BELOW * smallest if math.isfinite(smallest) else SMALL
    usual = _default(made[0])
    fits = usual is not None and 0 < usual <= bound and usual < largest
    yield (option(eps=usual if fits and usual is not None else min(SMALL, bound)),)


def _default(optimizer: torch.optim.Optimizer) -> float | None:
    """The epsilon that the optimizer's class has where nobody gives it one."""
    known = inspect.signature(type(optimizer)).parameters.get("eps")
    return known.default if known is not None and isinstance(known.default, float) else None


def scales(patient: Patient, finding: Finding) -> Iterable[Plan]:
    """The epsilon that does the same as a loss scaled by a power of two."""
    _, smallest = gradient_scale(patient)
    reading = optimizer_of(patient)
    largest = max((g.eps or 0.0 for g in reading.groups), default=0.0) if reading else 0.0
    if not largest or not math.isfinite(smallest):
        return
    factor = 2.0 ** math.ceil(math.log2(largest / (BELOW * smallest)))
    if factor > 1:
        yield (option(eps=largest / factor),)
        yield advice(f"Multiply the loss by {factor:g} (or sum it where it is averaged).")


OPTIMIZER_EPSILON = Remedy(
    card=EPSILON,
    level="loop",
    keep="function",
    safety="same function",
    treats=("epsilon-dominated",),
    plan=epsilons,
)
LARGER_LOSS = Remedy(
    card=LOSS_SCALE,
    level="loop",
    keep="function",
    safety="same function",
    treats=("epsilon-dominated",),
    plan=scales,
)
