"""What UV102 and UV103 share: how far weights are from the scale that carries a signal."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from unvanish.causes.dataflow import SUMS, VIEWS, Dataflow
from unvanish.causes.no_nonlinearity import data_of
from unvanish.causes.saturated_activation import MOSTLY
from unvanish.probe.flow import NORMALIZING
from unvanish.stretch import Stretch
from unvanish.theory import critical_weight_decades, mended_by_weights
from unvanish.trace import Activation, Layer, Trace


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    """Decades by which the weights of a stretch are off the critical scale, summed over layers.

    ``mendable`` says whether its activations let any weight scale carry a gradient (theory);
    ``saturated`` is the mean saturated share of its activations.
    """

    decades: float
    layers: tuple[Layer, ...]
    critical_per_layer: float
    mendable: bool
    saturated: float

    @property
    def per_layer(self) -> float:
        return self.decades / max(len(self.layers), 1)


def deviation(trace: Trace, layers: Sequence[Layer]) -> Deviation | None:
    """How far the plain (not residual) layers' weight gains are from critical.

    Layers with a norm are left out: it undoes any scale of the weights.
    """
    by_module = {activation.module: activation for activation in trace.activations}
    fed: dict[str | None, Activation] = {a.fed_by: a for a in trace.activations}
    off, critical, plain, mendable, saturated = 0.0, 0.0, list[Layer](), True, list[float]()
    for layer in layers:
        if layer.decades["residual"] or layer.decades["norm"] or not layer.decades["weight"]:
            continue
        activation = fed.get(layer.name) or next(
            (by_module[m] for m in layer.modules if m in by_module), None
        )
        function = activation.function if activation is not None else None
        target = critical_weight_decades(function)
        off += layer.decades["weight"] - target
        critical += target
        mendable = mendable and mended_by_weights(function)
        if activation is not None and activation.saturated_share is not None:
            saturated.append(activation.saturated_share)
        plain.append(layer)
    if not plain:
        return None
    return Deviation(
        decades=off,
        layers=tuple(plain),
        critical_per_layer=critical / len(plain),
        mendable=mendable,
        saturated=sum(saturated) / len(saturated) if saturated else 0.0,
    )


def loud_weights(trace: Trace) -> dict[str, float]:
    """What would bring weights above the scale of He down to it, by name of parameter.

    Weights that read n numbers add up to a signal of their input's size at an rms of sqrt(1 / n),
    behind a rectifier at sqrt(2 / n): no initialisation in use asks for more. Where a norm reads
    the sum any scale will do.
    """
    flow = Dataflow(trace)
    factors: dict[str, float] = {}
    for index in sorted(flow.to_loss):
        place = data_of(flow, index) if flow[index].from_data else None
        if place is None or _normalized(flow, index):
            continue
        for name in flow[index].parameters:
            weight = trace.parameter(name)
            if len(weight.shape) < 2 or weight.state == "frozen":
                continue
            shape = flow[index].input_shapes[place]
            inside = weight.shape[1:] if flow[index].function != "matmul" else shape[-1:]
            gain = weight.weight_rms * math.sqrt(math.prod(inside))
            if gain > math.sqrt(2):
                factors[name] = math.sqrt(2) / gain
    return factors


def decades_above(loud: Mapping[str, float]) -> float:
    """By how many decades these weights together are above the scale of He."""
    return -sum(math.log10(factor) for factor in loud.values())


def loud_evidence(loud: Mapping[str, float], stretch: Stretch | None) -> dict[str, float | None]:
    """The numbers of weights that stand in branches, where no row of plain layers shows them."""
    each = decades_above(loud) / len(loud)
    return {
        "decades": abs(stretch.decades) if stretch is not None else None,
        "layers": float(len(loud)),
        "off_decades_per_layer": each,
        "off_factor": 10**each,
        "off_decades": decades_above(loud),
        "elasticity_decades": stretch.elasticity if stretch is not None else None,
        "signal_decades": stretch.forward if stretch is not None else None,
    }


LOUD_DECADES = 1.0
"""The step that the last layer bears falls with the square of its input's scale: a hundredfold."""


def shut_by_weights(trace: Trace) -> bool:
    """Whether the output's own squashing is saturated, and loud weights made most of what it reads.

    Then another loss would meet scores that are as far off.
    """
    above = decades_above(loud_weights(trace))
    return above >= LOUD_DECADES and any(
        math.log10(max(activation.input_rms, 1.0)) <= 2 * above
        for activation in trace.activations
        if activation.feeds_loss and (activation.saturated_share or 0.0) >= MOSTLY
    )


def _normalized(flow: Dataflow, index: int) -> bool:
    """Whether norms alone read this, through views."""
    pending, seen = list(flow.consumers.get(index, ())), set[int]()
    while pending:
        reader = pending.pop()
        if reader in seen:
            continue
        seen.add(reader)
        if flow[reader].function in VIEWS | SUMS:
            pending += flow.consumers.get(reader, ())
        elif flow[reader].function not in NORMALIZING:
            return False
    return True


def evidence(found: Deviation, stretch: Stretch | None) -> dict[str, float | None]:
    """The numbers that show it, in decades."""
    return {
        "decades": abs(stretch.decades) if stretch is not None else None,
        "layers": float(len(found.layers)),
        "weight_decades_per_layer": found.critical_per_layer + found.per_layer,
        "critical_decades_per_layer": found.critical_per_layer,
        "off_decades_per_layer": found.per_layer,
        "off_factor": 10**found.per_layer,
        "off_decades": found.decades,
        "saturated_share": found.saturated or None,
        "elasticity_decades": stretch.elasticity if stretch is not None else None,
        "signal_decades": stretch.forward if stretch is not None else None,
    }
