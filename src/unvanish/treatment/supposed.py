"""What is tried where a net learns badly and no finding says why."""

from collections.abc import Iterator
from dataclasses import replace

from torch import nn

from unvanish.causes import CAUSES
from unvanish.causes.cause import Finding
from unvanish.diagnosis import Diagnosis
from unvanish.init.fresh import looks_trained
from unvanish.remedies.ordering import KEEPS, treatable
from unvanish.remedies.remedy import Patient
from unvanish.remedies.scale_input import (
    float_inputs,
    is_standard,
    reads_standardised,
    standardising,
)
from unvanish.remedies.scale_target import float_targets
from unvanish.trial.redraw import is_independent

UNSCALED = "unscaled-input"
LARGE, SMALL = 3.0, 1 / 6
"""Scale of a matrix times the root of its inputs beyond which a start is unusual: He's rule gives
1.41, LeCun's 1, torch's own 0.58. Nets that start large fit what they see without learning features
(lazy training; Chizat, Oyallon, Bach 2019); those that start small spend their steps on leaving the
neighbourhood of zero. Zeros are meant."""
WEIGHTED = (nn.Linear, nn.modules.conv._ConvNd, nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention)
RECURRENT = (nn.RNNBase, nn.RNNCellBase)


def supposed(patient: Patient) -> tuple[Finding, ...]:
    """Findings nobody made: step sizes over six decades, scaled data, other initial values.

    What is frozen as it was drawn is supposed to have been meant to train. Beyond keep="function"
    also what else a depth or a time is treated with. They are no diagnosis, only names under which
    remedies make plans; what becomes of those is for a contest and a trial to say. Sequences are
    supposed to lose their past in each recurrent module.
    """
    found = [
        _finding("step-too-small", ("step-size",), better_rate=100.0),
        _finding("step-too-small", ("step-size",), better_rate=1000.0),
        _finding("step-too-large", ("step-size",), better_rate=0.01),
        _finding(UNSCALED, ("scale-input",)),
        *_far_targets(patient),
        _finding("depth-decay", ("reinitialize", "swap-activation", "insert-norm")),
        _finding("depth-decay", ("gated-residual",)),
        *_frozen(patient),
    ]
    places = _recurrent(patient)
    if places:
        remedies = ("gate-bias", "recurrent-initialization", "recurrent-cell")
        found.append(_finding("time-decay", remedies, places))
    return tuple(found)


def amiss(patient: Patient) -> tuple[Finding, ...]:
    """What is unusual about inputs or initial values, and by itself no illness.

    Inputs that are, taken all together, far from zero mean and unit scale, and that the model reads
    as they are; a first draw of weights that is far from any rule's scale, or frozen. Where a net
    then learns badly, this alone is tried.
    """
    found: list[Finding] = []
    inputs = float_inputs(patient)
    raw = bool(inputs) and not reads_standardised(patient)
    if raw and not is_standard(standardising(inputs, None)):
        found.append(_finding(UNSCALED, ("scale-input",)))
    gains = [gain for module in patient.model.modules() for gain in _gains(module)]
    large, small = any(gain > LARGE for gain in gains), any(gain < SMALL for gain in gains)
    if large:
        found.append(_finding("init-too-large", ("reinitialize",)))
    if small:
        found.append(_finding("init-too-small", ("reinitialize",)))
    places = _recurrent(patient)
    if places and (large or small):
        found.append(_finding("time-decay", ("recurrent-initialization",), places))
    return (*found, *_frozen(patient))


def left_to_author(patient: Patient, diagnosis: Diagnosis) -> bool:
    """Whether a fault of the program itself is left for which there is only advice, for anybody."""
    exact = {cause.card.name for cause in CAUSES if cause.exact}
    left = {f.name for f in diagnosis.findings if f.severity != "note" and f.name in exact}
    plans = treatable(replace(patient, diagnosis=diagnosis), KEEPS[-1]) if left else ()
    return not left <= {name for c in plans for name in c.findings}


def _gains(module: nn.Module) -> Iterator[float]:
    """Of each fresh trained matrix of a layer, no more than a draw: its scale over that of its fan."""
    if not isinstance(module, WEIGHTED) or looks_trained(module) is not None:
        return
    for weight in module.parameters(recurse=False):
        if weight.dim() < 2 or not weight.requires_grad or not is_independent(module, weight):
            continue
        gain = float(weight.detach().double().square().mean().sqrt()) * weight[0].numel() ** 0.5
        if gain > 0:
            yield gain


def _frozen(patient: Patient) -> tuple[Finding, ...]:
    """Matrices that are frozen as they were drawn: nothing that was learned would be lost by training."""
    places = [
        f"{path}.{name}" if path else name
        for path, module in patient.model.named_modules()
        if isinstance(module, WEIGHTED) and looks_trained(module) is None
        for name, parameter in module.named_parameters(recurse=False)
        if not parameter.requires_grad and parameter.is_floating_point()
    ]
    return (_finding("nothing-trainable", ("unfreeze",), tuple(places)),) if places else ()


def _far_targets(patient: Patient) -> tuple[Finding, ...]:
    """Targets that are, taken all together, far from zero mean and unit scale."""
    targets = float_targets(patient)
    far = bool(targets) and not is_standard(standardising(targets, None))
    return (_finding("unscaled-target", ("scale-target",)),) if far else ()


def _recurrent(patient: Patient) -> tuple[str, ...]:
    return tuple(n for n, m in patient.model.named_modules() if n and isinstance(m, RECURRENT))


def _finding(
    name: str, remedies: tuple[str, ...], where: tuple[str, ...] = (), **evidence: float
) -> Finding:
    return Finding(
        code="", name=name, severity="harmful", where=where, remedies=remedies, evidence=evidence
    )
