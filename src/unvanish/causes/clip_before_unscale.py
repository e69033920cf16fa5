"""UV505 clip-before-unscale: clipping meets gradients that still bear the loss scale."""

from collections.abc import Iterable

from unvanish.cards import Card
from unvanish.causes.cause import Case, Cause, Finding, found
from unvanish.training.record import LoopStep

CARD = Card(
    code="UV505",
    name="clip-before-unscale",
    title="clipping acts on gradients that bear the loss scale",
    says="Gradients are clipped before they are unscaled: the limit {limit:.3g} meets gradients that "
    "are multiplied by the loss scale {scale:,.0f}, so the real limit is {real_limit:.2g}, where "
    "their norm is {norm:.2g}.",
    what="GradScaler multiplies the loss, and so every gradient, by a large number, and divides it "
    "away in scaler.step. A limit that was meant for true gradients comes between.",
    hurts="Every step is clipped to next to nothing: plain gradient descent moves thousands of times "
    "too slowly, and how far depends on the scale of the day.",
    apart="The order of the calls is followed in the user's own step: clipping after backward on a "
    "scaled loss and before unscale_. The step is run again with half the loss scale: a limit that "
    "follows the scale is meant so and is no fault.",
    do="Call scaler.unscale_(optimizer) before clipping; scaler.step then does not unscale again.",
    reference="torch documentation: automatic mixed precision examples, gradient clipping",
)

REMEDIES = ("unscale-first",)
SAME = 1e-3
"""Two norms of the same clipping agree to rounding; half the scale would differ by a half."""


def find(case: Case) -> Iterable[Finding]:
    """A limit on scaled gradients that does not follow the scale."""
    loop = case.laboratory.loop()
    if loop is None or not any(_limit(step) for step in loop.steps):
        return
    half = case.laboratory.loop(scale_factor=0.5)
    if half is None:
        return
    for step, other in zip(loop.steps, half.steps, strict=False):
        limit, again = _limit(step), _limit(other)
        if limit is None or again is None or abs(again - limit) > SAME * limit:
            continue
        scale, norm = step.scale or 1.0, step.norm or 0.0
        evidence = {"limit": limit, "scale": scale, "real_limit": limit / scale, "norm": norm}
        severity = "harmful" if norm * scale > limit else "note"
        yield found(CARD, severity, ("training step",), evidence, REMEDIES)
        return


def _limit(step: LoopStep) -> float | None:
    """What held scaled gradients down in one step: a clipping call, or their norm as it was left.

    The norm tells of clipping that is written by hand: smaller before unscaling than after backward.
    """
    called = [clipping.limit for clipping in step.clippings if clipping.scaled]
    if called:
        return called[0]
    if step.before_unscaling is None or step.norm is None or step.scale is None:
        return None
    shrunk = step.before_unscaling < (1 - SAME) * step.norm * step.scale
    return step.before_unscaling if shrunk else None


CAUSE = Cause(card=CARD, find=find, explains=("step-too-small", "always-clipped"), exact=True)
