"""What is tried where a net learns badly and no finding says why."""

import math

from torch import nn

from unvanish.causes.cause import Finding
from unvanish.init.fresh import looks_trained
from unvanish.remedies.remedy import Patient
from unvanish.remedies.scale_input import float_inputs, is_standard, standardising
from unvanish.trial.redraw import is_independent

UNSCALED = "unscaled-input"
FAR = 3.0
"""Scale of a matrix times the root of its inputs from which on a start is unusually large: He's rule
gives 1.41, LeCun's 1, torch's own 0.58. Nets that start large fit what they see without learning
features (lazy training; Chizat, Oyallon, Bach 2019). Small ones are often meant so, and grow."""
WEIGHTED = (nn.Linear, nn.modules.conv._ConvNd, nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention)
RECURRENT = (nn.RNNBase, nn.RNNCellBase)


def supposed(patient: Patient) -> tuple[Finding, ...]:
    """Findings nobody made: step sizes over six decades, scaled inputs, other initial values.

    Beyond keep="function" also what else a depth or a time is treated with. They are no diagnosis,
    only names under which remedies make plans; what becomes of those is for a contest and a trial
    to say. Sequences are supposed to lose their past in each recurrent module.
    """
    found = [
        _finding("step-too-small", ("step-size",), better_rate=100.0),
        _finding("step-too-small", ("step-size",), better_rate=1000.0),
        _finding("step-too-large", ("step-size",), better_rate=0.01),
        _finding(UNSCALED, ("scale-input",)),
        _finding("depth-decay", ("reinitialize", "swap-activation", "insert-norm")),
        _finding("depth-decay", ("gated-residual",)),
    ]
    places = _recurrent(patient)
    if places:
        remedies = ("gate-bias", "recurrent-initialization", "recurrent-cell")
        found.append(_finding("time-decay", remedies, places))
    return tuple(found)


def amiss(patient: Patient) -> tuple[Finding, ...]:
    """What is unusual about inputs or initial values, and by itself no illness.

    Inputs that are, taken all together, far from zero mean and unit scale; a first draw of weights
    that is far from any rule's scale. Where a net then learns badly, this alone is tried.
    """
    found: list[Finding] = []
    inputs = float_inputs(patient)
    if inputs and not is_standard(standardising(inputs, None)):
        found.append(_finding(UNSCALED, ("scale-input",)))
    if any(_is_far(module) for module in patient.model.modules()):
        found.append(_finding("init-too-large", ("reinitialize",)))
        places = _recurrent(patient)
        if places:
            found.append(_finding("time-decay", ("recurrent-initialization",), places))
    return tuple(found)


def _is_far(module: nn.Module) -> bool:
    """Whether a fresh matrix of this layer is unusually large, and no more than a draw."""
    if not isinstance(module, WEIGHTED) or looks_trained(module) is not None:
        return False
    for weight in module.parameters(recurse=False):
        if weight.dim() >= 2 and weight.requires_grad:
            fan = weight[0].numel()
            gain = float(weight.detach().double().square().mean().sqrt()) * math.sqrt(fan)
            if gain > FAR and is_independent(module, weight):
                return True
    return False


def _recurrent(patient: Patient) -> tuple[str, ...]:
    return tuple(n for n, m in patient.model.named_modules() if n and isinstance(m, RECURRENT))


def _finding(
    name: str, remedies: tuple[str, ...], where: tuple[str, ...] = (), **evidence: float
) -> Finding:
    return Finding(
        code="", name=name, severity="harmful", where=where, remedies=remedies, evidence=evidence
    )
