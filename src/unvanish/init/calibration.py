"""The last step: one forward pass in which each layer is brought to the scale it was meant to have.

As LSUV does (Mishkin and Matas 2016, arXiv:1511.06422), but towards the scale that the shape of the
activation asks for, and once: calibrated and frozen. A layer that reads the batch itself also has
the mean of the batch taken off by its bias, where most of the energy is in that mean.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from unvanish.init.parts import Part
from unvanish.init.report import Change
from unvanish.init.situation import Situation, rms
from unvanish.init.weights import bare
from unvanish.probe.in_passing import in_passing

_FEWEST_SAMPLES = 16
_MOST_MEAN = 0.5
_LIMIT = 1e6


def calibrate(situation: Situation, forward: Callable[[], object]) -> None:
    """Run ``forward`` once; correct every layer that has an aim as the pass comes by."""
    corrections: dict[nn.Module, Callable[[Tensor], Tensor]] = {}
    found: dict[str, float] = {}
    for index, (scale, shift) in situation.aims.items():
        part = situation.parts[index]
        source = situation.graph.source(index)[0]
        alone = bare(part.owner, part.weight) and situation.graph[index].module == part.module
        if alone and source != "attention" and not situation.is_head(index):
            centred = source == "batch" and part.bias is not None
            corrections[part.owner] = _correction(part, scale, shift, centred, found)
    with torch.no_grad(), in_passing(corrections):
        forward()
    situation.changes[:] = [_noted(change, found) for change in situation.changes]


def _correction(
    part: Part, scale: float, shift: float, centred: bool, found: dict[str, float]
) -> Callable[[Tensor], Tensor]:
    def correct(output: Tensor) -> Tensor:
        if part.module in found:  # another call of the same weight: the first one has spoken
            return output
        signal = output.detach().double() - shift
        if centred and part.bias is not None:
            mean = _mean(part, signal)
            if mean is not None:
                part.bias.sub_(mean.reshape(-1).to(part.bias))
                signal = signal - mean
        measured = rms(signal)
        factor = scale / measured if measured else 0.0
        if not 1 / _LIMIT < factor < _LIMIT:
            return output
        part.weight.mul_(factor)
        if part.bias is not None:
            part.bias.copy_((part.bias.double() - shift) * factor + shift)
        found[part.module] = factor
        return (signal * factor + shift).to(output.dtype)

    return correct


def _mean(part: Part, signal: Tensor) -> Tensor | None:
    """Mean of each unit over samples and places, where it holds most of the energy."""
    dim = signal.dim() - 1 - (part.weight.dim() - 2)
    if signal.shape[0] < _FEWEST_SAMPLES or dim == 0:
        return None
    others = [d for d in range(signal.dim()) if d != dim]
    mean = signal.mean(others, keepdim=True)
    total = float(signal.square().mean())
    return mean if total and float(mean.square().mean()) > _MOST_MEAN * total else None


def _noted(change: Change, found: dict[str, float]) -> Change:
    factor = found.get(change.module)
    if factor is None:
        return change
    return Change(
        module=change.module,
        method=change.method,
        parameters=change.parameters,
        numbers={**change.numbers, "calibrated": factor},
    )
