"""Recurrent modules: orthogonal in time, and gates that stay open as long as the sequence is.

Recurrent weights are orthogonal for every gate (Saxe et al. 2014, arXiv:1312.6120), the identity
for a ReLU RNN (Le et al. 2015, arXiv:1504.00941). The gate that keeps the state (forget gate of an
LSTM, update gate of a GRU) gets biases log u with u uniform on 1..T-1, the LSTM's input gate the
negative of it (Tallec and Ollivier 2018, arXiv:1804.11188): half-lives up to the length of the
sequence. A gate times a tanh puts out a fifth of what came in, and gates that read a fifth hardly
move: in a stack each layer's input weights are divided by the scale of what the layer below puts
out. An RNN without gates must not bend what it carries: over T steps at scale s a tanh costs
the gradient exp(-T s^2 / 2), so its inputs are scaled to arrive at s^2 = 2 / T (a loss of e), those of
a ReLU RNN to one. It harms where sequences are long but what matters is always near: the state then forgets
too slowly; say so with ``train_recurrent_over``.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from unvanish.init.draws import orthogonal
from unvanish.init.parts import RECURRENT
from unvanish.init.report import Change
from unvanish.init.situation import Situation, rms

_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_STACKED = (nn.LSTM, nn.GRU)
_SAMPLES = 64
"""Sequences of noise, where what a stack reads is not at hand."""


@torch.no_grad()
def apply(situation: Situation) -> None:
    """Write every recurrent module whose parameters may change."""
    for path, module in situation.model.named_modules():
        if not isinstance(module, RECURRENT):
            continue
        own = dict(module.named_parameters(recurse=False))
        names = [f"{path}.{name}" if path else name for name in own]
        if situation.permitted.reason(names) is not None:
            continue
        steps = situation.steps or sequence_length(situation, path)
        numbers = _write(module, own, steps, situation.generator)
        if isinstance(module, nn.RNNBase) and type(module) in _STACKED:
            _reach(module, own, _given(situation, module, path, steps))
        if isinstance(module, nn.RNN | nn.RNNCell):
            numbers = _quiet(module, own, steps, _arriving(situation, path))
        method = "recurrent identity" if _is_relu(module) else "recurrent orthogonal"
        situation.changes.append(
            Change(module=path, method=method, parameters=tuple(names), numbers=numbers)
        )


def sequence_length(situation: Situation, path: str) -> int:
    """Steps that the module took in the observed batch."""
    calls = [o for o in situation.graph.operations if o.module == path and o.from_data]
    module = situation.model.get_submodule(path)
    if isinstance(module, nn.RNNCellBase):
        return max(1, sum(o.function.endswith("_cell") for o in calls))
    lengths = [len(p.norms) for p in situation.trace.profiles if p.module == path]
    for operation in calls:
        if operation.function in ("lstm", "gru", "rnn_tanh", "rnn_relu"):
            shape = operation.input_shapes[0]
            if len(shape) == 3:
                lengths.append(shape[1] if module.batch_first else shape[0])
    return max(lengths, default=1)


def _write(
    module: nn.Module, own: Mapping[str, Tensor], steps: int, generator: torch.Generator
) -> dict[str, float]:
    kind = next((name for name in _GATES if type(module).__name__.startswith(name)), "RNN")
    gates = _GATES[kind]
    numbers: dict[str, float] = {}
    for name, value in own.items():
        if value.dim() >= 2:
            for block in value.chunk(1 if "_hr" in name else gates):
                block.copy_(_square(block, name, module, generator))
        else:
            value.zero_()
        if name.startswith("bias_ih") and gates > 1:
            low, high = _open(value, kind, steps, generator)
            numbers = {"steps": float(steps), "lowest": low, "highest": high}
    return numbers


def _reach(module: nn.RNNBase, own: Mapping[str, Tensor], given: Tensor) -> None:
    """Divide what each layer above the first reads by its scale, from below on."""
    kind: Any = type(module)
    projected: dict[str, Any] = {"proj_size": module.proj_size} if module.proj_size else {}
    for level in range(1, module.num_layers):
        with torch.device("meta"):  # draws nothing
            below = kind(
                module.input_size,
                module.hidden_size,
                level,
                bias=module.bias,
                batch_first=True,
                bidirectional=module.bidirectional,
                **projected,
            )
        below = below.to_empty(device=given.device).to(given.dtype)
        for name, value in below.named_parameters():
            value.copy_(own[name])
        arriving = rms(below(given)[0])
        for name, value in own.items():
            if name.removeprefix("weight_ih_l").removesuffix("_reverse") == str(level) and arriving:
                value.div_(arriving)


def _given(situation: Situation, module: nn.RNNBase, path: str, steps: int) -> Tensor:
    """What the module reads, batch first: the inputs themselves, else noise of their scale."""
    weight, inputs = next(module.parameters()), situation.inputs
    if inputs is not None and inputs.dim() == 3 and inputs.shape[2] == module.input_size:
        inputs = inputs if module.batch_first else inputs.transpose(0, 1)
        return inputs.detach().to(weight)
    noise = torch.randn(
        _SAMPLES, steps, module.input_size, generator=situation.generator, dtype=torch.float64
    )
    return (noise * _arriving(situation, path)).to(weight)


def _quiet(
    module: nn.Module, own: Mapping[str, Tensor], steps: int, arriving: float
) -> dict[str, float]:
    """Scale the input weights so that what T steps add up to stays in the linear part."""
    carried = 1.0 if _is_relu(module) else min(1.0, math.sqrt(2 / steps))
    for name, value in own.items():
        if name.startswith("weight_ih"):
            first = name.removeprefix("weight_ih") in ("", "_l0", "_l0_reverse")
            value.mul_(carried / math.sqrt(steps) / (arriving if first else carried))
    return {"steps": float(steps), "scale": carried}


def _arriving(situation: Situation, path: str) -> float:
    """Scale of what the module reads."""
    for operation in situation.graph.operations:
        if operation.module == path and operation.function.startswith(("rnn_", "lstm", "gru")):
            maker = operation.inputs[0]
            found = None if maker is None else situation.graph[maker].output_rms
            return found or situation.input_rms or 1.0
    return 1.0


def _square(block: Tensor, name: str, module: nn.Module, generator: torch.Generator) -> Tensor:
    rows, columns = block.shape
    if "_hh" in name and rows == columns and _is_relu(module):
        return torch.eye(rows, dtype=torch.float64)
    return orthogonal(rows, columns, generator)


def _open(bias: Tensor, kind: str, steps: int, generator: torch.Generator) -> tuple[float, float]:
    """Chrono biases; the smallest and largest of them."""
    size = len(bias) // _GATES[kind]
    longest = max(steps - 1, 1)
    lives = 1 + (longest - 1) * torch.rand(size, generator=generator, dtype=torch.float64)
    if longest == 1:
        lives = torch.full((size,), math.e, dtype=torch.float64)  # bias one: Jozefowicz et al. 2015
    keep = lives.log()
    if kind == "LSTM":  # torch's order: input, forget, cell, output
        bias[:size].copy_(-keep)
    bias[size : 2 * size].copy_(keep)  # of a GRU: reset, update, new
    return float(keep.min()), float(keep.max())


def _is_relu(module: nn.Module) -> bool:
    return (
        getattr(module, "nonlinearity", "") == "relu" or getattr(module, "mode", "") == "RNN_RELU"
    )
