"""insert-activation: something nonlinear between layers that follow each other."""

from collections.abc import Iterable

from unvanish.causes.cause import Finding
from unvanish.remedies.chart import module_at
from unvanish.remedies.drafts import advice, initialise, inserted, listed
from unvanish.remedies.remedy import Patient, Plan, Remedy, RemedyCard
from unvanish.surgery.edits import Part

CARD = RemedyCard(
    name="insert-activation",
    title="an activation behind each of these layers but the last",
    what="A ReLU (then a GELU) behind every layer of the run except the last one, with initial "
    "values for it in a further plan: the layers together can then do more than one.",
    harms="Low-rank pairs and projections are linear on purpose.",
    reference="Nair and Hinton 2010; Hendrycks and Gimpel 2016, arXiv:1606.08415",
)


def plan(patient: Patient, finding: Finding) -> Iterable[Plan]:
    """ReLU alone; ReLU and GELU with initial values for them."""
    places = [
        path for path in dict.fromkeys(finding.where[:-1]) if module_at(patient, path) is not None
    ]
    if not places or "" in places:
        yield advice(f"Put an activation between {listed(finding.where)}.", finding.where)
        return
    relus, gelus = (
        tuple(inserted(path, Part(type=f"torch.nn.{name}"), before=False) for path in places)
        for name in ("ReLU", "GELU")
    )
    yield relus
    yield (*relus, initialise())
    yield (*gelus, initialise())


REMEDY = Remedy(
    card=CARD,
    level="activation",
    keep="layers",
    safety="changes the function",
    treats=("no-nonlinearity",),
    plan=plan,
)
