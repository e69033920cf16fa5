"""UV302 depth-growth: the gradient explodes with depth."""

from collections.abc import Iterable

from unvanish.cards import Card
from unvanish.causes.cause import BROKEN_DECADES, HARMFUL_DECADES, Case, Cause, Finding, found
from unvanish.causes.depth_decay import places, stretch_evidence
from unvanish.causes.step_too_large import RATES, thrown
from unvanish.stretch import Stretch, passes, worst_rise

CARD = Card(
    code="UV302",
    name="depth-growth",
    title="the gradient explodes with depth",
    says="The gradient explodes with depth: each layer multiplies it by {factor_per_layer:.3g} "
    "({decades_per_layer:.2f} decades a layer), over {layers:.0f} layers from {where} on "
    "towards the input, {decades:.1f} decades in all.",
    what="Every layer multiplies the gradient on its way back by a factor above one. Weights "
    "larger than critical do it, batch normalisation without skip connections does it by "
    "itself (1.21 a layer with ReLU), and so do residual sums whose branches are not "
    "scaled down.",
    hurts="No step size suits all layers: one that moves the last layers throws the first ones "
    "away, one that the first ones bear leaves the last ones standing. In the end NaN.",
    apart="Growth alone is no fault: in a residual net signal and gradient both grow and every "
    "weight still gets its share. Named only if the layers' elasticities part by more "
    "than the square root of float32's resolution, or if the growth itself passes that "
    "resolution, so that the first terms of the residual sum are rounded away. Below that "
    "it is a note: such a net trains with Adam and blows up with plain SGD at usual step "
    "sizes; unless a copy shows that its steps blow up at ten thousandths of the rate as well.",
    do="Scale the residual branches (by 1/sqrt(number of blocks), or a gate that starts at zero), "
    "add skips around plain batch-normalised stacks, lower the initial weights. Clipping hides it.",
    reference="Yang et al. 2019, arXiv:1902.08129 (batch norm); De and Smith 2020, arXiv:2002.10444 "
    "(residual scale); Pascanu, Mikolov, Bengio 2013, arXiv:1211.5063",
    clear="the gradient rises by at most {decades:.1f} decades on its way through {layers:.0f} "
    "layers",
)

REMEDIES = ("scale-residual", "reinitialize", "gated-residual", "remove-norm", "clip")


def find(case: Case) -> Iterable[Finding]:
    """The worst rise along the trunk, if it compounds and sets the layers apart."""
    rise = worst_rise(case.trace)
    if rise is None or rise.decades < HARMFUL_DECADES or rise.repeats_one_module:
        return
    if not rise.compounds or (rise.slope is not None and not rise.slope.rises):
        return
    severity = _severity(rise)
    if severity == "note" and _at_any_rate(case):
        severity = "harmful"
    yield found(CARD, severity, places(case, rise), stretch_evidence(rise), REMEDIES)


def _severity(rise: Stretch) -> str:
    apart = max(rise.elasticity or 0.0, 0.0)
    if apart >= BROKEN_DECADES:
        return "broken"
    return "harmful" if apart >= HARMFUL_DECADES or rise.decades >= BROKEN_DECADES else "note"


def _at_any_rate(case: Case) -> bool:
    """Whether steps throw the weights away, and the loss does not fall at the smallest rate either."""
    base = case.laboratory.rehearsal()
    if base is None or not thrown(base):
        return False
    smallest = case.laboratory.rehearsal(rate=RATES[-1], share=0.5)
    return smallest is not None and not smallest.fell > 0  # else it is the step


def clear(case: Case) -> dict[str, float] | None:
    """The largest rise there is, if it is small; nothing where no gradient passes (zero weights).

    A large one that does not compound, such as a single layer's, is not named and not ruled out.
    """
    if not passes(case.trace):
        return None
    rise = worst_rise(case.trace)
    decades = rise.decades if rise is not None else 0.0
    layers = float(len(case.trace.layers))
    return {"decades": decades, "layers": layers} if decades < HARMFUL_DECADES else None


CAUSE = Cause(card=CARD, find=find, clear=clear, explains=("collapsed-signal", "step-too-large"))
