"""What theory expects of each layer, from its weights alone: to be read beside what was measured.

A layer of a plain net multiplies the mean square of the gradient by ``fan_in Var(w)`` and by
``E[f'(u)^2]`` at the variance of its pre-activation u, which follows from the layer before by the
length map (Poole et al. 2016, arXiv:1606.05340, eq. 3). Right for random weights and wide layers.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

from unvanish.theory import gains_at
from unvanish.trace import Activation, Layer, Parameter

_KNOWN = ("activation", "weight")


def with_predictions(
    layers: Sequence[Layer], parameters: Sequence[Parameter], activations: Sequence[Activation]
) -> tuple[Layer, ...]:
    """The layers with ``predicted`` where each is one weight matrix and at most one activation.

    The first one's pre-activation is taken as measured, all later ones follow from the weights.
    """
    tensors = {name: p for p in parameters for name in p.names}
    fed = _first(activations, lambda a: None if a.gate else a.fed_by)
    standing = _first(activations, lambda a: a.module or None)
    length: float | None = None
    found: list[Layer] = []
    for layer in reversed(layers):
        weight = _weight(layer, tensors)
        if weight is None:
            found.append(layer)
            length = None
            continue
        bias = tensors.get(f"{layer.name}.bias" if layer.name else "bias")
        factor = weight.weight_norm**2 / weight.shape[0]
        activation = _activation(layer, fed, standing)
        variance = None
        if length is not None:
            variance = factor * length + (bias.weight_rms**2 if bias is not None else 0.0)
        decades, length = _gain(factor, variance, activation, layer)
        found.append(dataclasses.replace(layer, predicted=decades))
    return tuple(reversed(found))


def _gain(
    factor: float, variance: float | None, activation: Activation | None, layer: Layer
) -> tuple[float | None, float | None]:
    """log10 gain of the layer, and the mean square of its output."""
    if not factor:
        return None, None
    if activation is None:
        return (None, None) if layer.decades["activation"] else (math.log10(factor) / 2, variance)
    measured = activation.input_rms**2
    gains = gains_at(activation.function, measured if variance is None else variance)
    if gains is None or not gains[1]:
        return None, None
    return (math.log10(factor) + math.log10(gains[1])) / 2, gains[0]


def _weight(layer: Layer, tensors: Mapping[str, Parameter]) -> Parameter | None:
    others = any(part for role, part in layer.decades.items() if role not in (*_KNOWN, "rest"))
    if others or abs(layer.decades.get("rest", 0.0)) > 1e-6:
        return None
    named = [tensors[name] for name in layer.parameters if name in tensors]
    matrices = [p for p in named if len(p.shape) >= 2]
    if len(matrices) != 1 or len(matrices[0].shape) != 2 or matrices[0].weight_norm == 0:
        return None
    return matrices[0]


def _first(
    activations: Sequence[Activation], key: Callable[[Activation], str | None]
) -> dict[str, Activation]:
    """The first activation of each key, so that a layer need not look through all of them."""
    found: dict[str, Activation] = {}
    for activation in activations:
        name = key(activation)
        if name is not None:
            found.setdefault(name, activation)
    return found


def _activation(
    layer: Layer, fed: Mapping[str, Activation], standing: Mapping[str, Activation]
) -> Activation | None:
    """The one activation that this layer feeds; of several calls of it, the first."""
    if not layer.decades["activation"]:
        return None
    inside = (standing[module] for module in layer.modules if module in standing)
    return fed.get(layer.name) or next(inside, None)
