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
from unvanish.causes.collapsed_signal import collapse
from unvanish.causes.standing_still import SEEN, even_fall, stands_still
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
    starved = -min(fall.elasticity or 0.0, 0.0)
    if min(starved, -fall.decades) < HARMFUL_DECADES:
        # A net whose samples are all alike stands still for that, with a gradient however flat.
        stand = stands_still(case) if collapse(case) is None else None
        if stand is not None and stand.better_rate is None:
            evidence = stretch_evidence(fall)
            evidence |= {"even_steps": stand.even_steps, "own_steps": stand.own_steps}
            yield found(CARD, "harmful", places(case, fall), evidence, _remedies(fall))
        elif case.optimizer is None and starved >= SEEN:
            yield Expected(
                name="moderate-decay",
                where=(case.trace.layers[fall.end].name or "(model)",),
                because=f"the gradient falls by {-fall.decades:.1f} decades over {fall.count} layers: "
                "an optimizer that divides by its size (Adam) makes up for that",
                unless="steps are in proportion to the gradient (SGD): give the optimizer, and "
                "whether it learns is tried",
            )
        elif -fall.decades >= HARMFUL_DECADES and (fall.forward or 0.0) < 0:
            yield Expected(
                name="gradient-mirrors-signal",
                where=(case.trace.layers[fall.end].name,),
                because=f"the gradient falls by {-fall.decades:.1f} decades towards the input, "
                "but the signal is larger there "
                f"by as much: weight gradients differ by only {starved:.1f} decades",
                unless="the weight gradients of the first layers fall behind as well",
            )
        return
    severity = "broken" if starved >= BROKEN_DECADES else "harmful"
    yield found(CARD, severity, places(case, fall), stretch_evidence(fall), _remedies(fall))


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
    if min(own, fall.split["activation"]) > _without_weights(fall) < 0:
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
