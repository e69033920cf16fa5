"""warm-up: a learning rate that starts near zero."""

from collections.abc import Iterable

from unvanish.causes.cause import Finding
from unvanish.remedies.chart import optimizer_of
from unvanish.remedies.drafts import advice, in_step
from unvanish.remedies.remedy import Patient, Plan, Remedy, RemedyCard

CARD = RemedyCard(
    name="warm-up",
    title="a learning rate that rises from zero over the first steps",
    what="The rate rises linearly to the one that is set. With Adam over 2 / (1 - beta2) steps, "
    "two thousand by default: until then its estimate of the squared gradient rests on few "
    "steps and the first updates are of random size and full length. Without such an estimate "
    "over a thousand steps.",
    harms="Thousands of steps at small rates are wasted where the net is sound from the start.",
    reference="Ma and Yarats 2021, arXiv:1910.04209 (the rule of 2 / (1 - beta2)); Goyal et al. 2017, "
    "arXiv:1706.02677; Xiong et al. 2020, arXiv:2002.04745",
)
WITHOUT_ESTIMATE = 1000


def plan(patient: Patient, finding: Finding) -> Iterable[Plan]:
    """So many steps as the optimizer's memory asks for."""
    reading = optimizer_of(patient)
    if reading is None:
        yield advice("Let the learning rate rise linearly over the first 2,000 steps (Adam).")
        return
    memories = [group.betas[1] for group in reading.groups if len(group.betas) > 1]
    steps = round(2 / (1 - max(memories))) if memories and max(memories) < 1 else WITHOUT_ESTIMATE
    yield (in_step(warm_up=steps),)


REMEDY = Remedy(
    card=CARD,
    level="loop",
    keep="function",
    safety="same function",
    treats=("post-norm-depth",),
    plan=plan,
)
