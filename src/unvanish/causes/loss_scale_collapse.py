"""UV504 loss-scale-collapse: no loss scale is small enough, the gradient itself is at fault."""

from collections.abc import Iterable

from unvanish.cards import Card
from unvanish.causes.cause import Case, Cause, Expected, Finding, found
from unvanish.training.record import LoopRecord

CARD = Card(
    code="UV504",
    name="loss-scale-collapse",
    title="the loss scale falls without end",
    says="The loss scaler skips {skipped:.0%} of the steps even with a loss scale of 1 (it stood at "
    "{scale:,.6g}): the gradient is not finite without any scale, and halving the scale for ever "
    "will not help.",
    what="GradScaler halves its scale after every gradient that is not finite, and skips that step. A "
    "too large scale is found in a few steps; a NaN that does not come from the scale never ends.",
    hurts="Every step is skipped, the weights stay as they are to the last bit, and after a few hundred "
    "steps the scale itself is zero.",
    apart="The step is run again with the scale set to 1: where it passes then, the scaler is only "
    "probing and will settle by itself; that is listed as expected.",
    do="Look for the operation that makes NaN or Inf (a finding of its own here, if it happened on "
    "these batches): log, sqrt or division at zero, a fully masked row, float16 overflow in the "
    "forward pass. Compute that part in float32.",
    reference="torch.amp.GradScaler; Micikevicius et al. 2018, arXiv:1710.03740, section 3.2",
)

REMEDIES = ("guard-operation", "full-precision-weights")


def find(case: Case) -> Iterable[Finding | Expected]:
    """Steps that are skipped whatever the scale; skipped ones that are not, as expected."""
    loop = case.laboratory.loop()
    if loop is None or not any(step.skipped for step in loop.steps):
        return
    plain = case.laboratory.loop(scale_to=1.0)
    if plain is None or not plain.steps:
        return
    scale = loop.steps[0].scale or 1.0
    skipped = _skipped(plain)
    if skipped:
        severity = "broken" if skipped == 1 else "harmful"
        evidence = {"skipped": skipped, "scale": scale}
        yield found(CARD, severity, ("training step",), evidence, REMEDIES)
    else:
        yield Expected(
            name="scaler-probing",
            where=("training step",),
            because=f"the loss scaler skipped {_skipped(loop):.0%} of the steps while it looks for a "
            f"scale below {scale:.3g}; with a scale of 1 none is skipped",
            unless="steps are still skipped after some dozens of them",
            evidence={"skipped": _skipped(loop), "scale": scale},
        )


def _skipped(loop: LoopRecord) -> float:
    return sum(step.skipped for step in loop.steps) / len(loop.steps)


CAUSE = Cause(card=CARD, find=find)
