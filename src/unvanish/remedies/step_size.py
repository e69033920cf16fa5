"""step-size: the learning rate, by what the experiments said and by the depth."""

import math
from collections.abc import Iterable

from unvanish.causes.cause import Finding
from unvanish.causes.step_too_small import CUSTOMARY
from unvanish.remedies.chart import isometric_rate, optimizer_of
from unvanish.remedies.drafts import option
from unvanish.remedies.remedy import Patient, Plan, Remedy, RemedyCard

CARD = RemedyCard(
    name="step-size",
    title="another learning rate",
    what="First the rate at which an experiment on a copy learned, then a third, a tenth, three or "
    "ten times the rate, in the direction that the finding asks for, and the rate that an "
    "isometric net of this depth bears (0.03 / depth with Adam, 0.1 / depth with gradient "
    "descent). Which one is best is for trials to say.",
    harms="A smaller rate hides too large a start and trains more slowly; a larger one can throw "
    "away what was learned. A schedule scales whatever is set here.",
    reference="LeCun et al. 1998, Efficient BackProp; Smith 2017, arXiv:1506.01186 (range test); "
    "docs/init.md",
)
DOWN = (1 / 3, 0.1)
UP = (3.0, 10.0)
LARGEST = 1e-2
"""The same for the matrix that moves most: after a hundred steps in any directions, a tenth of it."""
SLOW = ("step-too-small", "always-clipped")
"""Findings of steps that are too short; all others that name this remedy have too long ones."""


def plan(patient: Patient, finding: Finding) -> Iterable[Plan]:
    """What the experiment found, the rate for this depth, and rates around the user's own."""
    if optimizer_of(patient) is None:
        return
    slow = finding.name in SLOW
    factors = (*_measured(finding), *(UP if slow else DOWN))
    for factor in dict.fromkeys(factors):
        yield (option(lr_factor=factor),)
    rate = isometric_rate(patient)
    if rate is not None and not slow:
        yield (option(lr=rate),)


def _measured(finding: Finding) -> tuple[float, ...]:
    """How many times the rate would be right by what was measured, the most cautious first.

    From the rate at which a copy learned, from by how much clipping shortens each step, and from
    the relative change of the weights in a step, which the rate is proportional to. Two digits: no
    measurement here is sharper, and what is tried is what a patch can write.
    """
    known = [finding.evidence.get(name) for name in ("better_rate", "divided")]
    moved = finding.evidence.get("update_to_weight")
    if moved and math.isfinite(moved):
        aim = CUSTOMARY if finding.name in SLOW else LARGEST
        known.append(float(f"{aim / moved:.1g}"))
    up = finding.name in SLOW
    short = {float(f"{factor:.2g}") for factor in known if factor}
    found = {factor for factor in short if factor and (factor > 1) == up and factor != 1}
    return tuple(sorted(found))


REMEDY = Remedy(
    card=CARD,
    level="loop",
    keep="function",
    safety="same function",
    treats=(
        "step-too-large",
        "step-too-small",
        "always-clipped",
        "dead-units",
        "nonfinite-forward",
    ),
    plan=plan,
)
