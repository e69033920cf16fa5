"""The nets of the repair corpus, built from a design: plain, convolutional, recurrent, attention."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from repair.design import Design
from repair.starts import initialise, initialise_weight
from repair.tasks import Task


class Exponential(nn.Module):
    """exp(x), an activation that Keras offers."""

    def forward(self, x: Tensor) -> Tensor:
        return x.exp()


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "leaky": nn.LeakyReLU,
    "softplus": nn.Softplus,
    "softsign": nn.Softsign,
    "sigmoid": nn.Sigmoid,
    "hardsigmoid": nn.Hardsigmoid,
    "exponential": Exponential,
    "linear": nn.Identity,
    "softmax": lambda: nn.Softmax(-1),
}
WEIGHTED = (nn.Linear, nn.Conv2d)


class Detach(nn.Module):
    """Cuts the gradient, as a careless ``.detach()`` does."""

    def forward(self, x: Tensor) -> Tensor:
        return x.detach()


class Residual(nn.Module):
    """x + scale * branch(x), the branch normed first or not."""

    def __init__(self, branch: nn.Module, scale: float) -> None:
        super().__init__()
        self.branch, self.scale = branch, scale

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale * self.branch(x)


class Mean(nn.Module):
    """The mean over positions."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)


class Reader(nn.Module):
    """A recurrent module and a linear layer that reads its last state."""

    def __init__(self, memory: nn.RNNBase, outputs: int) -> None:
        super().__init__()
        self.memory, self.head = memory, nn.Linear(memory.hidden_size, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.memory(x)[0][:, -1])


class Positions(nn.Module):
    """Tokens to vectors of the model's width, with a learned vector for each place added."""

    def __init__(self, features: int, places: int, width: int) -> None:
        super().__init__()
        self.embed = nn.Linear(features, width)
        self.place = nn.Parameter(0.1 * torch.randn(places, width))

    def forward(self, x: Tensor) -> Tensor:
        return self.embed(x) + self.place


class Block(nn.Module):
    """Attention, then two layers: normed before (``"pre"``), after (``"post"``), or bare."""

    def __init__(self, width: int, act: nn.Module, order: str) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, 4, batch_first=True)
        self.up, self.act, self.down = nn.Linear(width, width), act, nn.Linear(width, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.order = order

    def attend(self, x: Tensor) -> Tensor:
        return self.attention(x, x, x, need_weights=False)[0]

    def forward(self, x: Tensor) -> Tensor:
        feed: Callable[[Tensor], Tensor] = lambda y: self.down(self.act(self.up(y)))  # noqa: E731
        if self.order == "pre":
            x = x + self.attend(self.norm1(x))
            return x + feed(self.norm2(x))
        if self.order == "post":
            x = self.norm1(x + self.attend(x))
            return self.norm2(x + feed(x))
        return feed(self.attend(x))


def dense(design: Design, task: Task, outputs: int) -> nn.Module:
    parts: list[nn.Module] = []
    inside = task.features
    for level, name in enumerate(design.activations):
        parts.append(nn.Linear(inside, design.width))
        if design.norm:
            parts.append(nn.BatchNorm1d(design.width))
        parts.append(ACTIVATIONS[name]())
        inside = design.width
        if level == design.detached:
            parts.append(Detach())
    return nn.Sequential(*parts, nn.Linear(inside, outputs))


def residual(design: Design, task: Task, outputs: int) -> nn.Module:
    width, blocks = design.width, len(design.activations)
    body = [
        Residual(
            nn.Sequential(
                *([nn.LayerNorm(width)] if design.norm else []),
                nn.Linear(width, width),
                ACTIVATIONS[name](),
                nn.Linear(width, width),
            ),
            1.0 if design.norm else 1 / math.sqrt(blocks),
        )
        for name in design.activations
    ]
    return nn.Sequential(nn.Linear(task.features, width), *body, nn.Linear(width, outputs))


def convolutional(design: Design, task: Task, outputs: int) -> nn.Module:
    parts: list[nn.Module] = []
    inside = 1
    for level, name in enumerate(design.activations):
        parts.append(nn.Conv2d(inside, design.width, 3, padding=1))
        if design.norm:
            parts.append(nn.BatchNorm2d(design.width))
        act = nn.Softmax(1) if name == "softmax" else ACTIVATIONS[name]()
        parts.append(act)
        inside = design.width
        if level in (0, 1):  # 8 x 8 to 4 x 4 to 2 x 2
            parts.append(nn.MaxPool2d(2))
        if level == design.detached:
            parts.append(Detach())
    return nn.Sequential(*parts, nn.Flatten(), nn.Linear(inside * 4, outputs))


def recurrent(design: Design, task: Task, outputs: int) -> nn.Module:
    depth = len(design.activations)
    if design.family == "rnn":
        kind = "relu" if design.activations[0] == "relu" else "tanh"
        memory: nn.RNNBase = nn.RNN(
            task.features, design.width, depth, nonlinearity=kind, batch_first=True
        )
    else:
        cell = nn.LSTM if design.family == "lstm" else nn.GRU
        memory = cell(task.features, design.width, depth, batch_first=True)
    return Reader(memory, outputs)


def attention(design: Design, task: Task, outputs: int) -> nn.Module:
    places = task.train[0].shape[1]
    parts: list[nn.Module] = [Positions(task.features, places, design.width)]
    for level, name in enumerate(design.activations):
        parts.append(Block(design.width, ACTIVATIONS[name](), design.order))
        if level == design.detached:
            parts.append(Detach())
    return nn.Sequential(*parts, Mean(), nn.Linear(design.width, outputs))


@torch.no_grad()
def start_recurrent(memory: nn.RNNBase, design: Design, length: int) -> None:
    """Recurrent weights by the design's method; gates that keep for about the task's length.

    Forget biases after Tallec and Ollivier 2018 (arXiv:1804.11188); with ``shut`` the gates forget
    at once.
    """
    for name, weight in memory.named_parameters():
        if "weight_hh" in name:
            for part in weight.chunk(len(weight) // design.width):
                initialise_weight(part, design.inits[0])
        elif "bias" in name and design.family == "lstm" and (design.keep or design.shut):
            weight.zero_()
            if "bias_ih" in name:
                gate = slice(design.width, 2 * design.width)
                kept = torch.empty(design.width).uniform_(1, max(length - 1, 2)).log()
                weight[gate] = -4.0 if design.shut else kept
                weight[: design.width] = 0.0 if design.shut else -kept


def build_net(design: Design, task: Task) -> nn.Module:
    """The net of a design with its initial values, drawn from torch's random state."""
    makers = {"mlp": dense, "residual": residual, "cnn": convolutional, "transformer": attention}
    model = makers.get(design.family, recurrent)(design, task, task.classes or 1)
    if isinstance(model, Reader):
        start_recurrent(model.memory, design, task.train[0].shape[1])
        return model
    weighted = [m for m in model.modules() if type(m) in WEIGHTED]
    for level, part in enumerate(weighted):
        # Of a stack of blocks every layer of a block has its method; the head has the last one.
        share = level * len(design.inits) // len(weighted)
        initialise(part, design.inits[share])
        if design.bias and level < len(weighted) - 1:
            nn.init.constant_(part.bias, design.bias)
    if design.twice:
        assert isinstance(model, nn.Sequential)
        model.append(nn.Softmax(1))
    return model
