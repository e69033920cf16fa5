"""step-size: the learning rate, by what the experiments said and by the depth."""

from collections.abc import Iterable

from unvanish.causes.cause import Finding
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
    """How many times the rate did better on a copy; by how much clipping shortened each step."""
    known = (finding.evidence.get(name) for name in ("better_rate", "divided"))
    return tuple(factor for factor in known if factor and factor != 1)


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
