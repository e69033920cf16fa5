"""wake-one-factor: one of two factors that hold each other at zero starts at random."""

from collections.abc import Iterable

from unvanish.causes.cause import Finding
from unvanish.remedies.chart import body
from unvanish.remedies.drafts import initialise
from unvanish.remedies.remedy import Patient, Plan, Remedy, RemedyCard

CARD = RemedyCard(
    name="wake-one-factor",
    title="one factor of a product at random, the other zero",
    what="The gradient of each factor of a product is the other one: two zeros never move. With "
    "the first matrix at random and the second at zero the product is zero still, so the "
    "model computes what it did, and the second one gets a gradient from the first step on.",
    harms="Not where the zeros are meant to stay, as in pruned weights.",
    reference="Hu et al. 2021, arXiv:2106.09685 (LoRA, section 4.1); Zhang, Dauphin, Ma 2019, "
    "arXiv:1901.09321",
)


def plan(patient: Patient, finding: Finding) -> Iterable[Plan]:
    """The first matrix in the order of the forward pass; then each other one."""
    parameters = dict(body(patient).named_parameters())
    order = [n for op in patient.diagnosis.trace.operations for n in op.parameters]
    matrices = [
        name
        for name in dict.fromkeys([*order, *finding.where])
        if name in finding.where and name in parameters and parameters[name].dim() >= 2
    ]
    for name in matrices:
        yield (initialise("he_", only=(name,)),)


REMEDY = Remedy(
    card=CARD,
    level="values",
    keep="function",
    safety="same function",
    treats=("stuck-saddle",),
    plan=plan,
)
