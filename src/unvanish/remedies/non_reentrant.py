"""non-reentrant: a checkpoint that passes the gradient on to the parameters inside."""

from collections.abc import Iterable

from unvanish.causes.cause import Finding
from unvanish.remedies.chart import body
from unvanish.remedies.drafts import advice, listed
from unvanish.remedies.remedy import Patient, Plan, Remedy, RemedyCard
from unvanish.surgery.edits import Edit

CARD = RemedyCard(
    name="non-reentrant",
    title="use_reentrant=False",
    what="A reentrant checkpoint gives gradient to what is inside only if one of its inputs "
    "requires grad. The other kind follows autograd's graph and needs no such input. Where a "
    "module keeps the choice as an attribute use_reentrant, it is set; else the call is "
    "named.",
    harms="Nothing known: it is what torch recommends.",
    reference="torch.utils.checkpoint.checkpoint, the argument use_reentrant",
)


def plan(patient: Patient, finding: Finding) -> Iterable[Plan]:
    """The attribute of the modules that have one; else the call."""
    holders = tuple(
        name
        for name, module in body(patient).named_modules()
        if vars(module).get("use_reentrant") is True
    )
    if holders:
        yield (Edit(action="set", where=holders, options={"use_reentrant": False}),)
    yield advice(
        f"Pass use_reentrant=False to the checkpoint around {listed(finding.where)}.", finding.where
    )


REMEDY = Remedy(
    card=CARD,
    level="wiring",
    keep="function",
    safety="same function",
    treats=("frozen-by-checkpoint",),
    plan=plan,
)
