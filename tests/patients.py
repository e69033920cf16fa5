"""Small programs with a known fault, and healthy ones that look suspicious: own code, own data.

A patient is a function of a seed that returns the arguments of ``diagnose``. SICK maps each to
the finding that must come first and a place it must name; HEALTHY ones must get no alarm.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

Program = dict[str, Any]
Patient = Callable[[int], Program]


def blobs(
    seed: int, samples: int = 64, features: int = 32, classes: int = 4
) -> tuple[Tensor, Tensor]:
    """Unit-variance samples whose class shifts them a little."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (samples,), generator=generator)
    centers = torch.randn(classes, features, generator=generator)
    return torch.randn(samples, features, generator=generator) + centers[labels], labels


def images(seed: int, samples: int = 16, classes: int = 4) -> tuple[Tensor, Tensor]:
    inputs, labels = blobs(seed, samples, 3 * 12 * 12, classes)
    return inputs.view(samples, 3, 12, 12), labels


def classify(model: nn.Module, data: Any, **more: Any) -> Program:
    return {"model": model, "data": data, "loss": nn.CrossEntropyLoss(), **more}


def plain(
    depth: int, activation: Callable[[], nn.Module], initialize: Any = None, width: int = 32
) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(width, width), activation()]
    model = nn.Sequential(*layers, nn.Linear(width, 4))
    if initialize is not None:
        for module in model:
            if isinstance(module, nn.Linear):
                initialize(module)
    return model


def he(scale: float = 1.0) -> Callable[[nn.Linear], None]:
    def initialize(layer: nn.Linear) -> None:
        nn.init.normal_(layer.weight, std=scale * math.sqrt(2 / layer.in_features))
        nn.init.zeros_(layer.bias)

    return initialize


def normal(std: float) -> Callable[[nn.Linear], None]:
    def initialize(layer: nn.Linear) -> None:
        nn.init.normal_(layer.weight, std=std)
        nn.init.zeros_(layer.bias)

    return initialize


def deep_sigmoid(seed: int) -> Program:
    torch.manual_seed(seed)
    return classify(plain(20, nn.Sigmoid), blobs(seed))


class FunctionalSigmoid(nn.Module):
    """No activation modules: everything is a function call."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(32, 32) for _ in range(depth))
        self.head = nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.sigmoid(layer(x))
        return self.head(x)


def functional_sigmoid(seed: int) -> Program:
    torch.manual_seed(seed)
    return classify(FunctionalSigmoid(16), blobs(seed))


def deep_relu_default(seed: int) -> Program:
    torch.manual_seed(seed)
    return classify(plain(30, nn.ReLU), blobs(seed))


def deep_tanh_default(seed: int) -> Program:
    torch.manual_seed(seed)
    return classify(plain(30, nn.Tanh), blobs(seed))


def small_normal_relu(seed: int) -> Program:
    torch.manual_seed(seed)
    return classify(plain(8, nn.ReLU, normal(0.01)), blobs(seed))


def large_normal_tanh(seed: int) -> Program:
    torch.manual_seed(seed)
    return classify(plain(10, nn.Tanh, normal(1.0), width=64), blobs(seed, features=64))


def large_relu(seed: int) -> Program:
    torch.manual_seed(seed)
    return classify(plain(20, nn.ReLU, he(3.0)), blobs(seed))


def batch_norm_tower(seed: int) -> Program:
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for _ in range(60):
        layers += [nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU()]
    return classify(nn.Sequential(*layers, nn.Linear(64, 4)), blobs(seed, features=64))


class Residual(nn.Module):
    def __init__(self, width: int, zero: bool = False) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)
        if zero:
            nn.init.zeros_(self.second.weight)
            nn.init.zeros_(self.second.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(torch.relu(self.first(x)))


class HeSum(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        he()(self.linear)

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.relu(self.linear(x))


def residual_growth(seed: int) -> Program:
    torch.manual_seed(seed)
    return classify(nn.Sequential(*[HeSum(32) for _ in range(80)], nn.Linear(32, 4)), blobs(seed))


def unscaled_input_tanh(seed: int) -> Program:
    torch.manual_seed(seed)
    inputs, labels = blobs(seed)
    return classify(plain(3, nn.Tanh), (inputs * 1000, labels))


def one_layer_far_too_large(seed: int) -> Program:
    torch.manual_seed(seed)
    model = plain(3, nn.Tanh)
    with torch.no_grad():
        model[2].weight *= 100
    return classify(model, blobs(seed))


def dead_layer(seed: int) -> Program:
    torch.manual_seed(seed)
    model = plain(3, nn.ReLU)
    nn.init.constant_(model[2].bias, -100.0)
    return classify(model, blobs(seed))


class Dead(nn.Module):
    """Convolutions; most channels of the second were pushed below zero."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 32, 3)
        self.head = nn.Linear(32, 4)
        with torch.no_grad():
            self.second.bias[:28] -= 50.0

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.second(F.relu(self.first(x), inplace=True)), inplace=True)
        return self.head(x.mean((2, 3)))


def dead_channels(seed: int) -> Program:
    torch.manual_seed(seed)
    return classify(Dead(), images(seed))


def zero_weights(seed: int) -> Program:
    return classify(plain(2, nn.Tanh, normal(0.0)), blobs(seed))


def constant_weights(seed: int) -> Program:
    def initialize(layer: nn.Linear) -> None:
        nn.init.constant_(layer.weight, 0.1)
        nn.init.zeros_(layer.bias)

    return classify(plain(3, nn.Tanh, initialize), blobs(seed))


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase], last: bool = True) -> None:
        super().__init__()
        self.memory, self.head, self.last = kind(4, 24, batch_first=True), nn.Linear(24, 4), last

    def forward(self, x: Tensor) -> Tensor:
        states = self.memory(x)[0]
        return self.head(states[:, -1] if self.last else states).flatten(0, -2)


def sequences(seed: int, steps: int, samples: int = 12) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(samples, steps, 4, generator=generator),
        torch.randint(4, (samples,), generator=generator),
    )


def long_rnn(seed: int) -> Program:
    torch.manual_seed(seed)
    return classify(Recurrent(nn.RNN), sequences(seed, 100))


def long_lstm(seed: int) -> Program:
    torch.manual_seed(seed)
    return classify(Recurrent(nn.LSTM), sequences(seed, 100))


class CellLoop(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.GRUCell(4, 24), nn.Linear(24, 4)

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(x.shape[0], 24)
        for step in range(x.shape[1]):
            state = self.cell(x[:, step], state)
        return self.head(state)


def long_cell_loop(seed: int) -> Program:
    torch.manual_seed(seed)
    return classify(CellLoop(), sequences(seed, 80))


def exploding_rnn(seed: int) -> Program:
    torch.manual_seed(seed)
    model = Recurrent(nn.RNN)
    model.memory.nonlinearity = "relu"
    model = nn.Sequential(_ReluRnn(), nn.Linear(24, 4))
    return classify(model, sequences(seed, 60))


class _ReluRnn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.memory = nn.RNN(4, 24, nonlinearity="relu", batch_first=True)
        nn.init.orthogonal_(self.memory.weight_hh_l0, gain=2.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.memory(x)[0][:, -1]


class Cut(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.body, self.head, self.how = (
            nn.Sequential(nn.Linear(32, 32), nn.ReLU()),
            nn.Linear(32, 4),
            how,
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "no_grad":
            with torch.no_grad():
                x = self.body(x)
        elif self.how == "detach":
            x = self.body(x).detach()
        else:
            x = torch.from_numpy(self.body(x).detach().numpy())
        return self.head(x)


def cut(how: str) -> Patient:
    def patient(seed: int) -> Program:
        torch.manual_seed(seed)
        return classify(Cut(how), blobs(seed))

    return patient


class InList(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = [nn.Linear(32, 32) for _ in range(3)]
        self.head = nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.relu(layer(x))
        return self.head(x)


def in_list(seed: int) -> Program:
    torch.manual_seed(seed)
    return classify(InList(), blobs(seed))


class LogOfZero(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.log(torch.relu(self.body(x)))


def log_of_zero(seed: int) -> Program:
    torch.manual_seed(seed)
    return {"model": LogOfZero(), "data": blobs(seed), "loss": lambda out, target: (out * 0).sum()}


class RootOfZero(nn.Module):
    """A length written out: its derivative at exactly zero is 0 / 0."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(32, 8, bias=False), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x)
        return self.head(x * torch.sqrt((x * x).sum(-1, keepdim=True)))


def root_of_zero(seed: int) -> Program:
    torch.manual_seed(seed)
    inputs, labels = blobs(seed)
    inputs[3] = 0
    return classify(RootOfZero(), (inputs, labels))


SICK: dict[str, tuple[Patient, str, str]] = {
    "deep sigmoid": (deep_sigmoid, "depth-decay", ""),
    "functional sigmoid": (functional_sigmoid, "depth-decay", "layers"),
    "deep relu, torch's initialisation": (deep_relu_default, "init-too-small", ""),
    "deep tanh, torch's initialisation": (deep_tanh_default, "init-too-small", ""),
    "relu, std 0.01": (small_normal_relu, "init-too-small", ""),
    "tanh, std 1": (large_normal_tanh, "init-too-large", ""),
    "relu, three times He": (large_relu, "init-too-large", ""),
    "batch norm tower": (batch_norm_tower, "depth-growth", ""),
    "unscaled residual sums": (residual_growth, "depth-growth", ""),
    "tanh on unscaled inputs": (unscaled_input_tanh, "unscaled-input", "0"),
    "one layer far too large": (one_layer_far_too_large, "saturated-activation", "3"),
    "dead layer": (dead_layer, "dead-units", "3"),
    "dead channels": (dead_channels, "dead-units", ""),
    "zero weights": (zero_weights, "symmetric-init", ""),
    "constant weights": (constant_weights, "symmetric-init", "0.weight"),
    "rnn over 100 steps": (long_rnn, "time-decay", "memory"),
    "lstm over 100 steps": (long_lstm, "time-decay", "memory"),
    "gru cell in a loop": (long_cell_loop, "time-decay", "cell"),
    "relu rnn, gain 2": (exploding_rnn, "time-growth", "memory"),
    "no_grad in the middle": (cut("no_grad"), "detached", "body"),
    "detach in the middle": (cut("detach"), "detached", ""),
    "numpy in the middle": (cut("numpy"), "detached", ""),
    "layers in a list": (in_list, "unregistered-module", ""),
    "log of zero": (log_of_zero, "nonfinite-forward", ""),
    "root of zero": (root_of_zero, "nonfinite-backward", ""),
}


def shallow_sigmoid(seed: int) -> Program:
    torch.manual_seed(seed)
    return classify(plain(3, nn.Sigmoid), blobs(seed))


def kaiming_relu(seed: int) -> Program:
    torch.manual_seed(seed)
    return classify(plain(10, nn.ReLU, he()), blobs(seed))


def he_residual(seed: int) -> Program:
    torch.manual_seed(seed)
    return classify(
        nn.Sequential(*[HeSum(64) for _ in range(30)], nn.Linear(64, 4)), blobs(seed, features=64)
    )


def zero_residual(seed: int) -> Program:
    torch.manual_seed(seed)
    return classify(
        nn.Sequential(*[Residual(32, zero=True) for _ in range(12)], nn.Linear(32, 4)), blobs(seed)
    )


def frozen_backbone(seed: int) -> Program:
    torch.manual_seed(seed)
    model = plain(4, nn.ReLU, he())
    for module in list(model)[:-1]:
        module.requires_grad_(False)
    return classify(model, blobs(seed))


class Lora(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Linear(32, 32).requires_grad_(False)
        self.a, self.b = nn.Linear(32, 4, bias=False), nn.Linear(4, 32, bias=False)
        nn.init.zeros_(self.b.weight)
        self.head = nn.Linear(32, 4).requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.base(x) + self.b(self.a(x))))


def lora(seed: int) -> Program:
    torch.manual_seed(seed)
    return classify(Lora(), blobs(seed))


class TwoHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head, self.other = nn.Linear(32, 32), nn.Linear(32, 4), nn.Linear(32, 7)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = torch.relu(self.body(x))
        return self.head(hidden), self.other(hidden)


def unused_head(seed: int) -> Program:
    torch.manual_seed(seed)
    return {
        "model": TwoHeads(),
        "data": blobs(seed),
        "loss": lambda outputs, labels: F.cross_entropy(outputs[0], labels),
    }


class BasicBlock(nn.Module):
    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outside)
        self.relu = nn.ReLU(inplace=True)
        self.down = None
        if stride > 1 or inside != outside:
            self.down = nn.Sequential(
                nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside)
            )

    def forward(self, x: Tensor) -> Tensor:
        out = self.norm2(self.conv2(self.relu(self.norm1(self.conv1(x)))))
        out += x if self.down is None else self.down(x)
        return self.relu(out)


def resnet(seed: int) -> Program:
    torch.manual_seed(seed)
    blocks = [
        BasicBlock(8, 8, 1),
        BasicBlock(8, 16, 2),
        BasicBlock(16, 16, 1),
        BasicBlock(16, 32, 2),
    ]
    stem = [nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True)]
    return classify(
        nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 4)),
        images(seed),
    )


class Encoder(nn.Module):
    def __init__(self, layers: int, norm_first: bool) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            32, 4, 64, dropout=0.1, batch_first=True, norm_first=norm_first
        )
        self.embed = nn.Embedding(50, 32)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(32, 4)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.encoder(self.embed(tokens)).mean(1))


def encoder(norm_first: bool) -> Patient:
    def patient(seed: int) -> Program:
        torch.manual_seed(seed)
        generator = torch.Generator().manual_seed(seed)
        tokens = torch.randint(50, (8, 12), generator=generator)
        return classify(
            Encoder(6, norm_first), (tokens, torch.randint(4, (8,), generator=generator))
        )

    return patient


def short_lstm(seed: int) -> Program:
    torch.manual_seed(seed)
    return classify(Recurrent(nn.LSTM), sequences(seed, 12))


def every_step_gru(seed: int) -> Program:
    torch.manual_seed(seed)
    inputs, _ = sequences(seed, 60)
    return classify(Recurrent(nn.GRU, last=False), (inputs, torch.randint(4, (12 * 60,))))


def sum_loss(seed: int) -> Program:
    torch.manual_seed(seed)
    return {
        "model": plain(4, nn.ReLU, he()),
        "data": blobs(seed),
        "loss": lambda out, labels: 100 * F.cross_entropy(out, labels, reduction="sum"),
    }


class SparseTokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.head = (
            nn.Embedding(20000, 16, padding_idx=0, sparse=True),
            nn.Linear(16, 4),
        )

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.table(tokens).mean(1))


def sparse_tokens(seed: int) -> Program:
    torch.manual_seed(seed)
    return classify(SparseTokens(), (torch.randint(20000, (16, 10)), torch.randint(4, (16,))))


class Gated(nn.Module):
    """Squeeze-and-excitation gates, SiLU, a checkpointed block."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, padding=1)
        self.squeeze, self.excite = nn.Conv2d(16, 4, 1), nn.Conv2d(4, 16, 1)
        self.last, self.head = nn.Conv2d(16, 16, 3, padding=1), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.silu(self.conv(x))
        gate = torch.sigmoid(self.excite(F.silu(self.squeeze(x.mean((2, 3), keepdim=True)))) - 12)
        x = x + checkpoint(lambda y: F.silu(self.last(y)), x * gate, use_reentrant=False)
        return self.head(x.mean((2, 3)))


def gated(seed: int) -> Program:
    torch.manual_seed(seed)
    return classify(Gated(), images(seed))


def converged(seed: int) -> Program:
    torch.manual_seed(seed)
    model, (inputs, labels) = plain(2, nn.Tanh), blobs(seed, samples=32)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(400):
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
    model.zero_grad()
    return classify(model, (inputs, labels))


HEALTHY: dict[str, Patient] = {
    "shallow sigmoid": shallow_sigmoid,
    "kaiming relu": kaiming_relu,
    "thirty He residual sums": he_residual,
    "zero-initialised residual branches": zero_residual,
    "frozen backbone": frozen_backbone,
    "lora, B = 0": lora,
    "head not in the loss": unused_head,
    "resnet": resnet,
    "pre-norm encoder": encoder(norm_first=True),
    "post-norm encoder": encoder(norm_first=False),
    "short lstm": short_lstm,
    "gru, loss at every step": every_step_gru,
    "sum-reduced loss": sum_loss,
    "sparse embedding": sparse_tokens,
    "closed gates": gated,
    "converged": converged,
}
