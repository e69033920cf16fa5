"""unfreeze: what should train requires grad."""

from collections.abc import Iterable

from unvanish.causes.cause import Finding
from unvanish.remedies.chart import body
from unvanish.remedies.remedy import Patient, Plan, Remedy, RemedyCard
from unvanish.surgery.edits import Edit

CARD = RemedyCard(
    name="unfreeze",
    title="requires_grad on what should train",
    what="The frozen tensors of the finding, all of the model where everything is frozen, get "
    "requires_grad again.",
    harms="Where freezing was meant, pretrained weights change. Weights that were thawed are in no "
    "optimizer that was made before: complete-optimizer adds them.",
    reference="torch.nn.Module.requires_grad_",
)


def plan(patient: Patient, finding: Finding) -> Iterable[Plan]:
    """The tensors that the finding names; all floating ones where it names no parameter."""
    named = dict(body(patient).named_parameters())
    frozen = {n for n, p in named.items() if not p.requires_grad and p.is_floating_point()}
    asked = tuple(
        name
        for name in named
        if name in frozen
        and any(name == one or name.startswith(f"{one}.") for one in finding.where)
    )
    where = asked or tuple(name for name in named if name in frozen)
    if where:
        added = Edit(action="optimizer", where=where)
        thawed = Edit(action="set", where=where, options={"requires_grad": True})
        yield (thawed, added) if patient.optimizer is not None else (thawed,)


REMEDY = Remedy(
    card=CARD,
    level="wiring",
    keep="function",
    safety="same function",
    treats=("nothing-trainable",),
    plan=plan,
)
