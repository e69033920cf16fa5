"""Scaled and shifted tanh and sigmoid whose derivative is taken from their output.

``gain * (f(scale * x + shift) + offset)`` as plain operations makes torch keep f(.) for the backward
pass, or compute it again, beside the output that is kept anyway. Both derivatives are polynomials
of the output (1 - t^2, t (1 - t)), so that nothing else is needed. Compiled only: eager, the plain
operations are faster, and they take part in forward-mode derivatives, too.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function


class _Squashed(Function):
    """``slope_of(t)`` is f' where f is t; the four numbers are those of the transform."""

    generate_vmap_rule = True

    @staticmethod
    def forward(  # type: ignore[override]
        x: Tensor,
        function: Callable[[Tensor], Tensor],
        slope_of: Callable[[Tensor], Tensor],
        numbers: tuple[float, float, float, float],
    ) -> Tensor:
        scale, shift, gain, offset = numbers
        return (function(x * scale + shift) + offset) * gain

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, _, ctx.slope_of, ctx.numbers = inputs
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:  # type: ignore[override]
        return gradient * _slope(ctx), None, None, None


def _slope(ctx: Any) -> Tensor:
    scale, _, gain, offset = ctx.numbers
    (output,) = ctx.saved_tensors
    return (gain * scale) * ctx.slope_of(output / gain - offset)


def _tanh_slope(t: Tensor) -> Tensor:
    return 1 - t * t


def _sigmoid_slope(t: Tensor) -> Tensor:
    return t * (1 - t)


_KNOWN: dict[Any, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    nn.Tanh: (torch.tanh, _tanh_slope),
    nn.Sigmoid: (torch.sigmoid, _sigmoid_slope),
}


def known_by_output(activation: object) -> bool:
    """Whether this is being compiled, and the activation is one of these two modules."""
    return torch.compiler.is_dynamo_compiling() and type(activation) in _KNOWN


def squashed(x: Tensor, activation: object, numbers: tuple[float, float, float, float]) -> Tensor:
    """``gain * (f(scale * x + shift) + offset)``; ``numbers`` are scale, shift, gain, offset."""
    function, slope_of = _KNOWN[type(activation)]
    made: Any = _Squashed.apply(x, function, slope_of, numbers)
    return made
