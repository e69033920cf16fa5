"""UV301 depth-decay: the gradient vanishes with depth."""

from collections.abc import Iterable

from unvanish.cards import Card
from unvanish.causes.cause import (
    BROKEN_DECADES,
    HARMFUL_DECADES,
    Case,
    Cause,
    Expected,
    Finding,
    found,
)
from unvanish.causes.collapsed_signal import collapse, lost_together, shared
from unvanish.causes.standing_still import (
    SEEN,
    decades_behind,
    even_fall,
    proportional,
    stands_still,
    told_by_size,
    too_long,
)
from unvanish.stretch import Stretch, passes, worst_fall
from unvanish.trace import Layer

CARD = Card(
    code="UV301",
    name="depth-decay",
    title="the gradient vanishes with depth",
    says="The gradient vanishes with depth: each layer passes on {factor_per_layer:.2g} of it "
    "({decades_per_layer:.2f} decades lost a layer), over {layers:.0f} layers from "
    "{where} on towards the input, {decades:.1f} decades in all.",
    what="On its way from the loss to the input the gradient is multiplied by a factor below "
    "one at every layer, so its norm falls exponentially with depth. The account splits "
    "each layer's factor into what the activation took (its derivative), what the weights "
    "took and what norms took.",
    hurts="Layers near the input get so little gradient that their weights stand still while the "
    "last layers train alone on features that are close to random.",
    apart="A small gradient is not enough: it must fall layer by layer with a slope whose whole "
    "95 % interval is below zero, no single layer may take half of it, and it must have a "
    "consequence: the far layers' elasticity (gradient times weight: how much the loss "
    "would change if they changed by their own size) must lie below the square root of "
    "float32's resolution of the near ones'. With less (a decade in all), where steps are in "
    "proportion to the gradient (SGD), copies are trained: named if one whose weights all move alike "
    "learns, and the optimizer's own does not in ten times as many steps, nor soon at any rate that a "
    "layer bears. Nets whose signal grows forward as the "
    "gradient falls back are fine and are not named.",
    do="First initialisation, where the weights take the decades; then the activation, where it "
    "takes them (a sigmoid passes at most 1/4); then normalisation or skip connections.",
    reference="Hochreiter 1991; Bengio, Simard, Frasconi 1994; Glorot and Bengio 2010; "
    "Schoenholz et al. 2017, arXiv:1611.01232",
    clear="the gradient falls by at most {decades:.1f} decades on its way through {layers:.0f} "
    "layers",
)

REMEDIES = (
    "reinitialize",
    "tailored-activation",
    "swap-activation",
    "insert-norm",
    "gated-residual",
)


def find(case: Case) -> Iterable[Finding | Expected]:
    """The worst fall along the trunk, if it compounds with depth and starves the far layers."""
    fall = even_fall(case.trace)
    if fall is None:
        return
    if not told_by_size(fall):
        yield from _moderate(case, fall)
        return
    severity = "broken" if decades_behind(fall) >= BROKEN_DECADES else "harmful"
    yield found(CARD, severity, places(case, fall), stretch_evidence(fall), _remedies(fall))


def _moderate(case: Case, fall: Stretch) -> Iterable[Finding | Expected]:
    """A fall whose size alone does not tell: what real steps teach does, where they were taken."""
    shown, starved = _shown_by_steps(case), decades_behind(fall)
    if shown is not None:
        evidence = {**stretch_evidence(fall), **shown}
        yield found(CARD, "harmful", places(case, fall), evidence, _remedies(fall))
    elif starved >= SEEN and (case.optimizer is None or (proportional(case) and too_long(case))):
        yield _untried(case, fall)
    elif -fall.decades >= HARMFUL_DECADES and (fall.forward or 0.0) < 0:
        yield Expected(
            name="gradient-mirrors-signal",
            where=(case.trace.layers[fall.end].name,),
            because=f"the gradient falls by {-fall.decades:.1f} decades towards the input, "
            "but the signal is larger there "
            f"by as much: weight gradients differ by only {starved:.1f} decades",
            unless="the weight gradients of the first layers fall behind as well",
        )


def _shown_by_steps(case: Case) -> dict[str, float] | None:
    """What copies did that show that the net stands still for its fall; ``None``: it does not."""
    if collapse(case) is not None:  # it stands still for that, with a gradient however flat
        return None
    stand = stands_still(case)
    if stand is not None:
        steps = {"even_steps": stand.even_steps, "own_steps": stand.own_steps}
        return steps if stand.better_rate is None else None
    alike = lost_together(case)
    return {} if alike is not None and shared(case, alike) else None


def _untried(case: Case, fall: Stretch) -> Expected:
    """A fall that only experiments could tell from a harmless one, and why there was none."""
    unless = (
        "steps are in proportion to the gradient (SGD): give the optimizer, and whether it learns is "
        "tried"
    )
    if case.optimizer is not None:
        unless = (
            "steps are in proportion to the gradient (SGD): whether it learns would take long to try, "
            "and was not tried"
        )
    return Expected(
        name="moderate-decay",
        where=(case.trace.layers[fall.end].name or "(model)",),
        because=f"the gradient falls by {-fall.decades:.1f} decades over {fall.count} layers: "
        "an optimizer that divides by its size (Adam) makes up for that",
        unless=unless,
    )


def places(case: Case, stretch: Stretch) -> list[str]:
    """Names of the layers of the stretch, from where it begins (nearest the loss) on."""
    return named(case.trace.layers[stretch.start : stretch.end + 1])


def named(layers: Iterable[Layer]) -> list[str]:
    """Names of layers; where the model itself keeps the weights, those of the weights before its own."""
    names: list[str] = []
    whole: list[str] = []
    for layer in layers:
        names += [layer.name] if layer.name else layer.parameters
        whole += [] if layer.name else ["(model)"]
    return [*names, *whole]


def stretch_evidence(stretch: Stretch) -> dict[str, float | None]:
    """The numbers that show a fall or rise along the trunk, all in decades."""
    return {
        "decades": abs(stretch.decades),
        "decades_per_layer": abs(stretch.per_layer),
        "factor_per_layer": 10**stretch.per_layer,
        "slope_low": stretch.slope.low if stretch.slope else None,
        "slope_high": stretch.slope.high if stretch.slope else None,
        "layers": float(stretch.count),
        **{f"{role}_decades": part for role, part in stretch.split.items()},
        **{f"{role}_decades_per_layer": stretch.typical(role) for role in stretch.split},
        "elasticity_decades": stretch.elasticity,
        "signal_decades": stretch.forward,
    }


def _remedies(fall: Stretch) -> tuple[str, ...]:
    """First what acts where the decades go: no initial value changes what has no weights."""
    own = sum(layer.decades["weight"] for layer in fall.layers if layer.parameters)
    bare = min(own, fall.split["activation"]) > _without_weights(fall) < 0
    # Where gates and products take most, it does not go in weights and activations: first a way around.
    if bare or fall.share("rest") > fall.share("weight") + fall.share("activation"):
        return ("gated-residual", *(name for name in REMEDIES if name != "gated-residual"))
    if fall.share("activation") > fall.share("weight"):
        return (
            "tailored-activation",
            "swap-activation",
            "reinitialize",
            "insert-norm",
            "gated-residual",
        )
    return REMEDIES


def _without_weights(fall: Stretch) -> float:
    """Decades that constants took: products with what no layer holds, factors written in forward.

    Branches that meet again and whole sequences are left out: they hold weights of their own.
    """
    plain = [layer for layer in fall.layers if layer.decades["weight"]]
    products = sum(layer.decades["weight"] for layer in plain if not layer.parameters)
    return products + sum(layer.decades["rest"] for layer in plain)


def clear(case: Case) -> dict[str, float] | None:
    """The largest fall there is, where it is too little to starve a layer.

    Nothing where no gradient passes (weights that start at zero).
    """
    fall = worst_fall(case.trace)
    decades = -fall.decades if fall is not None else 0.0
    if not passes(case.trace) or decades >= HARMFUL_DECADES:
        return None
    return {"decades": decades, "layers": float(len(case.trace.layers))}


CAUSE = Cause(
    card=CARD,
    find=find,
    clear=clear,
    explains=("epsilon-dominated", "step-too-small", "collapsed-signal", "weight-decay-dominates"),
)
