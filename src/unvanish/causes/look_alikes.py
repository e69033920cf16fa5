"""UV902 look-alike: what looks like a fault and is none, each with its reason from structure.

Others come from the causes that they look like: unused heads (detached), sleepers (stuck-saddle),
schedules at zero (not-in-optimizer).
"""

import math
from collections.abc import Callable, Iterable, Iterator

from unvanish.cards import Card
from unvanish.causes.cause import HARMFUL_DECADES, Case, Cause, Expected
from unvanish.causes.dataflow import SCALINGS, SUMS, VIEWS, Dataflow
from unvanish.causes.level import CERTAIN, share_of_chance
from unvanish.causes.mixed_samples import mixed_samples
from unvanish.causes.no_nonlinearity import data_of
from unvanish.causes.passed_on import passed_on
from unvanish.causes.silent_terms import silent_terms
from unvanish.causes.single_unit_softmax import SOFTMAXES
from unvanish.kinds import ACTIVATIONS
from unvanish.probe.flow import NORMALIZING
from unvanish.trace import Trace

CARD = Card(
    code="UV902",
    name="look-alike",
    title="looks like a fault and is none",
    says="{where} looks odd and is as it should be.",
    what="Small, zero or missing gradients that the structure of the model calls for: a bias before "
    "batch norm, the key bias of attention, weights before a norm, embedding rows that no "
    "sample asked for, frozen and tied weights, rectifiers at zero, a model that has converged, a "
    "term of the loss that is a number and no more, values that are passed on detached, answers that "
    "depend on the other samples of the batch.",
    hurts="Not at all. Tools that judge a gradient by its size alone raise the alarm here.",
    apart="Each is listed under 'expected' only where its reason was found in the operations of "
    "this model, and says what would make it a fault after all.",
    do="Nothing; look at the findings, if there are any.",
    reference="Ioffe and Szegedy 2015, arXiv:1502.03167, section 3.2 (bias before batch norm); van "
    "Laarhoven 2017, arXiv:1706.05350 (scale-invariant weights)",
)

AVERAGING = frozenset(("batch_norm", "instance_norm"))
UNSEEN = 10**-HARMFUL_DECADES
"""A share whose square is lost in float32: so small that it looks like nothing."""


def find(case: Case) -> Iterable[Expected]:
    """Every look-alike whose reason is there."""
    flow = Dataflow(case.trace)
    for look in LOOKS:
        yield from look(case.trace, flow)
    yield from mixed_samples(case)


def _bias_before_norm(trace: Trace, flow: Dataflow) -> Iterator[Expected]:
    names: list[str] = []
    for index in sorted(flow.to_loss):
        if flow[index].function not in AVERAGING:
            continue
        source = flow.argument(index)
        if source is not None and data_of(flow, source) is not None:
            names += _faint_biases(trace, flow, source)
    if names:
        yield Expected(
            name="bias-before-batch-norm",
            where=tuple(dict.fromkeys(names)),
            because="the norm behind subtracts the mean, and any bias with it: its gradient is zero "
            "but for rounding",
            unless="the norm runs on its running averages (eval mode)",
        )


def _key_bias(trace: Trace, flow: Dataflow) -> Iterator[Expected]:
    names: list[str] = []
    for index in sorted(flow.to_loss):
        key = _keys(flow, index)
        if key is not None and data_of(flow, key) is not None:
            names += _faint_biases(trace, flow, key)
    if names:
        yield Expected(
            name="attention-key-bias",
            where=tuple(dict.fromkeys(names)),
            because="it adds the same score to every key, and a softmax does not see what all of its "
            "entries share: its gradient is zero but for rounding",
            unless="something stands between keys and scores (a rotation, a norm)",
        )


def _keys(flow: Dataflow, index: int) -> int | None:
    """What made the keys of an attention: its second operand."""
    if flow[index].function == "scaled_dot_product_attention":
        return flow.argument(index, 1)
    if flow[index].function not in SOFTMAXES:
        return None
    scores = flow.argument(index, 0, VIEWS | SUMS | SCALINGS | {"masked_fill"})
    if scores is None or len(flow.signals(scores)) != 2:
        return None
    return flow.argument(scores, 1, VIEWS | SCALINGS)


def _faint_biases(trace: Trace, flow: Dataflow, index: int) -> list[str]:
    """Biases of this layer whose gradient is next to nothing beside that of its weight."""
    mine = [trace.parameter(name) for name in flow[index].parameters]
    weight = max((p.gradient_norm or 0.0 for p in mine if len(p.shape) > 1), default=0.0)
    return [
        p.name
        for p in mine
        if len(p.shape) == 1 and p.gradient_norm is not None and p.gradient_norm <= UNSEEN * weight
    ]


def _scale_invariant(trace: Trace, flow: Dataflow) -> Iterator[Expected]:
    reached = [p for p in trace.parameters if p.gradient_norm and len(p.shape) > 1]
    top = max((p.gradient_norm or 0.0 for p in reached), default=0.0)
    effect = max((p.elasticity or 0.0 for p in reached), default=0.0)
    small = {
        p.name
        for p in reached
        if (p.gradient_norm or 0.0) < UNSEEN * top and (p.elasticity or 0.0) >= UNSEEN * effect
    }
    # On its running averages a norm divides by a number that the weights did not make.
    dividing = NORMALIZING if trace.conditions.training else NORMALIZING - AVERAGING
    names: list[str] = []
    for index in sorted(flow.to_loss):
        source = flow.argument(index) if flow[index].function in dividing else None
        if source is not None and data_of(flow, source) is not None:
            names += [name for name in flow[source].parameters if name in small]
    if names:
        yield Expected(
            name="scale-invariant-weights",
            where=tuple(dict.fromkeys(names)),
            because="the norm behind divides their scale away, so that their gradient shrinks as they "
            "grow; beside their own size it is as large as the others'",
            unless="they go on growing until a step no longer turns them",
        )


def _untouched_rows(trace: Trace, flow: Dataflow) -> Iterator[Expected]:
    tables = {
        n for i in flow.to_loss if "embedding" in flow[i].function for n in flow[i].parameters
    }
    for parameter in trace.parameters:
        zeros = parameter.zeros or 0
        known = not tables.isdisjoint(parameter.names) and len(parameter.shape) == 2
        if known and parameter.state == "reached" and 2 * zeros > parameter.elements:
            rows, width = parameter.shape
            yield Expected(
                name="untouched-embedding-rows",
                where=(parameter.name,),
                because=f"only rows that were looked up get a gradient: {zeros // width} of {rows} "
                "were not",
                unless="rows that are looked up get none either",
                evidence={"rows": float(rows), "untouched": float(zeros // width)},
            )


def _frozen(trace: Trace, flow: Dataflow) -> Iterator[Expected]:
    frozen = [p for p in trace.parameters if p.state == "frozen" and not p.written]
    if frozen and len(frozen) < len(trace.parameters):
        yield Expected(
            name="frozen-by-you",
            where=tuple(p.name for p in frozen),
            because=f"requires_grad is False for {len(frozen)} of {len(trace.parameters)} tensors",
            unless="they were meant to train",
        )


def _running_statistics(trace: Trace, flow: Dataflow) -> Iterator[Expected]:
    kept = [p for p in trace.parameters if p.state == "frozen" and p.written]
    if kept:
        yield Expected(
            name="running-statistics",
            where=tuple(p.name for p in kept),
            because="they are parameters by name only: no gradient is wanted, and the forward pass "
            "writes them itself, as it does with running averages",
            unless="they were meant to be trained by the optimizer",
        )


def _resting_rectifiers(trace: Trace, flow: Dataflow) -> Iterator[Expected]:
    shares: dict[str, float] = {}
    for activation in trace.activations:
        shape = ACTIVATIONS[activation.function]
        if shape.rectifier and not activation.dead_units and activation.derivative_rms is not None:
            # The slope is 0 or 1, so its mean square is the share of units that are on.
            off = 1 - activation.derivative_rms**2
            shares[activation.module or activation.fed_by or activation.function] = off
    resting = {place: off for place, off in shares.items() if 0.25 <= off <= 0.75}
    if resting:
        mean = math.fsum(resting.values()) / len(resting)
        yield Expected(
            name="rectifiers-half-off",
            where=tuple(resting),
            because=f"{mean:.0%} of the outputs are zero, as half are for inputs around zero; every "
            "unit is on for some sample",
            unless="units are zero on every sample",
            evidence={"zero_share": mean},
        )


def _tied(trace: Trace, flow: Dataflow) -> Iterator[Expected]:
    for parameter in trace.parameters:
        if len(parameter.names) > 1:
            yield Expected(
                name="tied-weights",
                where=parameter.names,
                because="these names are one tensor: its gradient is the sum over all of its uses",
                unless="they were meant to be different",
            )


def _converged(trace: Trace, flow: Dataflow) -> Iterator[Expected]:
    share, loss, end = share_of_chance(trace), trace.conditions.loss, trace.loss_operation
    if share >= CERTAIN or loss is None or end is None:
        return
    yield Expected(
        name="converged",
        where=(flow.feeder(end) or "(model)",),
        because=f"the loss is {loss:.2g}, {share:.1%} of guessing among its classes: where there is "
        "nothing left to learn all gradients are small",
        unless="the loss is small for another reason (targets given away in the input)",
        evidence={"loss": loss, "share_of_chance": share},
    )


Look = Callable[[Trace, Dataflow], Iterator[Expected]]
LOOKS: tuple[Look, ...] = (
    _frozen,
    _running_statistics,
    _tied,
    _bias_before_norm,
    _key_bias,
    _scale_invariant,
    _untouched_rows,
    _resting_rectifiers,
    _converged,
    silent_terms,
    passed_on,
)

CAUSE = Cause(card=CARD, find=find)
