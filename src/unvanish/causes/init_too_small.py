"""UV102 init-too-small: the weights attenuate signal and gradient."""

import math
from collections.abc import Iterable

from unvanish.cards import Card
from unvanish.causes.cause import BROKEN_DECADES, HARMFUL_DECADES, Case, Cause, Finding, found
from unvanish.causes.depth_decay import named
from unvanish.causes.init_scale import deviation, evidence
from unvanish.stretch import Stretch, worst_fall

CARD = Card(
    code="UV102",
    name="init-too-small",
    title="the weights are too small: signal and gradient fade layer by layer",
    says="The initial weights are too small: {layers:.0f} layers from {where} on pass "
    "{off_factor:.2g} times what would carry the signal ({decades:.1f} decades of "
    "gradient are lost).",
    what="For every activation there is a weight scale at which a layer neither shrinks nor grows "
    "the signal: gain sqrt(2) for ReLU, 1 for tanh near zero. These weights stay below it, so both "
    "the signal forward and the gradient backward shrink by a constant factor a layer.",
    hurts="The output hardly depends on the input and the first layers get next to no gradient; "
    "the loss sits at the value of a constant guess.",
    apart="Told from an activation's own loss by the account: the weights must take most of the "
    "fall, and the activation must be one that some weight scale can carry (E[f'^2] about "
    "E[f^2] at unit variance; not sigmoid). Layers followed by a norm do not count, since "
    "a norm undoes any scale.",
    do="Re-initialise for the activation: He for ReLU and its kin, gain 1 (orthogonal) for "
    "tanh. torch's default for Linear (uniform, a = sqrt(5)) is too small for deep nets "
    "by a factor 0.41 a ReLU layer.",
    reference="He et al. 2015, arXiv:1502.01852; Glorot and Bengio 2010; Schoenholz et al. 2017, "
    "arXiv:1611.01232",
)

REMEDIES = ("reinitialize", "insert-norm", "gated-residual")


def find(case: Case) -> Iterable[Finding]:
    """A compounding fall most of which the weights' distance from critical accounts for."""
    fall = worst_fall(case.trace)
    if (
        fall is None
        or -fall.decades < HARMFUL_DECADES
        or not fall.compounds
        or fall.repeats_one_module
    ):
        return
    off = deviation(case.trace, fall.layers)
    if off is None or not off.mendable or off.decades > fall.decades / 2:
        return
    # Two ways to starve: the far layers against the near ones, or, without biases, all alike
    # because the signal itself has faded by the time it reaches the output.
    starved = max(-(fall.elasticity or 0.0), fall.forward or 0.0, _faded(fall))
    if starved < HARMFUL_DECADES:
        return
    severity = "broken" if starved >= BROKEN_DECADES else "harmful"
    yield found(CARD, severity, named(off.layers), evidence(off, fall), REMEDIES)


def _faded(fall: Stretch) -> float:
    """Decades of signal lost over the stretch, which the weights have accounted for."""
    known = [layer.output_rms for layer in fall.layers if layer.output_rms]
    return math.log10(max(known) / min(known)) if known else 0.0


CAUSE = Cause(
    card=CARD,
    find=find,
    explains=(
        "depth-decay",
        "dead-units",
        "collapsed-signal",
        "chaotic-signal",
        "weight-decay-dominates",
        "epsilon-dominated",
        "step-too-small",
    ),
)
