"""weight-decay: less of it than the gradient can hold against."""

import math
from collections.abc import Iterable

from unvanish.causes.cause import Finding
from unvanish.remedies.chart import optimizer_of
from unvanish.remedies.drafts import option
from unvanish.remedies.remedy import Patient, Plan, Remedy, RemedyCard

CARD = RemedyCard(
    name="weight-decay",
    title="less weight decay",
    what="The decay is divided by the power of ten that brings it below what the gradient moves, "
    "as it was measured, at least by ten; the second plan takes it off.",
    harms="Without decay a model that generalised by it may fit the training data alone.",
    reference="Loshchilov and Hutter 2019, arXiv:1711.05101; Krogh and Hertz 1991",
)


def plan(patient: Patient, finding: Finding) -> Iterable[Plan]:
    """Divided so far that the gradient outweighs it, then none."""
    reading = optimizer_of(patient)
    largest = max((g.weight_decay or 0.0 for g in reading.groups), default=0.0) if reading else 0.0
    if not largest:
        return
    times = finding.evidence.get("times", 1.0)
    if math.isfinite(times):
        power = max(1, math.ceil(math.log10(max(times, 1.0))))
        yield (option(weight_decay=largest / 10**power),)
    yield (option(weight_decay=0.0),)


REMEDY = Remedy(
    card=CARD,
    level="loop",
    keep="function",
    safety="same function",
    treats=("weight-decay-dominates",),
    plan=plan,
)
