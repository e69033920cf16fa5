"""What is tried where a net learns badly and no finding says why."""

from torch import nn

from unvanish.causes.cause import Finding
from unvanish.remedies.remedy import Patient

UNSCALED = "unscaled-input"
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
    places = tuple(n for n, m in patient.model.named_modules() if n and isinstance(m, RECURRENT))
    if places:
        remedies = ("gate-bias", "recurrent-initialization", "recurrent-cell")
        found.append(_finding("time-decay", remedies, places))
    return tuple(found)


def _finding(
    name: str, remedies: tuple[str, ...], where: tuple[str, ...] = (), **evidence: float
) -> Finding:
    return Finding(
        code="", name=name, severity="harmful", where=where, remedies=remedies, evidence=evidence
    )
