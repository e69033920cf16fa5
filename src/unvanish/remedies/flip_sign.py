"""flip-sign: down the loss and not up."""

from collections.abc import Iterable

from unvanish.causes.cause import Finding
from unvanish.remedies.chart import optimizer_of
from unvanish.remedies.drafts import advice, listed, option
from unvanish.remedies.remedy import Patient, Plan, Remedy, RemedyCard

CARD = RemedyCard(
    name="flip-sign",
    title="the sign with which the loss is minimised",
    what="An optimizer that maximises is told to minimise. Where the loss itself bears a minus "
    "sign, its author takes it away; until then an optimizer that is told to maximise trains "
    "as meant.",
    harms="Not where something is meant to be maximised: a reward, a likelihood, the adversary of a "
    "GAN.",
    reference="torch.optim.Optimizer, the option maximize",
)


def plan(patient: Patient, finding: Finding) -> Iterable[Plan]:
    """``maximize=False``, rates above zero; else the other way, and where the minus sign stands."""
    reading = optimizer_of(patient)
    groups = reading.groups if reading is not None else ()
    edits = [option(maximize=False)] if any(group.maximize for group in groups) else []
    for group in groups:
        if group.lr is not None and group.lr < 0:
            edits.append(option(group.parameters, lr=-group.lr))
    if edits:
        yield tuple(edits)
        return
    if groups and "descent_cosine" not in finding.evidence:  # the loss itself is turned round
        yield (option(maximize=True),)
    said = finding.detail or "the loss is negated"
    yield advice(f"Take the minus sign away: {said} ({listed(finding.where)}).", finding.where)


REMEDY = Remedy(
    card=CARD,
    level="wiring",
    keep="function",
    safety="same function",
    treats=("wrong-sign",),
    plan=plan,
)
