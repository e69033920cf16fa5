"""UV201 saturated-activation: units sit where the function is flat."""

from collections.abc import Iterable

from unvanish.cards import Card
from unvanish.causes.cause import BROKEN_DECADES, HARMFUL_DECADES, Case, Cause, Finding, found
from unvanish.causes.closed_limits import closed_limits
from unvanish.causes.level import converged, learns_as_with_scaled_inputs
from unvanish.kinds import ACTIVATIONS
from unvanish.trace import Activation

CARD = Card(
    code="UV201",
    name="saturated-activation",
    title="units sit on the flat ends of their activation",
    says="{saturated_share:.0%} of the units of {where} are saturated: their pre-activations "
    "have an rms of {input_rms:.3g}, where the slope of the function is next to nothing.",
    what="A sigmoid, tanh or hard limit is flat outside a narrow range. A unit counts as "
    "saturated where its slope is below 5 % of the largest the function has, so that it "
    "would take twenty times the step to move it as far.",
    hurts="A saturated unit gives the same output whatever its input and lets no gradient through: "
    "what feeds it cannot learn.",
    apart="Only functions flat on both sides count (half of all ReLU units at zero is normal). "
    "Gates, which multiply another signal, and the output before the loss are meant to "
    "saturate and do not count. Named only where nine units in ten of a layer are "
    "saturated; a note where the targets are met all the same.",
    do="Look at what feeds it: scale the inputs to unit variance, re-initialise the layer "
    "before it, or put a norm between.",
    reference="LeCun et al. 1998, Efficient BackProp; Glorot and Bengio 2010",
    clear="at most {saturated_share:.0%} of the units of any activation are saturated",
)

REMEDIES = ("scale-input", "reinitialize", "insert-norm", "swap-activation")

MOSTLY = 0.9
"""With a tenth of the units moving, a layer's gradient is down to sqrt(0.1), a third: the largest
loss that one layer may take before it costs more than a plain ReLU layer at default initialisation."""


def find(case: Case) -> Iterable[Finding]:
    """Hidden two-sided activations with nearly all units on the flat ends."""
    worst = sorted(
        (a for a in case.trace.activations if is_saturated(a)),
        key=lambda a: -(a.saturated_share or 0.0),
    )
    if not worst:
        yield from _beyond_limits(case)
        return
    first = worst[0]
    # The input side decides where it begins: later layers only see what the first one passes.
    ordered = [a for a in case.trace.activations if a in worst]
    passed = (first.derivative_rms or 0.0) / ACTIVATIONS[first.function].slope
    severity = "broken" if passed < 10**-HARMFUL_DECADES else "harmful"
    if learns_as_with_scaled_inputs(case) or converged(case):
        severity = "note"
    yield found(
        CARD,
        severity,
        places_of(ordered),
        {
            "saturated_share": ordered[0].saturated_share,
            "input_rms": ordered[0].input_rms,
            "derivative_rms": ordered[0].derivative_rms,
            "activations": float(len(ordered)),
        },
        REMEDIES,
        detail=ordered[0].fed_by,
    )


def is_saturated(activation: Activation) -> bool:
    """Whether nearly all units are flat, in a place where that is not meant."""
    share = activation.saturated_share
    if share is None or share < MOSTLY or activation.feeds_loss:
        return False
    return not activation.gate or _shut(activation)


def _shut(gate: Activation) -> bool:
    """Whether a gate lets nothing through and cannot open.

    Its values and its slope are below what float32 keeps beside one: what it multiplies is rounded
    away in any sum, and so is what either of them would get of the gradient.
    """
    least = 10**-BROKEN_DECADES
    passed = (gate.derivative_rms or 0.0) / ACTIVATIONS[gate.function].slope
    return gate.output_rms < least and passed < least


def _beyond_limits(case: Case) -> Iterable[Finding]:
    """Limits written by hand that every value is beyond, where that is not a rectifier's zero."""
    closed = [limit for limit in closed_limits(case.trace) if not limit.at_zero]
    if closed:
        where = dict.fromkeys(name for limit in closed for name in limit.where)
        evidence = {
            "saturated_share": 1.0,
            "input_rms": closed[0].input_rms,
            "derivative_rms": 0.0,
            "activations": float(len(closed)),
        }
        yield found(CARD, "broken", list(where), evidence, REMEDIES)


def place(activation: Activation) -> str:
    """The module of an activation; what feeds it where the model itself calls the function."""
    return activation.module or activation.fed_by or activation.function


def places_of(activations: Iterable[Activation]) -> list[str]:
    """The activations' places, each followed by the layer that feeds it."""
    return [name for a in activations for name in (place(a), a.fed_by) if name]


def clear(case: Case) -> dict[str, float] | None:
    """The largest saturated share of a hidden activation."""
    shares = [
        a.saturated_share
        for a in case.trace.activations
        if a.saturated_share is not None and not a.gate and not a.feeds_loss
    ]
    return {"saturated_share": max(shares)} if shares else None


CAUSE = Cause(card=CARD, find=find, clear=clear, explains=("depth-decay",))
