"""UV706 unscaled-input: the scale of the data saturates units, blows the step up or drowns in biases."""

from collections.abc import Iterable

from unvanish.cards import Card
from unvanish.causes.cause import Case, Cause, Finding, found
from unvanish.causes.level import (
    LARGE_INPUT,
    converged,
    large_inputs,
    learns_as_with_scaled_inputs,
)
from unvanish.causes.saturated_activation import MOSTLY, is_saturated, place
from unvanish.causes.step_too_large import SETTLED, clearly_better, replaced, thrown
from unvanish.causes.unscaled_target import far_targets
from unvanish.experiments.altered_data import BOTH
from unvanish.experiments.rehearsal import Rehearsal
from unvanish.trace import Activation, Trace

CARD = Card(
    code="UV706",
    name="unscaled-input",
    title="the inputs are not scaled",
    says="The inputs are not scaled (rms {input_rms:.3g}): {detail}. With inputs of unit "
    "variance this is gone.",
    what="Initialisations and learning rates are made for inputs of about unit variance. The "
    "first layer multiplies its input's scale into every pre-activation, and its gradient "
    "by it once more.",
    hurts="Units of the first layers saturate, or one step throws the first layer away. Of tiny inputs "
    "next to nothing reaches the output beside the biases.",
    apart="Large or tiny inputs alone are no fault. Named if they do harm here (saturation, a step that "
    "blows up, real steps that teach next to nothing) and if the same program with inputs at zero mean "
    "and unit variance is free of it: that is tried. A note where twenty and more real steps bring the "
    "loss down as far as with scaled inputs.",
    do="Standardise the inputs (subtract the mean, divide by the deviation of the training "
    "set), or start with a norm.",
    reference="LeCun et al. 1998, Efficient BackProp, section 4.3",
)

REMEDIES = ("scale-input", "insert-norm")
SLOWER = 10
"""As in step-too-small: an order of magnitude. A start that is only slow makes good by then."""


def find(case: Case) -> Iterable[Finding]:
    """Inputs far from unit scale, harm that they do, and its end when they are scaled."""
    rms = large_inputs(case)
    if rms is None:
        yield from _drowned(case)
        return
    saturated = [a for a in case.trace.activations if _is_flat(a)]
    if all(a.feeds_loss for a in saturated) and converged(case):
        saturated = []  # answers that are sure and right
    if saturated:
        mended = case.laboratory.with_inputs_scaled()
        if mended is not None and not _saturated_places(mended):
            evidence = {"input_rms": rms, "saturated_share": saturated[0].saturated_share}
            where = [name for a in saturated for name in (a.fed_by, place(a)) if name]
            said = f"the units of {place(saturated[0])} sit on the flat ends"
            severity = "note" if learns_as_with_scaled_inputs(case) else "harmful"
            yield found(CARD, severity, where, evidence, REMEDIES, detail=said)
            return
    yield from _blown_up(case, rms)


def _drowned(case: Case) -> Iterable[Finding]:
    """Inputs none of which is a tenth, and ten times as many steps that teach less than scaled ones do.

    Rows that are mostly zeros have a small root mean square, too, and are of the usual size where they
    are not. A norm, a factor in the model or a large rate makes up for small inputs.
    """
    scale, base = case.laboratory.data_scale("inputs"), case.laboratory.rehearsal()
    if scale is None or not 0 < max(-scale.low, scale.high) < 1 / LARGE_INPUT:
        return
    if base is None or len(base.losses) < SETTLED or thrown(base) or converged(case):
        return
    share = SETTLED / len(base.losses)
    mended = case.laboratory.rehearsal(scaled="inputs", share=share)
    if mended is None or mended.fell <= 0 or not clearly_better(mended, base):
        return
    longer = case.laboratory.rehearsal(share=SLOWER * share, fresh=True)
    if longer is not None and longer.finite and clearly_better(mended, longer):
        evidence = {"input_rms": scale.rms, "initial": longer.initial, "final": longer.final}
        many, few = len(longer.losses), len(mended.losses)
        said = (
            f"they are so small that {many} real steps bring the loss from {longer.initial:.3g} to "
            f"{longer.final:.3g}, and {few} with scaled ones to {mended.final:.3g}"
        )
        where = [movement.name for movement in base.weights[:1]]
        yield found(CARD, "harmful", where, evidence, REMEDIES, detail=said)


def _saturated_places(trace: Trace) -> set[str]:
    return {place(a) for a in trace.activations if _is_flat(a)}


def _is_flat(activation: Activation) -> bool:
    """Whether nearly all units are flat, those of the output too: raw inputs drive all of them there."""
    share = activation.saturated_share or 0.0
    return is_saturated(activation) or (activation.feeds_loss and share >= MOSTLY)


def _blown_up(case: Case, rms: float) -> Iterable[Finding]:
    base = case.laboratory.rehearsal()
    if base is None or not thrown(base):
        return
    said = "the optimizer's steps throw the weights away"
    mended = _mends(case, base, "inputs")
    if not mended and far_targets(case) is not None:
        mended = _mends(case, base, BOTH)
        said = "the optimizer's steps throw the weights away, as the scale of the targets does, too"
    if mended:
        evidence = {"input_rms": rms, "initial": base.initial, "final": base.final}
        # What reads a table of its own first is not what the steps threw away.
        tables = {
            n for op in case.trace.operations if op.function == "embedding" for n in op.parameters
        }
        thrown_away = [m.name for m in base.weights if replaced(m) and m.name not in tables]
        where = (thrown_away or [m.name for m in base.weights])[:1]
        yield found(CARD, "harmful", where, evidence, REMEDIES, detail=said)


def _mends(case: Case, base: Rehearsal, parts: str) -> bool:
    """Whether the same steps go well where these parts of the data are scaled.

    There the optimizer begins anew, which alone must not do as well.
    """
    mended = case.laboratory.rehearsal(scaled=parts)
    if mended is None or mended.fell <= 0 or not clearly_better(mended, base):
        return False
    anew = case.laboratory.rehearsal(fresh=True)
    return anew is None or clearly_better(mended, anew)


CAUSE = Cause(
    card=CARD,
    find=find,
    explains=(
        "saturated-activation",
        "step-too-large",
        "init-too-large",
        "dead-units",
        "unfit-loss",
        "step-too-small",
    ),
)
