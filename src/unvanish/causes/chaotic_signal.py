"""UV305 chaotic-signal: neighbours become strangers with depth, though the signal's norm is flat."""

from collections.abc import Iterable

from unvanish.cards import Card
from unvanish.causes.batch_statistics import batch_norms
from unvanish.causes.cause import BROKEN_DECADES, HARMFUL_DECADES, Case, Cause, Finding, found
from unvanish.causes.dataflow import Dataflow
from unvanish.causes.likeness import Course, course, hidden, trainable_depth
from unvanish.trace import Layer, Trace

CARD = Card(
    code="UV305",
    name="chaotic-signal",
    title="neighbours become strangers with depth",
    says="Small differences between samples grow with depth: by {factor_per_layer:.3g} a layer, "
    "{decades:.1f} decades over {layers:.0f} layers from {where} on, while the signal itself keeps "
    "its size: samples that lie close together come out unrelated.",
    what="The signal is bounded (a saturating activation, a norm), so what a layer amplifies is not "
    "its size but its differences. After a few layers every input, however close to another, "
    "has an output of its own.",
    hurts="The net can memorise its batch but not carry over to a neighbour of it; with more depth "
    "the loss surface is so rough that no step size trains it at all.",
    apart="Measured where the gradient is: how much the loss would change if a layer's output "
    "changed by its own size. That is flat in a net whose signal grows forward as the gradient grows "
    "back, and rises towards the input only here. Named if it rises layer by layer so far that "
    "differences of 1/64 of the signal (the square root of float32's resolution in energy) fill "
    "it. Batch norm couples the samples of a batch and is left to depth-growth.",
    do="Smaller weights: gain 1 for tanh, orthogonal; or skip connections that carry most of the signal.",
    reference="Poole et al. 2016, arXiv:1606.05340; Schoenholz et al. 2017, arXiv:1611.01232",
    clear="a small difference between samples grows by at most {decades:.1f} decades over "
    "{layers:.0f} hidden layers",
)

REMEDIES = ("reinitialize", "orthogonal", "gated-residual")
GROWTH_DECADES = HARMFUL_DECADES / 2
"""In amplitude: the energy of a difference grows by the inverse root of float32's resolution.
On digits, tanh nets of 10 to 100 layers past it end below 60 %, those short of half of it above 90 %."""

THROUGHOUT = 0.25
"""Share of the rise that the middle half of the layers has, half of what a steady one leaves it:
chaos multiplies everywhere. The first and the last layers may have jumps of their own (a first
attention, a head that reads one token of many)."""


def find(case: Case) -> Iterable[Finding]:
    """Sensitivity rising towards the input, layer by layer, without a batch norm's part in it."""
    layers = hidden(case.trace)
    rise = growth(layers)
    if rise is None or -rise.decades < GROWTH_DECADES:
        return
    if not rise.compounds or rise.slope is None or not rise.slope.falls:
        return
    if rise.inner < THROUGHOUT:
        return
    if coupled(case.trace, layers[-len(rise.layers)]):
        return
    gate = case.trace.gate
    severity = "broken" if -rise.decades >= BROKEN_DECADES / 2 else "harmful"
    evidence = {
        "decades": -rise.decades,
        "decades_per_layer": -rise.slope.value,
        "factor_per_layer": 10**-rise.slope.value,
        "layers": float(len(rise.layers)),
        "trainable_depth": trainable_depth(2 * rise.slope.value),
        "signal_decades": gate.forward_decades if gate is not None else None,
        "gradient_decades": gate.backward_decades if gate is not None else None,
        "cosine": gate.cosine_last if gate is not None else None,
    }
    yield found(CARD, severity, rise.layers, evidence, REMEDIES)


def growth(layers: list[Layer]) -> Course | None:
    """How sensitivity falls from the input on: what is left for a difference to grow.

    In units of its value at the first layer, so that the scale of the loss drops out.
    """
    known = [layer.sensitivity for layer in layers if layer.sensitivity]
    if len(known) < len(layers) or not known:
        return None  # a layer without gradient: nothing can be said of a course
    return course(layers, [value / known[0] for value in known])


def coupled(trace: Trace, first: Layer) -> bool:
    """Whether a batch norm works on what comes out of this layer or of those behind it.

    One that scales the input alone has no part in what happens from layer to layer.
    """
    if first.output is None or not first.parameters:
        return any("BatchNorm" in op.kind for op in trace.ops)
    if any("BatchNorm" in op.kind for op in trace.ops[: first.output + 1]):
        return True
    flow = Dataflow(trace)
    norms = set(batch_norms(flow))
    made = [i for i, op in enumerate(flow.operations) if set(op.parameters) & set(first.parameters)]
    return bool(norms) and not norms.isdisjoint(flow.descendants(made))


def clear(case: Case) -> dict[str, float] | None:
    """The largest rise of sensitivity."""
    layers = hidden(case.trace)
    rise = growth(layers)
    if rise is None:
        return None
    return {"decades": max(0.0, -rise.decades), "layers": float(len(layers))}


CAUSE = Cause(card=CARD, find=find, clear=clear, explains=("depth-growth", "saturated-activation"))
