"""UV707 unscaled-target: the scale of the targets blows the step up or puts them out of reach."""

from collections.abc import Iterable

from unvanish.cards import Card
from unvanish.causes.cause import Case, Cause, Finding, found
from unvanish.causes.level import REGRESSION, converged, large_inputs, loss_operations
from unvanish.causes.step_too_large import thrown
from unvanish.experiments.altered_data import BOTH
from unvanish.experiments.rehearsal import Rehearsal

CARD = Card(
    code="UV707",
    name="unscaled-target",
    title="the targets are not scaled",
    says="The targets are not scaled (rms {target_rms:.3g}, outputs {output_rms:.2g}): "
    "{detail}. With targets of unit variance the loss falls {better:.0f} times as fast.",
    what="A regression whose targets are far larger than what the net puts out at the start.",
    hurts="With SGD the first steps blow up, with Adam the outputs need a hundred thousand "
    "small steps to get there.",
    apart="Named only if the loss rises because the steps throw the weights away, or falls by less "
    "than a ten-thousandth a step, and if the same steps with targets at zero mean and unit variance "
    "do at least ten times better: that is tried.",
    do="Standardise the targets and undo it on the predictions.",
    reference="Hastie, Tibshirani, Friedman, Elements of Statistical Learning, section 11.5.3",
)

REMEDIES = ("scale-target",)
LARGE_TARGET = 10.0
FAR = 1e-4
"""Ten thousand steps at the pace of the first ones: a hundred passes over a hundred batches. Targets
that are merely large are reached as fast as the output layer grows, and it grows the faster."""


def find(case: Case) -> Iterable[Finding]:
    """Large targets of a regression, little or bad progress, and far better with scaled ones."""
    far = far_targets(case)
    base = case.laboratory.rehearsal() if far is not None else None
    if far is None or base is None or converged(case):
        return
    blown = not base.fell >= 0
    if not (thrown(base) if blown else base.fell < FAR * len(base.losses)):
        return
    said = "the optimizer's steps blow up" if blown else "its steps are too short to get there"
    mended = _better(case, base, "targets")
    if mended is None and blown and large_inputs(case):
        mended = _better(case, base, BOTH)
        said = "the optimizer's steps blow up, and with targets scaled those of the inputs do"
    if mended is None:
        return
    target_rms, output_rms = far
    evidence = {
        "target_rms": target_rms,
        "output_rms": output_rms,
        "better": min(mended.fell / fell, 1e6) if (fell := _fell(case, base)) > 0 else 1e6,
    }
    last = [m.name for m in base.weights[-1:]]
    yield found(CARD, "harmful", last, evidence, REMEDIES, detail=said)


def far_targets(case: Case) -> tuple[float, float] | None:
    """Targets of a regression far larger than the outputs: the scale of both; else nothing."""
    regression = [op for op in loss_operations(case.trace) if op.function in REGRESSION]
    scale = case.laboratory.data_scale("targets")
    if not regression or scale is None or scale.rms < LARGE_TARGET:
        return None
    output_rms = _output_rms(case)
    if output_rms is None or scale.rms < LARGE_TARGET * output_rms:
        return None
    return scale.rms, output_rms


def _better(case: Case, base: Rehearsal, parts: str) -> Rehearsal | None:
    """The same steps with these parts of the data scaled, where they do ten times as well."""
    mended = case.laboratory.rehearsal(scaled=parts)
    if mended is None or mended.fell <= 0 or mended.fell < 10 * max(_fell(case, base), 0.0):
        return None
    return mended


def _fell(case: Case, base: Rehearsal) -> float:
    """By how much the loss falls as the data are, whatever the optimizer remembers of steps before.

    With scaled data it begins anew. That alone may do well: then the scale is not what is wrong.
    """
    anew = case.laboratory.rehearsal(fresh=True)
    return base.fell if anew is None else max(base.fell, anew.fell)


def _output_rms(case: Case) -> float | None:
    for operation in loss_operations(case.trace):
        made = operation.inputs[0] if operation.inputs else None
        if made is not None:
            return case.trace.operations[made].output_rms
    return None


CAUSE = Cause(card=CARD, find=find)
