"""Faults of the step and of the data's scale."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from corpus import data
from corpus.case import Case, Drawn
from corpus.nets import (
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
)
from corpus.signal_start import draw


def rate(kind: str, low: float, high: float, right: float):
    """One architecture, one optimizer; a rate between low and high against the right one."""

    def build(seed: int, broken: bool) -> Drawn:
        rng = draw(seed, kind)
        value = low * (high / low) ** rng.random() if broken else right
        if kind.startswith("mlp"):
            model: nn.Module = he(mlp(16, rng.choice((24, 48)), 3, 4))
            program = cross_entropy(model, data.clusters(seed, 16, 4))
        elif kind.startswith("cnn"):
            model = convnet(8, 2, 4, nn.ReLU, norm=kind.endswith("small"))
            program = cross_entropy(model, data.pictures(seed))
        elif kind.startswith("resnet"):
            model = resnet(8, 2, 4)
            program = cross_entropy(model, data.pictures(seed))
        elif kind.startswith("transformer"):
            model = Transformer(60, 32, 2, 4)
            program = cross_entropy(model, data.sentences(seed))
        else:
            model = Sequences(nn.GRU, 6, 16, 4)
            program = cross_entropy(model, data.first_matters(seed, 6))
        make = sgd if " sgd" in kind else adam
        return Drawn({**program, "optimizer": make(model, value)})

    return build


def parabola(seed: int, broken: bool) -> Drawn:
    """Y = 5 x^2 on raw x in 0..5, plain SGD."""
    rng = draw(seed, "parabola")
    inputs = 5 * torch.rand(100, 1, generator=data.source(seed))
    targets = 5 * inputs**2 + torch.randn(100, 1, generator=data.source(seed + 1))
    model = mlp(1, rng.choice((30, 50)), 2, 1)
    if not broken:
        inputs, targets = inputs / 2.5 - 1, targets / targets.std()
    return Drawn(squares(model, (inputs, targets), optimizer=sgd(model, 0.1)))


def swallowed(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "swallowed")
    scale = 10 ** -rng.uniform(10, 12) if broken else 1.0
    model = mlp(16, rng.choice((24, 32)), 2, 4, nn.GELU)
    loss = lambda out, labels: scale * F.cross_entropy(out, labels)  # noqa: E731
    program = {"model": model, "data": data.clusters(seed, 16, 4), "loss": loss}
    return Drawn({**program, "optimizer": adam(model)})


def large_epsilon(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "large epsilon")
    model = Sequences(nn.LSTM, 6, rng.choice((16, 24)), 4)
    optimizer = adam(model, 3e-3, eps=rng.uniform(10, 100) if broken else 1e-8)
    return Drawn(cross_entropy(model, data.first_matters(seed, 6), optimizer=optimizer))


def decayed(kind: str):
    def build(seed: int, broken: bool) -> Drawn:
        rng = draw(seed, kind)
        if kind == "adamw":
            model: nn.Module = Transformer(60, 32, 1, 4)
            decay = rng.uniform(60, 120) if broken else 0.01
            optimizer: torch.optim.Optimizer = torch.optim.AdamW(
                model.parameters(), 3e-3, weight_decay=decay
            )
            return Drawn(cross_entropy(model, data.sentences(seed), optimizer=optimizer))
        model = he(mlp(16, rng.choice((24, 48)), 3, 4))
        optimizer = sgd(model, 0.05, weight_decay=rng.uniform(1.0, 3.0) if broken else 1e-4)
        return Drawn(cross_entropy(model, data.clusters(seed, 16, 4), optimizer=optimizer))

    return build


def raw_features(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "raw features")
    inputs, labels = data.clusters(seed, 12, 6, samples=400, apart=0.6)
    model = mlp(12, rng.choice((8, 12)), 2, 6, rng.choice((nn.Tanh, nn.Sigmoid)))
    if broken:
        inputs = rng.uniform(500, 2000) * (inputs + 3)
    return Drawn(cross_entropy(model, (inputs, labels), optimizer=adam(model, 1e-2)), ("1", "0"))


def one_raw_column(seed: int, broken: bool) -> Drawn:
    """One column in other units: its share of every sum is all of it."""
    rng = draw(seed, "raw column")
    inputs, targets = data.table(seed)
    if broken:
        inputs = inputs.clone()
        inputs[:, rng.randrange(8)] = 10 ** rng.uniform(3.5, 5) * (1 + inputs[:, 0].abs())
    model = mlp(8, rng.choice((24, 32)), 2, 1, nn.ReLU)
    return Drawn(squares(model, (inputs, targets), optimizer=sgd(model, 0.02)))


def raw_targets(kind: str):
    def build(seed: int, broken: bool) -> Drawn:
        rng = draw(seed, kind)
        inputs, targets = data.table(seed)
        model = mlp(8, rng.choice((24, 48)), 2, 1, nn.ReLU)
        if broken:
            targets = 10 ** rng.uniform(4, 5) * (targets + 3)
        optimizer = sgd(model, 0.05) if kind == "sgd" else adam(model, 3e-3)
        return Drawn(squares(model, (inputs, targets), optimizer=optimizer))

    return build


def uphill(kind: str):
    def build(seed: int, broken: bool) -> Drawn:
        rng = draw(seed, kind)
        if kind == "maximize":
            model: nn.Module = convnet(rng.choice((6, 8)), 2, 4)
            optimizer = sgd(model, 0.3, maximize=broken)
            return Drawn(cross_entropy(model, data.pictures(seed), optimizer=optimizer))
        model = mlp(16, rng.choice((24, 32)), 2, 4)
        sign = -1.0 if broken else 1.0

        def loss(out: Tensor, labels: Tensor) -> Tensor:
            if kind == "negative":
                return sign * F.cross_entropy(out, labels)
            return sign * -F.log_softmax(out, 1).gather(1, labels[:, None]).mean()

        program = {"model": model, "data": data.clusters(seed, 16, 4), "loss": loss}
        return Drawn({**program, "optimizer": adam(model)})

    return build


def shuffled_labels(seed: int, broken: bool) -> Drawn:
    """Labels that have nothing to do with the inputs, over many batches."""
    rng = draw(seed, "shuffled labels")
    inputs, labels = data.clusters(seed, 16, 4, samples=512)
    if broken:
        labels = torch.randint(4, (512,), generator=data.source(seed + 5))
    model = mlp(16, rng.choice((16, 24)), 1, 4)
    batches = list(zip(inputs.split(64), labels.split(64), strict=True))
    return Drawn(cross_entropy(model, batches, optimizer=adam(model)))


def _rates() -> tuple[Case, ...]:
    rows = (
        ("mlp sgd large", 5, 20, 0.05, "step-too-large"),
        ("cnn adam large", 0.5, 3, 3e-3, "step-too-large"),
        ("transformer sgd large", 30, 100, 0.1, "step-too-large"),
        ("rnn sgd large", 50, 200, 0.3, "step-too-large"),
        ("mlp sgd small", 1e-7, 1e-5, 0.1, "step-too-small"),
        ("cnn adam small", 1e-9, 1e-7, 3e-3, "step-too-small"),
        ("resnet sgd small", 1e-8, 1e-6, 0.05, "step-too-small"),
        ("rnn adam small", 1e-8, 1e-7, 5e-3, "step-too-small"),
    )
    return tuple(
        Case(f"rate, {kind}", kind.split()[0], rate(kind, low, high, right), cause, steps=20)
        for kind, low, high, right, cause in rows
    )


K = 20
CASES = (
    *_rates(),
    Case(
        "raw parabola",
        "regression",
        parabola,
        "step-too-large",
        ("unscaled-target", "unscaled-input"),
        K,
    ),
    Case("loss of 1e-11 under Adam", "mlp", swallowed, "epsilon-dominated", (), K, check="scaled"),
    Case(
        "epsilon far too large", "rnn", large_epsilon, "epsilon-dominated", ("step-too-small",), K
    ),
    Case(
        "AdamW, decay 100",
        "transformer",
        decayed("adamw"),
        "weight-decay-dominates",
        ("step-too-large",),
        K,
    ),
    Case("SGD, decay 2", "mlp", decayed("sgd"), "weight-decay-dominates", (), K),
    Case(
        "raw features into tanh",
        "mlp",
        raw_features,
        "unscaled-input",
        ("saturated-activation",),
        K,
    ),
    Case("one raw column", "regression", one_raw_column, "unscaled-input", ("step-too-large",), K),
    Case(
        "raw targets, SGD",
        "regression",
        raw_targets("sgd"),
        "unscaled-target",
        ("step-too-large",),
        K,
    ),
    Case(
        "raw targets, Adam",
        "regression",
        raw_targets("adam"),
        "unscaled-target",
        ("step-too-small",),
        K,
        check="scaled",
    ),
    Case("maximize", "cnn", uphill("maximize"), "wrong-sign", (), K, check="positive"),
    Case(
        "negative cross entropy", "mlp", uphill("negative"), "wrong-sign", (), K, check="positive"
    ),
    Case("sign lost by hand", "mlp", uphill("by hand"), "wrong-sign", (), K, check="positive"),
    Case("shuffled labels", "mlp", shuffled_labels, "nothing-to-learn", (), K, training=160),
)
