"""Readings of activation functions as they are called, module or functional, in place or not."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unvanish.kinds import ACTIVATIONS
from unvanish.probe.flow import Flow
from unvanish.probe.spans import ModuleSpans
from unvanish.signals import rms

SATURATED_BELOW = 0.05
"""Share of the largest |f'| under which a unit is called saturated: such a unit needs twenty
times the step of an unsaturated one to move its pre-activation as far."""

_SAMPLE = 16384
# Their derivative takes an argument of the input's shape, or a random draw.
_NO_DERIVATIVE = frozenset(("prelu", "rrelu"))
# Limits whose lower end may be zero: there a unit is off, as half of all rectifiers are, and the share
# is of those that are on.
_OFF_AT_ZERO = frozenset(("relu6", "hardtanh"))


@dataclass(slots=True)
class Before:
    """A sample of the input, kept because the function may write over it; and how to call it."""

    function: Callable[..., Any]
    sample: Tensor
    rest: tuple[Any, ...]
    kwargs: dict[str, Any]


@dataclass(slots=True)
class ActivationCall:
    """Sums over batches of one call site."""

    module: str
    call: int
    function: str
    flow_call: int
    batches: int = 0
    elements: int = 0
    input_square: float = 0.0
    input_sum: float = 0.0
    output_square: float = 0.0
    derivative_square: float | None = None
    saturated: float | None = None
    alive: Tensor | None = None
    counts: tuple[int, ...] = ()


class ActivationReader:
    """Collects :class:`ActivationCall` by (module, call, how manieth in that call)."""

    def __init__(self) -> None:
        self.sites: dict[tuple[str, int, int], ActivationCall] = {}
        self._seen: dict[tuple[str, int], int] = {}
        self._pending: list[tuple[ActivationCall, Before]] = []

    def start_batch(self) -> None:
        self._seen.clear()
        self._pending.clear()

    def differentiate(self) -> None:
        """Take the derivatives of the calls of this batch.

        After the forward pass, not during it: inside a checkpointed stretch autograd's saved
        tensors are counted, and ours must not be among them.
        """
        for site, before in self._pending:
            site.counts = site.counts or _counted(before.sample)
            slope = _derivative(before, site.function)
            if slope is None:
                continue
            square, saturated = slope
            site.derivative_square = (site.derivative_square or 0.0) + square
            if ACTIVATIONS[site.function].two_sided:
                site.saturated = (site.saturated or 0.0) + saturated
        self._pending.clear()

    def look(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Before | None:
        """A strided sample of the input before the function runs."""
        source = args[0] if args else kwargs.get("input")
        if not isinstance(source, Tensor) or not source.is_floating_point() or not source.numel():
            return None
        with torch.no_grad(), torch._C.DisableTorchFunction():
            sample = _sample(source.detach())
            sample = sample.clone() if sample.dtype == torch.float64 else sample.float().clone()
        rest = tuple(args[1:]) if args else ()
        return Before(func, sample, rest, {k: v for k, v in kwargs.items() if k != "input"})

    def read(
        self,
        function: str,
        before: Before,
        output: Tensor,
        spans: ModuleSpans,
        flow: Flow,
        index: int,
    ) -> None:
        """Add one call to its site; ``index`` is this call's place in the flow."""
        place = (spans.path, spans.call)
        order = self._seen.get(place, 0)
        self._seen[place] = order + 1
        key = (*place, order)
        if key not in self.sites:
            self.sites[key] = ActivationCall(*place, function, index)
        with torch._C.DisableTorchFunction():
            self._add(self.sites[key], before, output.detach(), flow.calls[index].channels_first)

    def _add(
        self, site: ActivationCall, before: Before, output: Tensor, channels_first: bool
    ) -> None:
        site.batches += 1
        site.elements += output.numel()
        sample = before.sample
        site.input_square += rms(sample) ** 2
        site.input_sum += float(sample.mean())
        site.output_square += rms(output) ** 2
        self._pending.append((site, before))
        if ACTIVATIONS[site.function].rectifier:
            alive = units_alive(output, channels_first)
            same = site.alive is not None and site.alive.shape == alive.shape
            site.alive = site.alive | alive if same and site.alive is not None else alive


def units_alive(output: Tensor, channels_first: bool) -> Tensor:
    """For each unit whether its output is above zero, or no number, on any sample or place.

    A unit is a channel (dimension 1) behind a convolution and in (N, C, H, W) and
    (N, C, D, H, W) tensors, else a feature (last dimension).
    """
    if output.dim() == 0:
        return ~(output <= 0).reshape(1)
    first = output.dim() in (4, 5) or (channels_first and output.dim() >= 3)
    dim = 1 if first else output.dim() - 1
    others = [d for d in range(output.dim()) if d != dim]
    return ~((output.amax(others) if others else output) <= 0)


def _sample(tensor: Tensor) -> Tensor:
    flat = tensor.reshape(-1)
    step = max(flat.numel() // _SAMPLE, 1)
    # A stride that shares a factor with the row length would look at the same units each time.
    while step > 1 and math.gcd(step, tensor.shape[-1] * (tensor.shape[0] or 1)) != 1:
        step += 1
    return flat[::step]


def _counted(sample: Tensor) -> tuple[int, ...]:
    """The sample in the bins of ``preactivation_edges``; on the CPU, where counting is exact."""
    values = np.arcsinh(sample.detach().cpu().numpy().astype(np.float64, copy=False))
    finite = values[np.isfinite(values)]
    bins = np.clip(np.floor((finite + 8.0) * 4.0), 0, 63).astype(np.intp)
    return tuple(np.bincount(bins, minlength=64).tolist())


def _derivative(before: Before, function: str) -> tuple[float, float] | None:
    """Mean f'^2 and saturated share over the sample, f' by autograd of the very same call."""
    if function in _NO_DERIVATIVE:
        return None
    with torch.enable_grad():
        sample = before.sample.requires_grad_()
        try:
            output = before.function(sample.clone(), *before.rest, **before.kwargs)
            (slope,) = torch.autograd.grad(output.sum(), sample)
        except (RuntimeError, TypeError):
            return None  # called with tensors of the input's own shape
    flat = slope.abs() < SATURATED_BELOW * ACTIVATIONS[function].slope
    if function in _OFF_AT_ZERO:
        flat = flat[output.detach() != 0]
    return float(slope.square().mean()), float(flat.float().mean()) if flat.numel() else 0.0
