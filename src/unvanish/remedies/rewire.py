"""rewire: the way from the parameters to the loss without a cut."""

from collections.abc import Iterable

from unvanish.causes.cause import Finding
from unvanish.remedies.drafts import advice, listed
from unvanish.remedies.remedy import Patient, Plan, Remedy, RemedyCard
from unvanish.trace import Cut

CARD = RemedyCard(
    name="rewire",
    title="a value that goes on together with its gradient",
    what="A value goes on and its gradient does not, where it was detached, left torch (numpy, "
    "item, a new tensor made of numbers) or was computed under no_grad. Only its author knows "
    "whether a cut was meant: the place is named.",
    harms="Cuts that are meant: targets, statistics, the teacher of a student, straight-through "
    "estimators.",
    reference="torch.Tensor.detach; torch.autograd, locally disabling gradient computation",
)


def plan(patient: Patient, finding: Finding) -> Iterable[Plan]:
    """The operation that cuts and the forward that calls it."""
    cuts = [cut for cut in patient.diagnosis.trace.cuts if cut.to_loss]
    places = listed(dict.fromkeys(_place(cut) for cut in cuts)) or listed(finding.where)
    yield advice(f"Remove the cut between these parameters and the loss: {places}.", finding.where)


def _place(cut: Cut) -> str:
    return f"{cut.operation} in the forward of {cut.module or 'the model'}"


REMEDY = Remedy(
    card=CARD,
    level="advice",
    keep="function",
    safety="advice",
    treats=("detached",),
    plan=plan,
)
