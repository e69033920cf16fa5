"""predict: what theory expects of a model's gradient, beside what one observation measures.

Nothing of the model is run for the prediction: it reads the weights, the mean and the covariance of
the inputs, and the loss at outputs drawn as theory expects them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from unvanish.batches import Loss, check_arguments, split_batch, take_batches, tensors_in
from unvanish.errors import BadInput
from unvanish.probe.compiled import unwrapped
from unvanish.probe.observe import observe
from unvanish.randomness import seeded
from unvanish.theory.activations import LINEAR, Nonlinearity, nonlinearity
from unvanish.theory.chain import Expected, Stage, expected
from unvanish.theory.propagation import Boundary, propagate
from unvanish.theory.quadrature import Array
from unvanish.trace import Layer, Trace

_PLAIN = frozenset(("activation", "weight", "norm"))


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerPrediction:
    """One layer; decades are log10 of the gradient norm at its input over that at its output.

    ``predicted`` knows this layer's weights, ``wide`` only their size, as if there were infinitely
    many units; ``spread`` is the standard deviation of one draw around that.
    """

    name: str
    predicted: float
    wide: float
    spread: float
    measured: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What theory expects beside what was measured, in decades. Layers count from the input.

    ``predicted``, ``wide`` and ``measured`` are sums over the layers. ``wide`` is the typical draw:
    it contains the shift of finite width, and one draw in three lies more than ``spread`` away.
    """

    layers: tuple[LayerPrediction, ...]
    predicted: float
    wide: float
    spread: float
    measured: float


def predict(model: nn.Module, data: Any, loss: Loss, *, seed: int = 0) -> Prediction:
    """How much gradient theory expects to arrive at every layer, and how much does.

    For chains of ``nn.Linear``, each with at most one batch norm in training mode and one
    elementwise activation behind it, in any module that calls them.

    Args:
        model: the network.
        data: one batch ``(inputs, targets)``, or an iterable of batches (the first is read).
        loss: ``loss(outputs, targets) -> scalar tensor``.
        seed: of the random state while observing, and of the outputs drawn for the loss.

    Raises:
        BadInput: the model is no such chain; the message names the first part that is not.
        ModelFailed: the model or the loss raised.

    >>> import torch, unvanish
    >>> _ = torch.manual_seed(0)
    >>> net = torch.nn.Sequential(*[torch.nn.Linear(64, 64) for _ in range(8)])
    >>> batch = torch.randn(32, 64), torch.randn(32, 64)
    >>> found = unvanish.predict(net, batch, torch.nn.MSELoss())
    >>> abs(found.predicted - found.measured) < 0.05
    True
    """
    check_arguments(model, loss, None, seed)
    with seeded(seed):  # a shuffling loader draws from the random state as it starts
        inputs, targets = split_batch(take_batches(data, 1)[0])
    trace = observe(model, (inputs, targets), loss, seed=seed)
    model, _ = unwrapped(model)
    layers = tuple(reversed(trace.layers))
    stages = _stages(model, trace, layers)
    samples = _samples(inputs, stages[0].weight.shape[1])
    mean, covariance = samples.mean(0), np.atleast_2d(np.cov(samples.T, bias=True))
    length = float((samples**2).mean())
    correlation = float((mean**2).mean()) / length if length else 1.0
    dtype = next(model.parameters()).dtype
    wide = expected(stages, length, correlation, len(samples))
    boundary = _boundary(loss, targets, len(samples), dtype, seed)
    exact = propagate(stages, mean, covariance, boundary, len(samples))
    return _compared(layers, exact, wide)


def _compared(
    layers: Sequence[Layer], exact: Sequence[float], wide: Sequence[Expected]
) -> Prediction:
    found = tuple(
        LayerPrediction(
            name=layer.name,
            predicted=value,
            wide=part.decades + part.fluctuation.shift_decades,
            spread=part.fluctuation.decades,
            measured=layer.total,
        )
        for layer, value, part in zip(layers, exact, wide, strict=True)
    )
    return Prediction(
        layers=found,
        predicted=math.fsum(layer.predicted for layer in found),
        wide=math.fsum(layer.wide for layer in found),
        spread=math.hypot(*(layer.spread for layer in found)),
        measured=math.fsum(layer.measured for layer in found),
    )


def _stages(model: nn.Module, trace: Trace, layers: Sequence[Layer]) -> list[Stage]:
    modules = dict(model.named_modules())
    if not layers:
        raise BadInput(
            "the model has no layer with weights between loss and input: nothing to predict."
        )
    return [_stage(layer, modules, trace) for layer in layers]


def _stage(layer: Layer, modules: Mapping[str, nn.Module], trace: Trace) -> Stage:
    parts = [modules[name] for name in layer.modules if name in modules]
    linear = [part for part in parts if isinstance(part, nn.Linear)]
    norms = [part for part in parts if isinstance(part, nn.BatchNorm1d)]
    other = next(
        (role for role, part in layer.decades.items() if role not in _PLAIN and abs(part) > 1e-6),
        "",
    )
    if other or len(linear) != 1 or len(norms) > 1 or (layer.decades["norm"] and not norms):
        what = {
            "": "more than one nn.Linear, batch norm and activation",
            "rest": "other operations",
        }
        raise BadInput(
            f"layer {layer.name!r} holds {what.get(other, f'a {other} part')}: theory predicts "
            "chains of nn.Linear, each with at most one nn.BatchNorm1d in training mode and one "
            "activation; pass such a part of the model."
        )
    scale = offset = None
    if norms:
        if not norms[0].training:
            raise BadInput(
                f"layer {layer.name!r}: its batch norm is in eval mode; call model.train()."
            )
        scale, offset = _affine(norms[0])
    weight = _array(linear[0].weight)
    added = cast(Tensor | None, linear[0].bias)
    bias = np.zeros(len(weight)) if added is None else _array(added)
    return Stage(
        weight=weight,
        bias=bias,
        activation=_activation(layer, modules, trace),
        scale=scale,
        offset=offset,
        epsilon=norms[0].eps if norms else 0.0,
    )


def _activation(layer: Layer, modules: Mapping[str, nn.Module], trace: Trace) -> Nonlinearity:
    """The module where it is one (with its own settings), else the function's name."""
    if not layer.decades["activation"]:
        return LINEAR
    seen = [a for a in trace.activations if a.fed_by == layer.name or a.module in layer.modules]
    if not seen:
        raise BadInput(
            f"layer {layer.name!r} has an activation that was not recognised: pass a model whose "
            "activations are functions or modules of torch."
        )
    module = modules.get(seen[0].module)
    alone = module is not None and not list(module.children()) and seen[0].module != layer.name
    return nonlinearity(module if alone else seen[0].function)


def _affine(norm: nn.BatchNorm1d) -> tuple[Array, Array]:
    if not norm.affine:
        return np.ones(norm.num_features), np.zeros(norm.num_features)
    return _array(norm.weight), _array(norm.bias)


def _array(tensor: Tensor) -> Array:
    return tensor.detach().to("cpu", torch.float64).numpy()


def _samples(inputs: Any, features: int) -> Array:
    """The first input tensor as samples by features."""
    for tensor in tensors_in(inputs):
        if tensor.is_floating_point() and tensor.shape and tensor.numel() % features == 0:
            whole = _array(tensor)
            if whole.shape[-1] == features:
                return whole.reshape(-1, features)
            if whole.reshape(len(whole), -1).shape[1] == features:
                return whole.reshape(len(whole), -1)
    raise BadInput(
        f"no input tensor has the {features} features of the first layer: pass the inputs as one "
        "floating-point tensor of shape (samples, features)."
    )


def _boundary(loss: Loss, targets: Any, samples: int, dtype: torch.dtype, seed: int) -> Boundary:
    """The gradient of the loss at outputs drawn from the normal distribution that theory expects."""

    def second_moment(mean: Array, covariance: Array) -> Array:
        values, vectors = np.linalg.eigh(covariance)
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        noise = np.random.default_rng(seed).standard_normal((samples, len(mean)))
        drawn = torch.tensor(mean + noise @ root.T, dtype=dtype, requires_grad=True)
        try:
            with torch.enable_grad(), torch.random.fork_rng(devices=[]):
                (gradient,) = torch.autograd.grad(loss(drawn, targets), drawn)
        except Exception:  # the loss wants another dtype, device or shape: all directions alike
            return np.eye(len(mean))
        whole = _array(gradient)
        return whole.T @ whole if np.isfinite(whole).all() and whole.any() else np.eye(len(mean))

    return second_moment
