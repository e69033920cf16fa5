"""UV103 init-too-large: the weights amplify signal and gradient, or drive units into saturation."""

from collections.abc import Iterable, Mapping

from unvanish.cards import Card
from unvanish.causes.cause import BROKEN_DECADES, HARMFUL_DECADES, Case, Cause, Finding, found
from unvanish.causes.dead_units import cuts
from unvanish.causes.depth_decay import named
from unvanish.causes.init_scale import (
    LOUD_DECADES,
    decades_above,
    deviation,
    evidence,
    loud_evidence,
    loud_weights,
    shut_by_weights,
)
from unvanish.causes.level import LONG, converged, squashed_output
from unvanish.causes.standing_still import NOTHING, too_long
from unvanish.causes.step_too_large import thrown
from unvanish.causes.updates import BEGUN
from unvanish.experiments.held_out import CLEAR
from unvanish.experiments.rehearsal import Rehearsal
from unvanish.stretch import Stretch, worst_rise

CARD = Card(
    code="UV103",
    name="init-too-large",
    title="the weights are too large: signal and gradient grow, or units saturate",
    says="The weights are too large: {layers:.0f} layers from {where} on pass "
    "{off_factor:.3g} times what would carry the signal.",
    what="The weights' gain is above the scale at which a layer keeps its signal. With ReLU "
    "the signal and the gradient grow by that factor at every layer; with tanh or sigmoid "
    "the signal is clipped to the flat ends, and the gradient grows while samples lose "
    "all likeness (chaos).",
    hurts="The first loss is orders of magnitude above chance, a usual step throws the weights "
    "away, or the units are stuck on the flat parts of the curve.",
    apart="One layer somewhat too large is no fault. Named when the factors, multiplied over "
    "the layers, pass 1/sqrt(float32's resolution), and it shows: the gradient really "
    "grew that much, or more than half of the units are saturated. Or when they pass ten, the "
    "optimizer's steps go up the loss, and the same steps go well on a copy whose weights were "
    "brought down to critical. Layers followed by a norm do not count: it undoes "
    "any scale.",
    do="Re-initialise for the activation: He for ReLU and its kin, gain 1 (orthogonal) for tanh.",
    reference="Glorot and Bengio 2010; Poole et al. 2016, arXiv:1606.05340; Schoenholz et al. 2017, "
    "arXiv:1611.01232",
)

REMEDIES = ("reinitialize", "insert-norm")
LONGER = 10
"""How many times as long is waited for steps that bring the loss down."""


def find(case: Case) -> Iterable[Finding]:
    """Weights above critical by the product of the layers, and the growth or saturation they made."""
    if case.laboratory.stepped and _is_dead(case):
        return  # what steps have made of the weights, and no step can undo, is no initialisation
    layers = case.trace.layers[1:]  # the head is fed, it feeds no activation
    off = deviation(case.trace, layers)
    rise = worst_rise(case.trace)
    severity = "broken" if rise is not None and rise.decades >= BROKEN_DECADES else "harmful"
    loud = loud_weights(case.trace)
    above = decades_above(loud)
    amplify = off is not None and off.per_layer > 0
    if off is not None and amplify:
        shows = _grown(off.decades, rise) or off.saturated >= 0.5
        if (off.decades >= HARMFUL_DECADES and shows) or _mended(case, loud):
            yield found(CARD, severity, named(off.layers), evidence(off, rise), REMEDIES)
            return
    grown = _grown(above, rise) and rise is not None and not rise.repeats_one_module
    squashed = squashed_output(case.trace) is not None
    shut = squashed and shut_by_weights(case.trace) and not converged(case)
    if (above >= HARMFUL_DECADES and grown) or shut or (not amplify and _mended(case, loud)):
        yield found(CARD, severity, list(loud), loud_evidence(loud, rise), REMEDIES)
    elif _carries_over_when_mended(case, loud):
        yield found(CARD, "harmful", list(loud), loud_evidence(loud, rise), REMEDIES)


def _is_dead(case: Case) -> bool:
    """Whether a whole layer of units is off and lets nothing through to what lies before it."""
    trace = case.trace
    return any(
        a.dead_units and a.dead_units == a.units and cuts(trace, a) for a in trace.activations
    )


def _mended(case: Case, loud: Mapping[str, float]) -> bool:
    """Whether steps that go up the loss go well at the same rate from critical weights."""
    if decades_above(loud) < LOUD_DECADES:
        return False
    base = case.laboratory.rehearsal()
    if base is None:
        return False
    if not (thrown(base) or base.fell < 0):
        return _stands_lower_untrained(case, loud, base)
    mended = case.laboratory.rehearsal(factors=loud)
    if mended is None or thrown(mended):
        return False
    # Weights that have learned something would do worse when they are scaled.
    before = min(base.initial, base.final) if base.finite else base.initial
    return mended.final < 0.8 * before


def _stands_lower_untrained(case: Case, loud: Mapping[str, float], base: Rehearsal) -> bool:
    """Whether critical weights have a lower loss before any step than these after ten times as many.

    By a factor of ten: all that these steps do is take the scale back. Weights that have learned
    something stand higher where they are scaled.
    """
    if case.laboratory.allowed < LONG:
        return False  # so few steps may be the beginning of a good recovery
    mended = case.laboratory.rehearsal(factors=loud)
    if mended is None or thrown(mended) or not mended.final < mended.initial < base.final / 10:
        return False
    longer = case.laboratory.rehearsal(share=LONGER)
    return longer is not None and longer.finite and mended.initial < longer.final / 10


def _carries_over_when_mended(case: Case, loud: Mapping[str, float]) -> bool:
    """Whether the net only memorises, and learns what holds elsewhere from critical weights.

    Units that loud weights shut are a random code of the samples: it can be read out by heart, and
    says nothing about a sample that was not shown.
    """
    if decades_above(loud) < LOUD_DECADES:
        return False
    asked = case.laboratory.held_out()
    if asked is None or not (asked.memorised(CLEAR) or asked.known < NOTHING):
        return False
    mended = case.laboratory.held_out(factors=loud)
    if mended is None or mended.unseen > CLEAR:
        return False
    return asked.memorised(CLEAR) or (mended.known >= BEGUN and _knows_nothing_later(case))


def _knows_nothing_later(case: Case) -> bool:
    """Whether ten times as many steps leave the samples that were not shown unknown as well."""
    if too_long(case):
        return False
    later = case.laboratory.held_out(LONGER * case.laboratory.allowed)
    return later is not None and later.known < NOTHING


def _grown(above: float, rise: Stretch | None) -> bool:
    """Whether the gradient really grew, and half of it or more can be by such weights."""
    return rise is not None and rise.decades >= HARMFUL_DECADES and above >= rise.decades / 2


CAUSE = Cause(
    card=CARD,
    find=find,
    explains=(
        "step-too-large",
        "depth-growth",
        "saturated-activation",
        "depth-decay",
        "collapsed-signal",
        "chaotic-signal",
    ),
)
