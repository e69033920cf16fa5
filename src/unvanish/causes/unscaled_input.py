"""UV706 unscaled-input: the scale of the data saturates units or blows the step up."""

from collections.abc import Iterable

from unvanish.cards import Card
from unvanish.causes.cause import Case, Cause, Finding, found
from unvanish.causes.level import converged, large_inputs, learns_as_with_scaled_inputs
from unvanish.causes.saturated_activation import MOSTLY, is_saturated, place
from unvanish.causes.step_too_large import clearly_better, replaced, thrown
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
    hurts="Units of the first layers saturate, or one step throws the first layer away.",
    apart="Large inputs alone are no fault. Named if they do harm here (saturation, a step that "
    "blows up) and if the same program with inputs at zero mean and unit variance is free "
    "of it: that is tried. A note where twenty and more real steps bring the loss down as far as "
    "with scaled inputs.",
    do="Standardise the inputs (subtract the mean, divide by the deviation of the training "
    "set), or start with a norm.",
    reference="LeCun et al. 1998, Efficient BackProp, section 4.3",
)

REMEDIES = ("scale-input", "insert-norm")


def find(case: Case) -> Iterable[Finding]:
    """Inputs far from unit scale, harm that they do, and its end when they are scaled."""
    rms = large_inputs(case)
    if rms is None:
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
        thrown_away = [m.name for m in base.weights if replaced(m)]
        where = (thrown_away or [m.name for m in base.weights])[:1]
        yield found(CARD, "harmful", where, evidence, REMEDIES, detail=said)


def _mends(case: Case, base: Rehearsal, parts: str) -> bool:
    """Whether the same steps go well where these parts of the data are scaled."""
    mended = case.laboratory.rehearsal(scaled=parts)
    return mended is not None and mended.fell > 0 and clearly_better(mended, base)


CAUSE = Cause(
    card=CARD,
    find=find,
    explains=(
        "saturated-activation",
        "step-too-large",
        "init-too-large",
        "dead-units",
        "unfit-loss",
    ),
)
