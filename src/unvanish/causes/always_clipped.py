"""UV703 always-clipped: clipping has taken over the step size."""

import math
import statistics
from collections.abc import Iterable

from unvanish.cards import Card
from unvanish.causes.cause import Case, Cause, Finding, found
from unvanish.training.record import LoopRecord, LoopStep

CARD = Card(
    code="UV703",
    name="always-clipped",
    title="most steps are clipped",
    says="Clipping is at work in {share:.0%} of the steps and divides the gradient by {divided:.3g}: the "
    "real step is the learning rate divided by that. {detail}",
    what="A limit on the gradient norm is meant for rare spikes. Below the usual norm it makes every "
    "step the same length: the learning rate says nothing any more.",
    hurts="Plain gradient descent crawls, and the panel of clipped norms looks perfect.",
    apart="The norm after backward and the norm that the optimizer used are compared in the user's own "
    "step, then the step is tried without clipping and with the clipped gradient made longer: harmful "
    "only where the loss then falls ten times as fast. Adam and its kin divide any constant away; "
    "there it is a note.",
    do="Log the norm before clipping and set the limit near its 90th percentile, or divide the limit's "
    "work into the learning rate on purpose.",
    reference="Pascanu, Mikolov and Bengio 2013, arXiv:1211.5063, section 3.2; Godbole et al. 2023, Deep "
    "learning tuning playbook (choosing the gradient clipping threshold)",
)

REMEDIES = ("raise-clip-limit", "step-size")
FEWEST = 3
"""Steps to speak of 'most'."""
BITES = 1e-3
"""A norm that differs by more than rounding was changed."""
FASTER = 10
"""As in step-too-small: an order of magnitude of the loss's fall was lost."""


def find(case: Case) -> Iterable[Finding]:
    """Most steps are clipped; what they would do without is tried."""
    loop = case.laboratory.loop()
    if loop is None or len(loop.steps) < FEWEST:
        return
    divided = [step.shrunk or 1.0 for step in loop.steps if _clipped(step, loop)]
    share = len(divided) / len(loop.steps)
    if share <= 0.5:
        return
    typical = statistics.median(divided)
    tries = [case.laboratory.loop(clip=False), case.laboratory.loop(divide=typical**-0.5)]
    best = max((t.fell for t in tries if t is not None), default=loop.fell)
    harmful = best > 0 and best >= FASTER * loop.fell
    said = (
        f"With less of it the loss falls by {best:.2g} of itself where it fell by {max(loop.fell, 0):.2g}."
        if harmful
        else "On these steps the loss falls about as fast as it would without."
    )
    evidence = {"share": share, "divided": typical, "fell": loop.fell, "could_fall": best}
    severity = "harmful" if harmful else "note"
    yield found(CARD, severity, ("training step",), evidence, REMEDIES, detail=said)


def _clipped(step: LoopStep, loop: LoopRecord) -> bool:
    """Made shorter by a clipping call on true gradients, or by hand to one and the same norm."""
    if step.shrunk is None or not 1 + BITES < step.shrunk < math.inf:
        return False
    if step.clippings:
        return not any(clipping.scaled for clipping in step.clippings)
    used = [s.used for s in loop.steps if s.used and s.shrunk and s.shrunk > 1 + BITES]
    ratios = [s.shrunk for s in loop.steps if s.used and s.shrunk and s.shrunk > 1 + BITES]
    constant = max(used) <= (1 + BITES) * min(used)
    # A gradient divided by the number of micro-batches is shorter by the same ratio every time.
    return constant and max(ratios) > (1 + BITES) * min(ratios)


CAUSE = Cause(card=CARD, find=find, explains=("step-too-small",))
