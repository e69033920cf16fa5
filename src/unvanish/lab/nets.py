"""The network that the sliders describe, built of ordinary torch modules."""

import functools
import math
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from unvanish.init.critical import fresh_critical_
from unvanish.lab.data import BATCH, classes, loss_of, samples
from unvanish.lab.settings import Settings
from unvanish.nn import GatedResidual, TailoredLeakyReLU
from unvanish.twins import twin_of

SMALL = 0.3
LARGE = 3.0
"""Weights of standard deviation ``SMALL`` or ``LARGE`` / sqrt(fan-in): far from any rule."""


class Added(nn.Module):
    """``x + branch(x)``: the skip of a residual net."""

    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.branch = branch

    def forward(self, x: Tensor) -> Tensor:
        """Of the shape of x."""
        return x + self.branch(x)


class Recurrent(nn.Module):
    """h = f(W x + b + U h), with any activation f: what ``nn.RNN`` is for tanh and ReLU."""

    def __init__(self, features: int, width: int, activation: nn.Module) -> None:
        super().__init__()
        self.read = nn.Linear(features, width)
        self.carry = nn.Linear(width, width, bias=False)
        self.activation = activation

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """States of all steps, (samples, steps, width), and the last one."""
        state = x.new_zeros(len(x), self.carry.in_features)
        states: list[Tensor] = []
        for step in self.read(x).unbind(1):
            state = self.activation(step + self.carry(state))
            states.append(state)
        return torch.stack(states, 1), state


class Reader(nn.Module):
    """Reads a sequence and answers after its last step."""

    def __init__(self, cell: nn.Module, head: nn.Linear) -> None:
        super().__init__()
        self.cell, self.head = cell, head

    def forward(self, x: Tensor) -> Tensor:
        """(samples, steps, features) to (samples, outputs)."""
        states, _ = self.cell(x)
        return self.head(states[:, -1])


def build(settings: Settings) -> nn.Module:
    """The net at its initial values, drawn from the seed; the random state outside stays."""
    return twin_of(at_hand(settings))


def at_hand(settings: Settings) -> nn.Module:
    """The same, and the very one that others get: to be looked at, never to be changed."""
    # The sliders of the training leave the net as it is: it need not be made again for them.
    return _built(replace(settings, optimizer="sgd", rate=1.0, clip=0.0))


@functools.lru_cache(maxsize=4)
def _built(settings: Settings) -> nn.Module:
    inputs, targets = samples(settings)
    outputs = classes(settings) or 1
    features = inputs.shape[-1]
    with torch.random.fork_rng(devices=[]):  # modules draw from the state of the process
        net = _made(settings, features, outputs)
    _fill(net, settings)
    if settings.initialisation == "ours":
        batch = inputs[:BATCH], targets[:BATCH]
        fresh_critical_(net, batch, loss_of(settings), seed=settings.seed)
    return net.train()


def _made(settings: Settings, features: int, outputs: int) -> nn.Module:
    if settings.recurrent:
        return Reader(_cell(settings, features), nn.Linear(settings.width, outputs))
    return _stack(settings, features, outputs)


def activation(settings: Settings) -> nn.Module:
    """A new module for the activation that is chosen."""
    depth = settings.steps if settings.recurrent else settings.depth
    made = {
        "sigmoid": nn.Sigmoid,
        "tanh": nn.Tanh,
        "relu": nn.ReLU,
        "leaky_relu": lambda: nn.LeakyReLU(0.1),
        "gelu": nn.GELU,
        "silu": nn.SiLU,
        "selu": nn.SELU,
        "prelu": nn.PReLU,
        "ours": lambda: TailoredLeakyReLU(depth),
    }
    return made[settings.activation]()


def before_activation(net: nn.Module) -> dict[str, nn.Module]:
    """By layer: the module whose output goes into its activation (of nets without a cell)."""
    return dict(_before(net))


def _before(net: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, part in net.named_modules():
        children = dict(part.named_children())
        if "linear" in children and "activation" in children:
            yield name, children.get("norm", children["linear"])


def _stack(settings: Settings, features: int, outputs: int) -> nn.Module:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number in range(1, settings.depth + 1):
        block = _block(settings, features if number == 1 else settings.width)
        layers[f"layer{number}"] = block if number == 1 else _skipped(settings, block)
    layers["head"] = nn.Linear(settings.width, outputs)
    return nn.Sequential(layers)


def _block(settings: Settings, features: int) -> nn.Module:
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    parts["linear"] = nn.Linear(features, settings.width)
    if settings.norm != "none":
        kind = nn.BatchNorm1d if settings.norm == "batch" else nn.LayerNorm
        parts["norm"] = kind(settings.width)
    parts["activation"] = activation(settings)
    return nn.Sequential(parts)


def _skipped(settings: Settings, block: nn.Module) -> nn.Module:
    if settings.skip == "sum":
        return Added(block)
    if settings.skip == "gated":
        return GatedResidual(block, "skipinit", depth=settings.depth)
    return block


def _cell(settings: Settings, features: int) -> nn.Module:
    width = settings.width
    if settings.cell == "lstm":
        return nn.LSTM(features, width, batch_first=True)
    if settings.cell == "gru":
        return nn.GRU(features, width, batch_first=True)
    if settings.activation in ("tanh", "relu"):
        return nn.RNN(features, width, nonlinearity=settings.activation, batch_first=True)
    return Recurrent(features, width, activation(settings))


@torch.no_grad()
def _fill(net: nn.Module, settings: Settings) -> None:
    """Weights by the rule that is chosen, biases zero; of stacked gates each matrix by itself."""
    generator = torch.Generator().manual_seed(settings.seed)
    gates = {"lstm": 4, "gru": 3}.get(settings.cell, 1)
    for name, parameter in net.named_parameters():
        if parameter.dim() == 2:
            parts = parameter.chunk(gates) if name.startswith("cell.") else (parameter,)
            for part in parts:
                _draw(part, settings, generator)
        elif name.rpartition(".")[2].startswith("bias"):
            parameter.zero_()


def _draw(weight: Tensor, settings: Settings, generator: torch.Generator) -> None:
    outputs, inputs = weight.shape
    rule = settings.initialisation
    if rule == "orthogonal":
        halved = settings.activation in ("relu", "leaky_relu", "prelu", "gelu", "silu")
        gain = math.sqrt(2) if halved and not settings.recurrent else 1.0
        nn.init.orthogonal_(weight, gain, generator=generator)
        return
    spread = {
        "small": SMALL / math.sqrt(inputs),
        "large": LARGE / math.sqrt(inputs),
        "he": math.sqrt(2 / inputs),
    }.get(rule, math.sqrt(2 / (inputs + outputs)))
    nn.init.normal_(weight, 0.0, spread, generator=generator)
