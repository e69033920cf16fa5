"""scale-loss: a loss scaled into the range of half precision."""

import math
from collections.abc import Iterable

from unvanish.causes.cause import Finding
from unvanish.remedies.drafts import in_step
from unvanish.remedies.remedy import Patient, Plan, Remedy, RemedyCard

CARD = RemedyCard(
    name="scale-loss",
    title="a loss scaled up for the backward pass in half precision",
    what="float16 knows nothing below 6e-8: small gradients become zero. The loss is multiplied by "
    "a power of two before the backward pass and the gradients are divided by it before the "
    "step, in float32, where both are exact (torch.amp.GradScaler). The factor is the one at "
    "which the experiment found them whole again.",
    harms="Too large a factor overflows: a scaler that skips such steps and lowers the factor is "
    "safer than a constant. bfloat16 has float32's range and needs none.",
    reference="Micikevicius et al. 2018, arXiv:1710.03740",
)
USUAL = 2.0**16
"""What torch.amp.GradScaler starts with."""


def plan(patient: Patient, finding: Finding) -> Iterable[Plan]:
    """The factor of the experiment, or the scaler's own."""
    measured = finding.evidence.get("factor", USUAL)
    factor = 2.0 ** round(math.log2(measured)) if measured > 0 else USUAL
    yield (in_step(loss_scale=factor),)
    if factor != USUAL:
        yield (in_step(loss_scale=USUAL),)


REMEDY = Remedy(
    card=CARD,
    level="loop",
    keep="function",
    safety="same function",
    treats=("half-precision-underflow",),
    plan=plan,
)
