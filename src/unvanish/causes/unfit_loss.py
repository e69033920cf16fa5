"""UV708 unfit-loss: the loss gives this output no usable slope."""

import math
from collections.abc import Iterable

from unvanish.cards import Card
from unvanish.causes.cause import Case, Cause, Finding, found
from unvanish.causes.closed_limits import LIMITS
from unvanish.causes.dataflow import Dataflow
from unvanish.causes.forgotten_logarithm import PROBABILITIES, without_logarithm
from unvanish.causes.init_scale import shut_by_weights
from unvanish.causes.level import converged, is_given, squashed_output
from unvanish.causes.saturated_activation import MOSTLY
from unvanish.causes.straight_derivatives import straight_derivative
from unvanish.trace import Op, Operation, Trace

CARD = Card(
    code="UV708",
    name="unfit-loss",
    title="the loss gives this output no usable slope",
    says="The loss does not fit the output of {where}: {detail}.",
    what="A squared or absolute error on an output that was squashed by a sigmoid, tanh, softmax or "
    "rectifier: where the output is saturated, the slope is gone however wrong it is; and "
    "targets outside the range of the function can never be met. Minus a probability is flat where "
    "the answer is wrong, and minus a score has no least value, nor has a binary cross entropy whose "
    "targets lie outside of 0 to 1 (labels -1 and 1). A net of rectifiers has no curvature "
    "that a differential equation could be about.",
    hurts="The loss sits on a plateau at the edge of the range.",
    apart="Squashed outputs with a squared error are common and often fine. Named only if more than "
    "a third of the targets' variance lies outside the range (a rectifier has no negative values), "
    "if nll_loss reads a softmax or a layer's scores without a logarithm, or ctc_loss a softmax, if a "
    "second derivative that "
    "goes into the loss is exactly zero on every sample, if a target of a binary cross entropy that no "
    "mask or weight can take out is nearer to another whole number than to 0 and 1, or if nine "
    "outputs in ten are already saturated while the loss is not done; and of any loss, if every "
    "tensor gets exactly zero and nothing else explains it.",
    do="Take the squashing away for regression; for classes use cross_entropy or "
    "binary_cross_entropy_with_logits on raw outputs, with targets from 0 to 1; where a loss takes second "
    "derivatives, tanh.",
    reference="Goodfellow, Bengio, Courville, Deep Learning, section 6.2.2",
)

MOST_MISSED = 1 / 3
"""Past it the best that the output can do is less than two thirds of what there is to learn."""
KNOWS = 0.9
"""The loss over that with shuffled targets, of a net that tells them apart: rounding leaves 1."""
OF_RANGES = ("logits-loss", "scale-target")
OF_LOGARITHMS = ("logits-loss",)
OF_CURVATURE = ("swap-activation",)
REMEDIES = OF_RANGES + OF_CURVATURE


def find(case: Case) -> Iterable[Finding]:
    """What a loss cannot be asked of: curvature of straight pieces, a likelihood without logarithm.

    Or a squashed output that is out of reach or on a plateau.
    """
    straight = straight_derivative(case.trace)
    if straight is not None:
        names = ", ".join(straight.functions)
        said = f"it asks for a second derivative, and through {names} that is zero everywhere"
        where = [module or "(model)" for module in straight.modules]
        evidence = {"straight": float(len(where))}
        yield found(CARD, "harmful", where, evidence, OF_CURVATURE, detail=said)
        return
    unlogged = without_logarithm(case.trace)
    if unlogged is not None:
        reads, made = unlogged
        said = f"{reads.function} takes logarithms of probabilities, not the raw scores of {made.function}"
        if made.function in PROBABILITIES:
            said = f"{reads.function} takes logarithms of probabilities, not the values of {made.function}"
        yield found(CARD, "harmful", [made.module or "(model)"], {}, OF_LOGARITHMS, detail=said)
        return
    endless = _endless(case.trace)
    if endless is not None:
        yield endless
        return
    seen = squashed_output(case.trace)
    if seen is None:
        return
    loss, squash, (low, high) = seen
    made = case.trace.operations.index(squash)
    fed_by = Dataflow(case.trace).feeder(made)
    where = [squash.module or "(model)", *([fed_by] if fed_by else [])]
    scale = case.laboratory.data_scale("targets")
    missed = case.laboratory.out_of_reach(low, high) if _as_given(case, loss) else None
    if scale is not None and missed is not None and missed > MOST_MISSED:
        evidence = {
            "target_low": scale.low,
            "target_high": scale.high,
            "low": low,
            "high": high if math.isfinite(high) else None,
            "missed": missed,
        }
        targets = f"targets from {scale.low:.3g} to {scale.high:.3g}"
        said = f"{squash.function} goes from {low:g} to {high:g}, {targets}"
        if not math.isfinite(high):
            said = f"{squash.function} goes from {low:g} up, {targets}"
        # Where it misses all there is to learn, one value at the edge is the best it can do.
        severity = "broken" if missed >= 1 else "harmful"
        yield found(CARD, severity, where, evidence, OF_RANGES, detail=said)
        return
    flat = [
        a
        for a in case.trace.activations
        if a.feeds_loss and a.saturated_share is not None and a.saturated_share >= MOSTLY
    ]
    if flat and not shut_by_weights(case.trace) and not converged(case):
        evidence = {"saturated_share": flat[0].saturated_share, "input_rms": flat[0].input_rms}
        said = f"{loss.function} on a {squash.function} that is saturated"
        yield found(CARD, "harmful", where, evidence, OF_RANGES, detail=said)


def _endless(trace: Trace) -> Finding | None:
    """A binary cross entropy in the loss of which a target is no probability, not even roughly.

    Its slope by a logit is sigmoid(z) - t, which has one sign everywhere where t is below 0 or above
    1. Labels that are blurred up to 1.2 and pixels that overshoot where images were resized train
    all the same; half a unit outside, another whole number is nearer than 0 and 1.
    """
    if not any(op.targets for op in trace.operations):
        return None
    flow = Dataflow(trace)
    for index in sorted(flow.to_loss & flow.trained):
        low, high = flow[index].targets or (0, 1)
        if low <= -0.5 or high >= 1.5:
            said = (
                "binary cross entropy falls without end where targets lie outside of 0 to 1, and these "
                f"go from {low:.3g} to {high:.3g}"
            )
            where = [flow.feeder(index) or "(model)"]
            evidence = {"target_low": low, "target_high": high}
            return found(CARD, "broken", where, evidence, detail=said)
    return None


def _as_given(case: Case, loss: Operation) -> bool:
    """Whether the targets reach the loss as they stand in the batch."""
    return len(loss.inputs) > 1 and is_given(case.trace, loss, 1)


def find_flat(case: Case) -> Iterable[Finding]:
    """A loss that is not done, of which every tensor that trains gets exactly zero.

    Without targets to shuffle nobody can tell whether it is done (clipped ratios, margins that are
    met): then it is a note. So it is where margins of the loss are met: it may have a constant beside
    them, and never come near zero.
    """
    trained = [p for p in case.trace.parameters if p.state not in ("frozen", "none")]
    flat = bool(trained) and all(p.state == "zero" for p in trained)
    if not flat or not case.trace.conditions.loss or converged(case):
        return
    ends = [op for op in case.trace.ops if op.norm and op.left == 0]
    where = [op.module or "(model)" for op in ends] or ["(model)"]
    kinds = ", ".join(dict.fromkeys(op.kind for op in ends or case.trace.ops[:1]))
    said = f"it is flat here, the gradient ends in {kinds} and all tensors get exactly zero"
    known = case.laboratory.shuffled_ratio()
    evidence = {"tensors": float(len(trained))}
    met = known is not None and known < KNOWS and bool(ends) and all(map(_is_margin, ends))
    severity = "note" if known is None or met else "broken"
    yield found(CARD, severity, dict.fromkeys(where), evidence, OF_RANGES, detail=said)


def _is_margin(op: Op) -> bool:
    """Whether it is a limit outside of all modules, or the power of what one has left."""
    return not op.module and (op.kind in LIMITS or op.kind in ("Relu", "Pow"))


CAUSE = Cause(card=CARD, find=find, otherwise=find_flat)
