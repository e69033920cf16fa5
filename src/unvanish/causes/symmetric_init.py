"""UV101 symmetric-init: units of a layer start equal and stay equal."""

from collections.abc import Iterable

from unvanish.cards import Card
from unvanish.causes.cause import Case, Cause, Finding, found
from unvanish.causes.dataflow import Dataflow
from unvanish.causes.stuck_saddle import STEPS, can_move, stuck_knots
from unvanish.trace import Parameter, Trace

CARD = Card(
    code="UV101",
    name="symmetric-init",
    title="the units of a layer start equal and stay equal",
    says="All units of {where} are equal and get equal gradients: they can never become different "
    "({tensors:.0f} weight tensors).",
    what="The weights of a layer were set to one constant (often zero), so that every unit "
    "computes the same and every gradient step keeps it so.",
    hurts="The layer works as one single unit, or, with zeros all through, not at all: the loss "
    "stays at what the last bias alone can reach.",
    apart="A zero-initialised head, a zero last layer of a residual branch or LoRA's B = 0 "
    "start equal too, but their units get different gradients, at once or a few steps "
    "later. Where the gradients are exactly zero now, a copy takes a few real steps, and "
    "only what is still equal then is named.",
    do="Initialise at random (Xavier, He, orthogonal); biases may stay zero.",
    reference="Goodfellow, Bengio, Courville, Deep Learning, section 8.4",
)

REMEDIES = ("reinitialize",)


def find(case: Case) -> Iterable[Finding]:
    """Weight tensors with equal units and equal gradients, asleep ones tried with real steps."""
    certain = [p for p in case.trace.parameters if is_symmetric(p) and p.state != "zero"]
    asleep = [p for p in case.trace.parameters if is_symmetric(p) and p.state == "zero"]
    if asleep:
        knots, _ = stuck_knots(case, Dataflow(case.trace))
        stuck = {name for knot in knots for name in knot.parameters}
        asleep = [p for p in asleep if p.name not in stuck and can_move(case, [p.name])]
    if asleep:
        later = case.laboratory.after_steps(STEPS)
        certain += [p for p in asleep if later is not None and _still(p, later)]
    if not certain:
        return
    order = {p.name: position for position, p in enumerate(case.trace.parameters)}
    certain.sort(key=lambda p: order[p.name])
    constant = certain[0].weight_rms
    yield found(
        CARD,
        "broken",
        [p.name for p in certain],
        {"tensors": float(len(certain)), "weight_rms": constant},
        REMEDIES,
    )


def is_symmetric(parameter: Parameter) -> bool:
    """Equal units that got equal (or no different) gradients."""
    trainable = parameter.state not in ("frozen", "none", "nonfinite")
    return trainable and parameter.equal_units and parameter.equal_gradients


def _still(parameter: Parameter, later: Trace) -> bool:
    return is_symmetric(later.parameter(parameter.name))


CAUSE = Cause(
    card=CARD,
    find=find,
    explains=(
        "dead-units",
        "depth-decay",
        "init-too-small",
        "saturated-activation",
        "collapsed-signal",
    ),
    exact=True,
)
