"""UV304 collapsed-signal: samples become alike with depth, though norms may be flat."""

import math
from collections.abc import Iterable

from unvanish.cards import Card
from unvanish.causes.cause import BROKEN_DECADES, HARMFUL_DECADES, Case, Cause, Finding, found
from unvanish.causes.likeness import Course, course, hidden, trainable_depth
from unvanish.causes.standing_still import never_begins
from unvanish.trace import Layer, Trace

CARD = Card(
    code="UV304",
    name="collapsed-signal",
    title="samples become alike with depth",
    says="Samples become alike with depth: over {layers:.0f} layers from {where} on, {detail} loses "
    "{decades:.1f} decades of its energy (they differ in {directions_first:.1f} directions at first, "
    "in {directions:.1f} at the end, where their mean cosine is {cosine:.4f}).",
    what="Every layer turns the samples of a batch a little towards each other. ReLU does so even "
    "at its right scale, where signal and gradient keep their norms: after l layers one minus the "
    "cosine is about 44 / l^2; and products of many random matrices squeeze what differs onto "
    "fewer and fewer directions, the sooner the narrower the layers.",
    hurts="A gradient step moves each direction by its energy. Directions with next to none of it "
    "stand still at any step that the strongest one bears: the net learns a constant, or one "
    "feature, and cannot tell the classes apart. Flat gradient norms do not show it.",
    apart="Samples that were alike at the input are no fault: the fall is counted from the first "
    "layer on. A net that trained is not named: it keeps the directions that its outputs need. "
    "A fall that the gradient shares is depth-decay. Named if the differences fall, layer by layer "
    "and no layer with half of it, below the square root of float32's resolution in size (without "
    "skips: by e^6, six correlation depths), or if the weakest direction that the outputs need falls "
    "behind the strongest.",
    do="Skip connections that carry most of the signal, orthogonal weights with an activation closer "
    "to linear (tanh at gain 1, leaky ReLU), or fewer and wider layers.",
    reference="Schoenholz et al. 2017, arXiv:1611.01232; Hayou, Doucet, Rousseau 2019, "
    "arXiv:1902.06853; Xiao, Pennington, Schoenholz 2020, arXiv:1912.13053 (condition number)",
    clear="over {layers:.0f} hidden layers the samples stay apart (what differs between them loses "
    "at most {decades:.1f} decades of energy)",
)

REMEDIES = ("gated-residual", "orthogonal", "swap-activation")
DEPTH_DECADES = 6 / math.log(10)
"""One minus the cosine falls by this over six correlation depths, the published bound of what
trains (Schoenholz et al. 2017). On digits, ReLU and layer-norm nets past it end below 50 %."""
MOST_DIRECTIONS = 9
"""The rule was tried on up to ten classes: more directions are not asked for."""


ALL, WEAKEST = "all that differs between samples", "the weakest direction that the outputs need"


def find(case: Case) -> Iterable[Finding]:
    """All differences lost, or all but a few directions of them, layer by layer."""
    lost = collapse(case)
    if lost is None:
        alike = lost_together(case)
        lost = (alike, ALL) if alike is not None and not shared(case, alike) else None
    if lost is not None:
        yield _finding(case, *lost, directions_needed(case.trace))


def collapse(case: Case) -> tuple[Course, str] | None:
    """The fall of what differs between samples that is too deep by itself, and what it is of."""
    layers = hidden(case.trace)
    needed = directions_needed(case.trace)
    alike = _alike(layers)
    if alike is not None and _steady(alike) and _lost(case, alike, layers, needed):
        return alike, ALL
    aligned = course(layers, [_behind(layer.directions, needed) for layer in layers])
    if aligned is None or not _steady(aligned):
        return None
    return (aligned, WEAKEST) if _decay(case) < HARMFUL_DECADES <= -aligned.decades else None


def lost_together(case: Case) -> Course | None:
    """A fall of all differences that goes with the gradient's, each less than is named for itself.

    Together they may leave nothing to learn from: real steps tell.
    """
    alike = _alike(hidden(case.trace))
    if alike is None or not _steady(alike) or -alike.decades < BROKEN_DECADES:
        return None
    return alike if never_begins(case) else None


def shared(case: Case, alike: Course) -> bool:
    """Whether half of the differences' fall or more is the gradient's: both pass the same factors.

    A factor that every layer has takes its square from the energy of what differs.
    """
    return 2 * _decay(case) >= -alike.decades / 2


def _alike(layers: list[Layer]) -> Course | None:
    return course(layers, [layer.difference for layer in layers])


def _lost(case: Case, alike: Course, layers: list[Layer], needed: int) -> bool:
    """Whether too little of the differences is left.

    Not counting what the gradient loses on the same way: that is another finding. Without skips
    the bound is six correlation depths, if more than one direction is asked for (with one, on two
    spirals, nets far deeper still learn).
    """
    beyond = -alike.decades - 2 * _decay(case)
    skips = any(layer.decades.get("residual") for layer in layers)
    return beyond >= (BROKEN_DECADES if skips or needed < 2 else DEPTH_DECADES)


def _decay(case: Case) -> float:
    """Decades that the sensitivity loses towards the input: differences shrink by as much forward."""
    gate = case.trace.gate
    if gate is None or gate.sensitivity_decades is None:
        return math.inf  # no gradient at one end: not a question of likeness
    return max(-gate.sensitivity_decades, 0.0)


def directions_needed(trace: Trace) -> int:
    """In how many directions samples must differ for the outputs to be told apart.

    One less than there are outputs, and no more than they differed in at the first layer.
    """
    gate = trace.gate
    if gate is None or gate.outputs is None or gate.directions_first is None:
        return 1
    return max(min(gate.outputs - 1, int(gate.directions_first), MOST_DIRECTIONS), 1)


def _behind(directions: tuple[float, ...], needed: int) -> float | None:
    """Energy of the weakest direction needed over that of the strongest."""
    if len(directions) < needed or not directions[0]:
        return None
    return directions[needed - 1] / directions[0]


def _steady(fall: Course) -> bool:
    return fall.compounds and fall.slope is not None and fall.slope.falls


def _finding(case: Case, fall: Course, what: str, needed: int) -> Finding:
    """The depth that six correlation depths allow goes with the fall of all differences only."""
    gate = case.trace.gate
    per_layer = fall.slope.value if fall.slope is not None else 0.0
    whole = what == ALL
    evidence = {
        "decades": -fall.decades,
        "decades_per_layer": -per_layer,
        "layers": float(len(fall.layers)),
        "trainable_depth": trainable_depth(per_layer) if whole else None,
        "cosine": gate.cosine_last if gate is not None else None,
        "cosine_first": gate.cosine_first if gate is not None else None,
        "directions": gate.directions_last if gate is not None else None,
        "directions_first": gate.directions_first if gate is not None else None,
        "directions_needed": float(needed),
        "gradient_decades": gate.backward_decades if gate is not None else None,
        "signal_decades": gate.forward_decades if gate is not None else None,
        "singular_value_spread": _isometry(case),
    }
    return found(CARD, "harmful", fall.layers, evidence, REMEDIES, detail=what)


def _isometry(case: Case) -> float | None:
    """Where the norms are flat, the Jacobian's singular values are what shows it: measure them."""
    gate = case.trace.gate
    flat = gate is not None and abs(gate.backward_decades or math.inf) < HARMFUL_DECADES
    return case.laboratory.jacobian_spread() if flat else None


def clear(case: Case) -> dict[str, float] | None:
    """The fall of what differs between samples, where it is below every bound that names one."""
    layers = hidden(case.trace)
    alike = _alike(layers)
    if alike is None or -alike.decades >= DEPTH_DECADES or _hides(case, alike):
        return None
    return {"decades": max(0.0, -alike.decades), "layers": float(len(layers))}


def _hides(case: Case, alike: Course) -> bool:
    """Whether samples become alike while the gradient vanishes: then nothing was ruled out.

    What the gradient loses is taken off the fall before it is judged, so what is left of it says
    nothing of what else makes samples alike; with the decay mended it stands there alone.
    """
    return _decay(case) >= HARMFUL_DECADES and alike.slope is not None and alike.slope.falls


CAUSE = Cause(card=CARD, find=find, clear=clear)
