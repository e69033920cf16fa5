"""UV709 unscaled-accumulation: the losses of micro-batches are summed, not averaged."""

from collections import Counter
from collections.abc import Iterable

from unvanish.cards import Card
from unvanish.causes import step_too_large
from unvanish.causes.cause import Case, Cause, Finding, found
from unvanish.training.record import LoopRecord, LoopStep

CARD = Card(
    code="UV709",
    name="unscaled-accumulation",
    title="the losses of micro-batches are summed, not averaged",
    says="{backwards:.0f} micro-batches are gathered for one step and their mean losses are summed: the "
    "gradient is {backwards:.0f} times that of the whole batch. {detail}",
    what="Each micro-batch's loss is a mean over its own samples. The mean over the batch is their mean, "
    "so each has to be divided by their number.",
    hurts="Plain gradient descent takes steps as many times too large; the learning rate has to be found "
    "anew for every number of micro-batches, and a clipping limit bites earlier.",
    apart="The backward calls of one step come from the same operations, each on a plain mean that nothing "
    "divides, and the gradient is not divided afterwards. The step is tried with gradients divided by "
    "their number: harmful only where that learns and the sum's step is too large. Adam divides any constant "
    "away; there it is a note. A GAN's two losses are made by the same operations too.",
    do="Divide the loss by the number of micro-batches before backward.",
    reference="torch documentation: automatic mixed precision examples, gradient accumulation",
)

REMEDIES = ("average-accumulation",)
SAME = 0.01
"""A hundredth: gradients divided by hand show the number of micro-batches to that."""


def find(case: Case) -> Iterable[Finding]:
    """Like backward calls on undivided means before one step."""
    loop = case.laboratory.loop()
    if loop is None:
        return
    counts = Counter(len(step.backwards) for step in loop.steps if _summed(step))
    if not counts:
        return
    number = counts.most_common(1)[0][0]
    averaged = case.laboratory.loop(divide=float(number))
    if averaged is None:
        return
    # The sum is at fault where the step is too large with it, or nothing falls, and the mean learns.
    fails = loop.fell <= 0 or any(True for _ in step_too_large.find(case))
    severity = "harmful" if fails and averaged.fell > 0 else "note"
    evidence = {
        "backwards": float(number),
        "fell": loop.fell if loop.fell > -1e30 else None,
        "fell_averaged": averaged.fell if averaged.fell > -1e30 else None,
    }
    said = _said(loop, averaged, severity)
    yield found(CARD, severity, ("training step",), evidence, REMEDIES, detail=said)


def _said(loop: LoopRecord, averaged: LoopRecord, severity: str) -> str:
    if severity == "harmful":
        return f"Averaged, the loss falls by {averaged.fell:.2g} of itself; summed, the step is too large."
    return f"On these steps the loss falls as it is too (by {loop.fell:.2g}; averaged {averaged.fell:.2g})."


def _summed(step: LoopStep) -> bool:
    number = len(step.backwards)
    if number < 2 or len({backward.likeness for backward in step.backwards}) > 1:
        return False
    if any(backward.share != 1 for backward in step.backwards):
        return False
    return step.shrunk is None or abs(step.shrunk - number) > SAME * number


CAUSE = Cause(card=CARD, find=find, explains=("step-too-large", "always-clipped"))
