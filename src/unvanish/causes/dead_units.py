"""UV202 dead-units: units that are zero on every sample."""

import math
from collections.abc import Iterable

from unvanish.cards import Card
from unvanish.causes.cause import RESOLUTION, Case, Cause, Finding, found
from unvanish.causes.closed_limits import closed_limits
from unvanish.causes.dataflow import SCALINGS, SUMS, VIEWS, Dataflow
from unvanish.causes.saturated_activation import places_of
from unvanish.causes.zeroed import zeroed
from unvanish.kinds import activation_name
from unvanish.probe.flow import NORMALIZING, WEIGHTED
from unvanish.trace import Activation, Trace

CARD = Card(
    code="UV202",
    name="dead-units",
    title="units output zero on every sample and get no gradient",
    says="{dead_units:.0f} of {units:.0f} units of {where} are zero on every sample: {detail}.",
    what="A rectifier whose input is negative for every sample outputs zero, has slope zero, "
    "and can never come back by gradient: neither its weights nor its bias get any. So does an "
    "exponential of numbers so far below zero that no number is small enough for the result (a "
    "kernel that is narrow beside all distances).",
    hurts="Dead units are capacity lost for good. A layer that is dead as a whole cuts the net "
    "in two.",
    apart="Half the activations at zero is what ReLU does. A unit is dead only if it is zero on "
    "every sample and place of every batch seen. At initialisation even samples that look "
    "all alike leave half of the units on, so a layer is named only if it is dead as a "
    "whole or if more are dead than a fair coin for each unit would leave in any layer of "
    "the net once in a thousand nets. So many off at once prove nothing in a layer of a few units "
    "(then it counts if no gradient reaches anything before it) nor on a handful of samples of a "
    "trained net, whose units are sparse.",
    do="Look for a step that was too large or a bias far below zero; re-initialise the "
    "units, or use a leaky activation. If the data is far from zero, scale it; make a kernel as "
    "wide as the distances are.",
    reference="Maas, Hannun, Ng 2013; Lu et al. 2019, arXiv:1903.06733 (Dying ReLU and "
    "initialization)",
    clear="at most {dead_share:.0%} of the units of any layer are zero on every sample",
)

REMEDIES = ("reinitialize", "swap-activation", "scale-input", "step-size")
CUT = "no gradient reaches what feeds them"
OF_BIASES = REMEDIES[:2]
"""Neither another scale of the data nor other steps wake what its own bias keeps off."""


def find(case: Case) -> Iterable[Finding]:
    """Layers dead as a whole, or with more dead units than a symmetric initialisation can leave."""
    flow = Dataflow(case.trace)
    units = [a for a in _rectifiers(case.trace) if a.units and not _in_the_loss(flow, a)]
    rectifiers = len(units)
    sick = [
        a
        for a in units
        if more_than_chance(a, rectifiers) or (_is_whole(a) and cuts(case.trace, a))
    ]
    if not sick:
        yield from _off_by_hand(case)
        return
    whole = [a for a in sick if a.dead_units == a.units]
    first = (whole or sick)[0]
    evidence = {
        "dead_units": float(first.dead_units or 0),
        "units": float(first.units or 0),
        "dead_share": first.dead_share,
        "input_mean": first.input_mean,
        "input_rms": first.input_rms,
        "activations": float(len(sick)),
    }
    said, remedies = CUT, REMEDIES
    biases = [low_bias(flow, case.trace, a) for a in whole or sick]
    if biases[0] is not None:
        said = _by_bias(case.trace, list(filter(None, dict.fromkeys(biases))))
        remedies = OF_BIASES
    severity = "broken" if whole else "harmful"
    yield found(CARD, severity, places_of(whole or sick), evidence, remedies, detail=said)


def low_bias(flow: Dataflow, trace: Trace, activation: Activation) -> str | None:
    """The bias of the layer right before a rectifier, where it is what keeps the rectifier off.

    What comes in is a weighted sum and the bias. Below zero by its own rms, larger than all that
    differs between units and samples, the bias does it alone if the mean without it lies within that
    spread of zero: then the sum itself is above zero now and then.
    """
    mean = activation.input_mean
    spread = math.sqrt(max(activation.input_rms**2 - mean**2, 0.0))
    known = (_bias(flow, i, activation.fed_by) for i in _operations(flow, activation))
    name = next(filter(None, known), None)
    if name is None or not mean < 0:
        return None
    size = trace.parameter(name).weight_rms
    # Where nothing comes in the mean is the bias, but for rounding.
    rounding = math.sqrt(RESOLUTION) * size
    return name if size > spread >= abs(mean + size) - rounding else None


def _bias(flow: Dataflow, index: int, layer: str | None) -> str | None:
    """The vector that was added last to what a layer gives this operation; torch lists it last."""
    made = flow.argument(index)
    if made is None or flow[made].function not in WEIGHTED | NORMALIZING | SUMS:
        return None
    if layer is not None and flow[made].module != layer:
        return None
    vectors = [name for name in flow[made].parameters if flow.dimensions[name] == 1]
    scaled = flow[made].function in NORMALIZING  # the first one multiplies
    return vectors[-1] if len(vectors) > scaled else None


def _by_bias(trace: Trace, biases: list[str]) -> str:
    size, names = trace.parameter(biases[0]).weight_rms, ", ".join(biases)
    return f"a bias of -{size:.2g} alone keeps them there and is to start at zero ({names})"


def _rectifiers(trace: Trace) -> list[Activation]:
    """Those that are given more than the zeros that were written over what fed them."""
    written = bool(zeroed(trace))
    return [a for a in trace.activations if not (written and a.input_rms == 0)]


def _off_by_hand(case: Case) -> Iterable[Finding]:
    """Rectifiers written as limits at zero, and exponentials, that are off as a whole."""
    closed = [limit for limit in closed_limits(case.trace) if limit.at_zero]
    if closed:
        where = dict.fromkeys(name for limit in closed for name in limit.where)
        units = float(closed[0].units)
        evidence = {
            "dead_units": units,
            "units": units,
            "dead_share": 1.0,
            "input_rms": closed[0].input_rms,
            "activations": float(len(closed)),
        }
        yield found(CARD, "broken", list(where), evidence, REMEDIES, detail=CUT)


RARELY = 1e-3
"""How often chance alone may name a layer, counted over nets."""
SPARSE = 0.1
"""Trained rectifiers are sparse: a unit that fires for one sample in ten is alive and well."""


def more_than_chance(activation: Activation, layers: int) -> bool:
    """Whether more units are dead than fair coins would leave in any of the layers.

    Hoeffding's bound for n coins, shared among the layers:
    P(dead >= n/2 + t) <= exp(-2 t^2 / n) <= RARELY / layers. All of n are off once in 2^n. A part
    of a layer counts only if so many samples and places were seen that a sparse unit would have
    shown itself: (1 - SPARSE)^m <= RARELY.
    """
    dead, units = activation.dead_units, activation.units
    if not dead or not units or activation.gate:
        return False
    if dead == units:
        return 2.0**-units <= RARELY / layers
    margin = math.sqrt(units * math.log(layers / RARELY) / 2)
    seen = activation.elements / units
    return dead > units / 2 + margin and (1 - SPARSE) ** seen <= RARELY


ZERO_AT_ZERO = VIEWS | SCALINGS | frozenset("sum mean pow square add iadd radd".split())
"""What may follow a hinge on its way to the loss: of zeros it makes zero, beside other summands."""


def _in_the_loss(flow: Dataflow, activation: Activation) -> bool:
    """Whether it is the hinge of a loss: what it takes is no unit, and all at zero is all solved.

    Nothing stands between it and the loss that makes more than zero of its zeros; and it is called
    outside of the model, or there is no loss left.
    """
    places = _operations(flow, activation)
    solved = not any(flow[i].inside for i in places) or flow.loss == 0
    behind = flow.descendants(places) & flow.to_loss - set(places)
    return bool(places) and solved and all(flow[i].function in ZERO_AT_ZERO for i in behind)


def _operations(flow: Dataflow, activation: Activation) -> list[int]:
    """The operations on the way to the loss that are this activation's."""
    return [
        index
        for index in flow.to_loss
        if activation_name(flow[index].function) == activation.function
        and (flow[index].module, flow[index].call) == (activation.module, activation.call)
    ]


def _is_whole(activation: Activation) -> bool:
    return (
        bool(activation.units) and activation.dead_units == activation.units and not activation.gate
    )


def cuts(trace: Trace, activation: Activation) -> bool:
    """Whether the dead layer leaves nothing that trains before it any gradient.

    Then no step can wake it. With a way around it what feeds it goes on changing, and a few
    units that are off together by chance come back.
    """
    flow = Dataflow(trace)
    places = [index for index in _operations(flow, activation) if flow.is_zero(index)]
    before = [
        p
        for p in map(trace.parameter, {name for place in places for name in flow.leaves(place)})
        if p.state != "frozen"
    ]
    return bool(before) and all(p.state in ("zero", "none") for p in before)


def clear(case: Case) -> dict[str, float] | None:
    """The largest dead share of a layer."""
    shares = [a.dead_share for a in _rectifiers(case.trace) if a.dead_share is not None]
    return {"dead_share": max(shares)} if shares else None


CAUSE = Cause(card=CARD, find=find, clear=clear, explains=("depth-decay",))
