"""wake-one-factor: one of two factors that hold each other at zero starts at random."""

from collections.abc import Iterable

from unvanish.causes.cause import Finding
from unvanish.remedies.chart import body, module_at
from unvanish.remedies.drafts import initialise
from unvanish.remedies.remedy import Patient, Plan, Remedy, RemedyCard
from unvanish.surgery.edits import Edit

CARD = RemedyCard(
    name="wake-one-factor",
    title="one factor of a product at random, the other zero",
    what="The gradient of each factor of a product is the other one: two zeros never move. With "
    "the first matrix at random and the second at zero the product is zero still, so the "
    "model computes what it did, and the second one gets a gradient from the first step on. A "
    "gate of zero whose slope is zero there, too, is opened to a tenth.",
    harms="Not where the zeros are meant to stay, as in pruned weights.",
    reference="Hu et al. 2021, arXiv:2106.09685 (LoRA, section 4.1); Zhang, Dauphin, Ma 2019, "
    "arXiv:1901.09321",
)


AJAR = 0.1
"""Where a gate is opened to: LayerScale's start for nets of up to 18 blocks (arXiv:2103.17239)."""


def plan(patient: Patient, finding: Finding) -> Iterable[Plan]:
    """The first matrix in the order of the forward pass, then each other one; gates ajar."""
    parameters = dict(body(patient).named_parameters())
    order = [n for op in patient.diagnosis.trace.operations for n in op.parameters]
    asked = [n for n in dict.fromkeys([*order, *finding.where]) if n in finding.where]
    zero = [n for n in asked if n in parameters and not bool(parameters[n].detach().any())]
    for name in zero:
        if parameters[name].dim() >= 2:
            yield (initialise("he_", only=(_layer(patient, name),)),)
    for name in zero:
        if parameters[name].dim() < 2 and not name.endswith("bias"):
            yield (Edit(action="fill", where=(name,), options={"value": AJAR}),)


def _layer(patient: Patient, name: str) -> str:
    """A weight is drawn with the bias of its layer; one that no layer of torch holds, alone."""
    path, _, last = name.rpartition(".")
    module = module_at(patient, path)
    known = type(module).__module__.startswith("torch.nn.modules.") and last == "weight"
    return path if known else name


REMEDY = Remedy(
    card=CARD,
    level="values",
    keep="function",
    safety="changes the function",
    treats=("stuck-saddle",),
    plan=plan,
)
