"""Faults of depth and of time: decay, growth, collapse, chaos."""

import torch
from torch import Tensor, nn

from corpus import data
from corpus.case import Case, Drawn
from corpus.nets import (
    CellLoop,
    LinearSum,
    Sequences,
    Transformer,
    adam,
    convnet,
    cross_entropy,
    he,
    mlp,
    sgd,
    squares,
    weighted,
)
from corpus.signal_start import draw


def deep_sigmoid(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "deep sigmoid")
    width, depth = rng.choice((16, 32, 48)), rng.randint(9, 16)
    model = mlp(2, width, depth, 2, nn.Sigmoid if broken else nn.ReLU)
    if not broken:
        he(model)
    return Drawn(cross_entropy(model, data.rings(seed), optimizer=adam(model, 3e-3)))


class Functional(nn.Module):
    """No activation is a module, every layer in one ModuleList."""

    def __init__(self, width: int, depth: int, squash: bool) -> None:
        super().__init__()
        self.stack = nn.ModuleList(
            nn.Conv2d(3 if k == 0 else width, width, 3, padding=1) for k in range(depth)
        )
        self.head, self.squash = nn.Linear(width, 4), squash
        he(self)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.stack:
            x = layer(x).sigmoid_() if self.squash else torch.relu_(layer(x))
        return self.head(x.mean((2, 3)))


def sigmoid_conv(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "sigmoid conv")
    model = Functional(rng.choice((8, 12)), rng.randint(9, 13), broken)
    return Drawn(cross_entropy(model, data.pictures(seed)), ("stack",))


def sigmoid_autoencoder(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "sigmoid autoencoder")
    inputs, _ = data.clusters(seed, 20, 4)
    act = nn.Sigmoid if broken else nn.ReLU
    model = mlp(20, rng.choice((16, 24)), rng.randint(10, 14), 20, act)
    if not broken:
        he(model)
    return Drawn(squares(model, (inputs, inputs), optimizer=adam(model)))


def softsign_tower(seed: int, broken: bool) -> Drawn:
    """Tanh at torch's own initialisation (gain 1/3 a layer), very deep."""
    rng = draw(seed, "tanh tower")
    model = mlp(16, rng.choice((32, 48)), rng.randint(24, 34), 4, nn.Tanh)
    if not broken:
        he(model, gain=1.0)
    return Drawn(cross_entropy(model, data.clusters(seed, 16, 4), optimizer=sgd(model, 0.05)))


def batch_norm_tower(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "batch norm tower")
    depth = rng.randint(50, 70) if broken else 4
    model = mlp(16, 48, depth, 4, nn.ReLU, nn.BatchNorm1d)
    return Drawn(
        cross_entropy(model, data.clusters(seed, 16, 4, samples=64), optimizer=sgd(model, 0.1))
    )


def residual_sums(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "residual sums")
    depth, width = rng.randint(70, 100), 32
    blocks = [LinearSum(width, 1.0 if broken else depth**-1.0) for _ in range(depth)]
    model = nn.Sequential(*blocks, nn.Linear(width, 4))
    return Drawn(cross_entropy(model, data.clusters(seed, width, 4), optimizer=sgd(model, 0.02)))


def post_norm(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "post norm")
    model = Transformer(60, 32, rng.randint(24, 30), 8, post=broken)
    inputs, labels = data.sentences(seed, classes=8, samples=192)
    batches = list(zip(inputs.split(48), labels.split(48), strict=True))
    return Drawn(cross_entropy(model, batches, optimizer=adam(model, 5e-3)))


class NormTower(nn.Module):
    """Layer norm after every layer: norms stay flat whatever happens to the samples."""

    def __init__(self, width: int, depth: int, scale: float, bias: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(depth))
        self.head = nn.Linear(width, 4)
        he(self, scale, 1.0)
        for layer in self.layers:
            nn.init.normal_(layer.bias, std=bias)

    def forward(self, x: Tensor) -> Tensor:
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = norm(torch.tanh(layer(x)))
        return self.head(x)


def collapsed(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "collapsed")
    depth = rng.randint(30, 45)
    model = NormTower(32, depth, 0.3, 3.0) if broken else NormTower(32, 6, 1.0, 0.0)
    return Drawn(cross_entropy(model, data.clusters(seed, 32, 4), optimizer=sgd(model, 0.05)))


class Chaos(nn.Module):
    """tanh layers of a given gain; two coordinates in, zeros beside them."""

    def __init__(self, width: int, depth: int, scale: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.head = nn.Linear(width, 2)
        he(self, scale, 1.0)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.nn.functional.pad(x, (0, 62))
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return self.head(x)


def chaotic(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "chaotic")
    model = Chaos(64, rng.randint(20, 30) if broken else 6, 4.0 if broken else 1.0)
    return Drawn(cross_entropy(model, data.rings(seed), optimizer=adam(model, 1e-3)))


def forgetful(kind: str):
    """A recurrent net that must remember its first step; the twin's sequences are short."""

    def build(seed: int, broken: bool) -> Drawn:
        rng = draw(seed, kind)
        width, length = rng.choice((16, 24)), rng.randint(90, 120) if broken else 4
        if kind.endswith("cell"):
            cell = {"gru cell": nn.GRUCell, "lstm cell": nn.LSTMCell, "rnn cell": nn.RNNCell}[kind]
            model, place = CellLoop(cell, 6, width, 4), "cell"
        else:
            layer = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[kind]
            model, place = Sequences(layer, 6, width, 4, num_layers=rng.choice((1, 2))), "memory"
        inputs, labels = data.first_matters(seed, length, samples=256)
        batches = list(zip(inputs.split(64), labels.split(64), strict=True))
        return Drawn(cross_entropy(model, batches, optimizer=adam(model)), (place,))

    return build


class LoudRnn(nn.Module):
    """A relu recurrence with an orthogonal matrix of a given gain."""

    def __init__(self, width: int, gain: float) -> None:
        super().__init__()
        self.memory = nn.RNN(6, width, nonlinearity="relu", batch_first=True)
        nn.init.orthogonal_(self.memory.weight_hh_l0, gain=gain)
        self.head = nn.Linear(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.memory(x)[0][:, -1])


def loud_rnn(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "loud rnn")
    model = LoudRnn(rng.choice((16, 24)), rng.uniform(1.9, 2.4) if broken else 1.0)
    pair = data.first_matters(seed, 50 if broken else 5, samples=24)
    return Drawn(cross_entropy(model, pair, optimizer=adam(model)), ("memory",))


class Dynamics(nn.Module):
    """A linear state that doubles: h = A h + B x, read out at the end."""

    def __init__(self, width: int, gain: float) -> None:
        super().__init__()
        self.read, self.carry = nn.Linear(6, width), nn.Linear(width, width, bias=False)
        nn.init.orthogonal_(self.carry.weight, gain=gain)
        self.head = nn.Linear(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        state = torch.zeros(len(x), self.carry.in_features)
        for t in range(x.shape[1]):
            state = self.carry(state) + torch.tanh(self.read(x[:, t]))
        return self.head(state)


def doubling_state(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "doubling state")
    model = Dynamics(rng.choice((12, 20)), rng.uniform(1.6, 2.0) if broken else 0.9)
    pair = data.first_matters(seed, 45 if broken else 4, samples=24)
    return Drawn(cross_entropy(model, pair, optimizer=sgd(model, 0.02)), ("carry",))


def deep_default_conv(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "default conv")
    model = convnet(8, rng.randint(20, 26), 4)
    if not broken:
        he(model)
        for _, layer in weighted(model)[1:-1]:
            nn.init.dirac_(layer.weight)
    return Drawn(cross_entropy(model, data.pictures(seed), optimizer=adam(model, 1e-3)))


DEPTH = ("init-too-small", "collapsed-signal")
CASES = (
    Case("deep sigmoid on rings", "mlp", deep_sigmoid, "depth-decay"),
    Case("functional sigmoid convolutions", "cnn", sigmoid_conv, "depth-decay"),
    Case("deep sigmoid regression", "autoencoder", sigmoid_autoencoder, "depth-decay"),
    Case("tanh tower", "mlp", softsign_tower, "depth-decay", DEPTH),
    Case(
        "deep plain convolutions",
        "cnn",
        deep_default_conv,
        "init-too-small",
        ("depth-decay", "collapsed-signal"),
    ),
    Case("batch norm tower", "mlp", batch_norm_tower, "depth-growth", ("chaotic-signal",)),
    Case("residual sums", "resnet", residual_sums, "depth-growth"),
    Case(
        "post-norm, deep, no warm-up",
        "transformer",
        post_norm,
        "post-norm-depth",
        ("collapsed-signal", "step-too-large"),
        training=100,
    ),
    Case(
        "samples become alike",
        "mlp",
        collapsed,
        "collapsed-signal",
        ("saturated-activation", "init-too-small", "depth-decay"),
    ),
    Case(
        "neighbours become strangers",
        "mlp",
        chaotic,
        "chaotic-signal",
        ("init-too-large", "depth-growth", "saturated-activation"),
    ),
    *(
        Case(f"{kind} forgets", "rnn", forgetful(kind), "time-decay", training=120)
        for kind in ("rnn", "lstm", "gru", "gru cell", "lstm cell", "rnn cell")
    ),
    Case("loud relu rnn", "rnn", loud_rnn, "time-growth", training=120),
    Case("doubling state", "rnn", doubling_state, "time-growth", training=120),
)
