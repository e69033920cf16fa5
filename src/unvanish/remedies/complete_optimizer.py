"""complete-optimizer: every parameter that trains is in a group with a rate."""

from collections.abc import Iterable

from unvanish.causes.cause import Finding
from unvanish.remedies.chart import body, largest_rate, optimizer_of
from unvanish.remedies.drafts import option
from unvanish.remedies.remedy import Patient, Plan, Remedy, RemedyCard

CARD = RemedyCard(
    name="complete-optimizer",
    title="an optimizer that holds all of the model's parameters",
    what="The missing parameters are added with the options that the others have, and groups whose "
    "rate is zero get that of the others.",
    harms="What was left out on purpose (a part that another optimizer trains) is then trained "
    "twice.",
    reference="torch.optim.Optimizer.add_param_group",
)


def plan(patient: Patient, finding: Finding) -> Iterable[Plan]:
    """Add what is missing; raise what stands at zero."""
    reading = optimizer_of(patient)
    if reading is None:
        return
    named = dict(body(patient).named_parameters())
    missing = tuple(name for name in reading.missing if name in named)
    resting = tuple(n for g in reading.groups if g.lr == 0 for n in g.parameters)
    # Where no group has a rate, there is nothing to go by but the default of torch's Adam.
    rate = largest_rate(reading) or 1e-3
    # What rests comes first: what is missing may join it, and gets the rate that it has then.
    edits = [option(resting, lr=rate)] if resting else []
    if missing:
        edits.append(option(missing))
    if edits:
        yield tuple(edits)


REMEDY = Remedy(
    card=CARD,
    level="wiring",
    keep="function",
    safety="same function",
    treats=("not-in-optimizer",),
    plan=plan,
)
