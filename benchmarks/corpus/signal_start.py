"""Faults of initialisation and activation: symmetry, scale, saturation, dead units."""

import random

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from corpus import data
from corpus.case import Case, Drawn
from corpus.nets import (
    AutoEncoder,
    Sequences,
    Transformer,
    adam,
    convnet,
    cross_entropy,
    he,
    mlp,
    resnet,
    sgd,
    squares,
    weighted,
)

ACTIVATIONS = (nn.ReLU, nn.Tanh, nn.GELU, nn.SiLU, nn.ELU)


def draw(seed: int, salt: str) -> random.Random:
    """Python's own generator for widths and depths; torch's is seeded for the weights."""
    torch.manual_seed(seed)
    return random.Random(f"{salt}:{seed}")


def zero_mlp(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "zero mlp")
    model = mlp(2, rng.choice((8, 16, 32)), rng.choice((1, 2, 3)), 2, nn.Tanh)
    if broken:
        for _, layer in weighted(model):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
    places = tuple(name for name, _ in weighted(model))
    return Drawn(cross_entropy(model, data.rings(seed)), places)


def constant_conv(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "constant conv")
    width = rng.choice((8, 12, 16))
    model = convnet(width, 2, 8, rng.choice((nn.ReLU, nn.GELU)))
    model = nn.Sequential(*model[:-3], nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 8))
    name, layer = weighted(model)[1]
    if broken:
        first = weighted(model)[0][1]
        nn.init.constant_(layer.weight, rng.choice((0.01, 0.02)))
        nn.init.constant_(layer.bias, 0.0)
        nn.init.constant_(first.weight, 0.05)
        nn.init.constant_(first.bias, 0.0)
        nn.init.constant_(weighted(model)[2][1].weight, 0.05)
    return Drawn(
        cross_entropy(model, data.pictures(seed, 8, 64), optimizer=adam(model, 1e-2)), (name, "0")
    )


def constant_lstm(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "constant lstm")
    model = Sequences(nn.LSTM, 6, rng.choice((12, 20)), 8)
    if broken:
        for parameter in model.memory.parameters():
            nn.init.constant_(parameter, 0.05)
        nn.init.constant_(model.head.weight, 0.1)
    pair = data.first_matters(seed, 4, classes=8, samples=128)
    return Drawn(cross_entropy(model, pair, optimizer=adam(model, 1e-2)), ("memory",))


def equal_rows(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "equal rows")
    model = mlp(8, rng.choice((16, 24)), 2, 1, rng.choice((nn.Tanh, nn.GELU)))
    if broken:
        with torch.no_grad():
            for layer in (model[0], model[2], model[4]):
                layer.weight.fill_(rng.uniform(0.05, 0.2))
                layer.bias.fill_(0.1)
    return Drawn(squares(model, data.table(seed), optimizer=adam(model)), ("0", "2"))


def tiny_normal(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "tiny normal")
    model = mlp(20, rng.choice((24, 48)), rng.randint(7, 12), 4, nn.ReLU)
    he(model)
    if broken:
        for _, layer in weighted(model):
            nn.init.normal_(layer.weight, std=rng.choice((0.005, 0.01)))
    return Drawn(cross_entropy(model, data.clusters(seed, 20, 4), optimizer=adam(model, 1e-3)))


def tiny_conv(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "tiny conv")
    model = he(
        convnet(rng.choice((8, 12)), rng.randint(7, 10), 4),
        rng.uniform(0.05, 0.12) if broken else 1,
    )
    return Drawn(cross_entropy(model, data.pictures(seed), optimizer=sgd(model, 0.02)))


def default_deep_relu(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "default deep relu")
    model = mlp(20, rng.choice((24, 32, 48)), rng.randint(24, 36), 4, nn.ReLU)
    if not broken:
        he(model)
    return Drawn(cross_entropy(model, data.clusters(seed, 20, 4), optimizer=adam(model, 1e-3)))


def small_tanh_autoencoder(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "small tanh autoencoder")
    inputs, _ = data.clusters(seed, 24, 6)
    model = AutoEncoder(24, (20, 16, 12, 8), nn.Tanh)
    for _, layer in weighted(model):
        nn.init.xavier_normal_(layer.weight, rng.uniform(0.1, 0.2) if broken else 1.0)
        nn.init.zeros_(layer.bias)
    return Drawn(squares(model, (inputs, inputs), optimizer=sgd(model, 0.3)))


def wide_tanh(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "wide tanh")
    width = rng.choice((24, 32, 40))
    model = he(
        mlp(20, width, rng.randint(8, 12), 6, nn.Tanh), rng.uniform(7, 12) if broken else 1, 1.0
    )
    pair = data.clusters(seed, 20, 6, samples=600, apart=0.5)
    return Drawn(cross_entropy(model, pair, optimizer=adam(model, 1e-3)))


def big_relu(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "big relu")
    model = he(mlp(20, 40, rng.randint(14, 20), 4), rng.uniform(2.5, 4) if broken else 1)
    return Drawn(cross_entropy(model, data.clusters(seed, 20, 4), optimizer=sgd(model, 0.02)))


def unit_normal_conv(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "unit normal conv")
    model = he(convnet(rng.choice((8, 12)), rng.randint(5, 8), 4, nn.ReLU))
    if broken:
        for _, layer in weighted(model):
            nn.init.normal_(layer.weight, std=1.0)
    return Drawn(cross_entropy(model, data.pictures(seed), optimizer=sgd(model, 0.1)))


def biased_sigmoid(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "biased sigmoid")
    model = mlp(12, rng.choice((16, 32)), 2, 3, nn.Sigmoid)
    if broken:
        nn.init.constant_(model[2].bias, rng.choice((-1, 1)) * rng.uniform(20, 40))
    return Drawn(cross_entropy(model, data.clusters(seed, 12, 3, apart=0.5)), ("3", "2"))


def loud_gate(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "loud gate")
    width = rng.choice((24, 32))
    model = nn.Sequential(
        nn.Linear(8, width), nn.GELU(), nn.Linear(width, 2), nn.Tanh(), *mlp(2, 24, 1, 1, nn.GELU)
    )
    if broken:
        with torch.no_grad():
            model[2].weight.mul_(rng.uniform(300, 900))
            model[2].bias.mul_(300)
    return Drawn(squares(model, data.table(seed), optimizer=adam(model)), ("3", "2"))


def dead_middle(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "dead middle")
    depth = rng.randint(3, 6)
    model = he(mlp(16, rng.choice((16, 32)), depth, 4))
    level = rng.randrange(1, depth)
    if broken:
        nn.init.constant_(model[2 * level].bias, -rng.uniform(20, 200))
    places = (str(2 * level + 1), str(2 * level))
    return Drawn(cross_entropy(model, data.clusters(seed, 16, 4), optimizer=adam(model)), places)


class Bottleneck(nn.Module):
    """Functional relus, one narrow layer whose bias can be far below zero."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.stem, self.squeeze = nn.Conv2d(3, width, 3, padding=1), nn.Conv2d(width, 4, 1)
        self.head = nn.Linear(4 * 9, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.squeeze(F.relu(self.stem(x), inplace=True)), inplace=True)
        return self.head(F.adaptive_avg_pool2d(x, 3).flatten(1))


def dead_squeeze(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "dead squeeze")
    model = Bottleneck(rng.choice((8, 16)))
    if broken:
        nn.init.constant_(model.squeeze.bias, -rng.uniform(30, 60))
    return Drawn(cross_entropy(model, data.pictures(seed)), ("", "squeeze"))


def dead_output(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "dead output")
    inputs, targets = data.table(seed)
    model = nn.Sequential(*mlp(8, rng.choice((16, 32)), 2, 1), nn.ReLU())
    if broken:
        nn.init.constant_(model[4].bias, -rng.uniform(8, 20))
    program = squares(model, (inputs, targets - targets.min()), optimizer=adam(model))
    return Drawn(program, ("5", "4"))


def dead_after_step(seed: int, broken: bool) -> Drawn:
    """The state that a step at a far too large rate left behind."""
    rng = draw(seed, "dead after step")
    model = he(mlp(8, rng.choice((24, 32)), 2, 1))
    inputs, targets = data.table(seed)
    if broken:
        with torch.no_grad():
            model[0].weight.mul_(3)
            for layer in (model[0], model[2]):
                layer.weight.abs_().neg_()
            model[2].bias.sub_(5)
    program = squares(model, (inputs, targets), optimizer=adam(model))
    return Drawn(program, ("3", "2", "1", "0"))


def zero_transformer(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "zero transformer")
    model, value = Transformer(60, 32, 2, 4), rng.choice((0.0, 0.02))
    if broken:
        for block in model.blocks:
            for layer in (block.up, block.down, block.attention.value, block.attention.out):
                nn.init.constant_(layer.weight, value)
                nn.init.zeros_(layer.bias)
        nn.init.zeros_(model.head.weight)
        nn.init.constant_(model.embed.weight, 0.1)
        nn.init.zeros_(model.place)
    return Drawn(
        cross_entropy(model, data.sentences(seed), optimizer=adam(model)),
        ("blocks", "embed", "head"),
    )


def unscaled_resnet_head(seed: int, broken: bool) -> Drawn:
    """A sigmoid on huge logits inside: a learned gate that is shut tight."""
    rng = draw(seed, "shut gate")
    model = resnet(8, rng.choice((1, 2)), 4)
    gate = nn.Sequential(nn.Linear(32, 32), nn.Sigmoid(), nn.Linear(32, 4))
    if broken:
        with torch.no_grad():
            gate[0].bias.sub_(rng.uniform(40, 80))
    model = nn.Sequential(model[:-1], gate)
    return Drawn(cross_entropy(model, data.pictures(seed)), ("1.1", "1.0"))


CASES = (
    Case("all weights zero", "mlp", zero_mlp, "symmetric-init"),
    Case("constant kernels", "cnn", constant_conv, "symmetric-init"),
    Case("constant LSTM", "rnn", constant_lstm, "symmetric-init"),
    Case("equal rows, regression", "regression", equal_rows, "symmetric-init"),
    Case("constant transformer", "transformer", zero_transformer, "symmetric-init"),
    Case("normal 0.01", "mlp", tiny_normal, "init-too-small", ("depth-decay", "collapsed-signal")),
    Case("small kernels", "cnn", tiny_conv, "init-too-small", ("depth-decay", "collapsed-signal")),
    Case(
        "torch's own, thirty deep",
        "mlp",
        default_deep_relu,
        "init-too-small",
        ("depth-decay", "collapsed-signal"),
    ),
    Case(
        "small tanh autoencoder",
        "autoencoder",
        small_tanh_autoencoder,
        "init-too-small",
        ("depth-decay",),
    ),
    Case(
        "loud tanh", "mlp", wide_tanh, "init-too-large", ("saturated-activation", "chaotic-signal")
    ),
    Case("loud relu", "mlp", big_relu, "init-too-large", ("depth-growth",)),
    Case("unit normal kernels", "cnn", unit_normal_conv, "init-too-large", ("depth-growth",)),
    Case("sigmoid pushed aside", "mlp", biased_sigmoid, "saturated-activation"),
    Case(
        "one loud tanh layer", "regression", loud_gate, "saturated-activation", ("init-too-large",)
    ),
    Case(
        "gate shut tight",
        "resnet",
        unscaled_resnet_head,
        "saturated-activation",
        ("init-too-large",),
    ),
    Case("dead layer", "mlp", dead_middle, "dead-units"),
    Case("dead squeeze", "cnn", dead_squeeze, "dead-units"),
    # One relu unit is the output: about half of the twins start dead, too.
    Case("dead output", "regression", dead_output, "dead-units", twinned=False),
    Case("dead after a step", "regression", dead_after_step, "dead-units"),
)
