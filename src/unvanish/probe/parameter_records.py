"""Parameter records: what each tensor of the model got, and whether its value reached the loss."""

import dataclasses
import math
from collections.abc import Sequence

from unvanish.layers import parameters_behind
from unvanish.probe.gradients import GradientReader, ParameterGradient
from unvanish.probe.sight import Sight
from unvanish.signals import FLOAT32_RESOLUTION, Measure, l2, units_equal
from unvanish.trace import (
    Op,
    Parameter,
)


def parameter_records(
    gradients: GradientReader, sight: Sight, ops: Sequence[Op]
) -> tuple[Parameter, ...]:
    """One record for each parameter tensor of the model, tied names together."""
    uses: dict[str, int] = {}
    inner = {edge.target for op in ops for edge in op.edges if edge.side == "parameter"}
    for op in ops:
        if op.index in inner or op.parameter is not None:
            continue  # a step of a weight's own making is no use of it
        for name in {name for edge in op.edges for name in parameters_behind(ops, edge)}:
            uses[name] = uses.get(name, 0) + 1
    used = {leaf for call in sight.flow.calls for leaf in call.leaves} | {*sight.flow.read_out}
    flowing: set[str] = set()
    if sight.flow.loss_call is not None:
        for index in sight.flow.ancestors([sight.flow.loss_call]):
            flowing |= set(sight.flow.calls[index].leaves)
    records = [
        _parameter(reading, uses, used, flowing, known=sight.flow.loss_call is not None)
        for reading in gradients.readings.values()
    ]
    top = max((p.elasticity or 0.0 for p in records), default=0.0)
    return tuple(_with_tiny(p, top) for p in records)


def _parameter(
    reading: ParameterGradient, uses: dict[str, int], used: set[str], flowing: set[str], known: bool
) -> Parameter:
    parameter = reading.parameter.detach()
    figures = [m for m in reading.measures if m is not None]
    count = max(parameter.numel(), 1)
    weight_norm = l2(parameter) if parameter.numel() else 0.0
    norm = math.sqrt(math.fsum(m.norm**2 for m in figures) / len(figures)) if figures else None
    name = reading.names[0]
    return Parameter(
        names=tuple(reading.names),
        shape=tuple(parameter.shape),
        dtype=str(parameter.dtype).removeprefix("torch."),
        state=_state(reading, figures),
        weight_norm=weight_norm,
        weight_rms=weight_norm / count**0.5,
        gradient_norm=norm,
        gradient_rms=None if norm is None else norm / count**0.5,
        gradient_max=reading.largest if figures else None,
        zeros=min(m.zeros for m in figures) if figures else None,
        nonfinite=max(m.nonfinite for m in figures) if figures else None,
        elements=parameter.numel(),
        snr=reading.snr,
        spread=reading.spread,
        uses=uses.get(name, 0),
        used=name in used if known else None,
        to_loss=name in flowing if known else None,
        equal_units=units_equal(parameter),
        equal_gradients=reading.equal_gradients,
    )


def _state(reading: ParameterGradient, figures: list[Measure]) -> str:
    if not reading.parameter.requires_grad:
        return "frozen"
    if not figures:
        return "none"
    if any(m.nonfinite for m in figures):
        return "nonfinite"
    return "zero" if all(m.norm == 0 for m in figures) else "reached"


def _with_tiny(parameter: Parameter, top: float) -> Parameter:
    small = (parameter.elasticity or 0.0) < FLOAT32_RESOLUTION * top
    # A weight that is still zero (a fresh bias) has no size to compare with.
    if parameter.state != "reached" or not parameter.weight_norm or not small:
        return parameter
    return dataclasses.replace(parameter, state="tiny")
