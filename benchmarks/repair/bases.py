"""Known-good small programs, drawn by lot: what the mutations start from."""

import random

from repair.design import Design

OTHERWISE = {"adam": 2, "adamax": 3, "rmsprop": 4, "sgd": 0.5}
"""What the rates are multiplied by for regression, tried on good programs alone."""
RATES = {"adam": 3e-3, "sgd": 0.05, "rmsprop": 1e-3, "adamax": 6e-3, "adagrad": 0.03}
FLAT = ("digits", "spirals", "circles", "blobs", "wine", "cancer", "curve")
FAMILIES = (
    "mlp cnn mlp rnn mlp transformer mlp lstm mlp cnn mlp rnn mlp transformer mlp gru mlp cnn mlp lstm"
).split()
"""One base for each of twenty indices in turn: half are plain nets, as AUTOTRAINER's mostly are."""


def optimizer(draw: random.Random, family: str) -> tuple[str, float]:
    """Adam half of the time; the rate that goes with it, a little up or down."""
    others = ("sgd", "rmsprop", "adamax", "adagrad")
    sequences = family not in ("mlp", "cnn", "residual")
    usable = ("rmsprop", "adamax") if sequences else others
    name = "adam" if draw.random() < 0.5 else draw.choice(usable)
    rate = RATES[name] * draw.choice((0.7, 1.0, 1.4))
    if sequences:
        return name, 2 * rate  # the digits row by row are learned more slowly
    return name, rate / 2 if (name, family) == ("sgd", "cnn") else rate


def base(draw: random.Random, family: str) -> Design:
    """A known-good design of this family."""
    if family == "mlp":
        return plain(draw)
    if family == "cnn":
        return pictures(draw)
    return transformer(draw) if family == "transformer" else memory(draw, family)


def plain(draw: random.Random) -> Design:
    task = draw.choice(FLAT)
    depth, act = draw.randint(2, 4), draw.choice(("relu", "relu", "tanh", "elu", "gelu"))
    name, rate = optimizer(draw, "mlp")
    if task == "curve":
        rate *= OTHERWISE.get(name, 1)
    plane = task in ("spirals", "circles", "blobs")
    return Design(
        family="mlp",
        task=task,
        width=draw.choice((24, 32, 48) if plane or task == "curve" else (16, 32, 48)),
        activations=(act,) * depth,
        inits=(draw.choice(("he uniform", "glorot", "lecun uniform")),) * (depth + 1),
        optimizer=name,
        rate=rate,
        batch=32,
        steps=400 if task == "curve" else 300,
    )


def pictures(draw: random.Random) -> Design:
    depth = draw.randint(2, 3)
    name, rate = optimizer(draw, "cnn")
    return Design(
        family="cnn",
        task="digits 1x8x8",
        width=draw.choice((8, 12)),
        activations=(draw.choice(("relu", "relu", "tanh", "elu")),) * depth,
        inits=(draw.choice(("he uniform", "glorot", "lecun uniform")),) * (depth + 1),
        optimizer=name,
        rate=rate,
        batch=32,
        steps=250,
    )


def memory(draw: random.Random, family: str) -> Design:
    length = draw.choice((30, 40, 50, 60))
    task = draw.choice(("digits 8x8", "digits 16x4", f"first of {length}"))
    name, rate = optimizer(draw, family)
    bends = ("tanh", "tanh", "relu") if task.startswith("digits") else ("tanh",)
    return Design(
        family=family,
        task=task,
        width=24,
        activations=(draw.choice(bends),),
        inits=("orthogonal",),
        optimizer=name,
        rate=rate,
        batch=32,
        steps=300,
        keep=True,
    )


def transformer(draw: random.Random) -> Design:
    depth = draw.randint(1, 2)
    name, rate = optimizer(draw, "transformer")
    return Design(
        family="transformer",
        task="digits 8x8",
        width=draw.choice((16, 32)),
        activations=(draw.choice(("relu", "gelu")),) * depth,
        inits=("torch",) * (depth + 2),
        optimizer=name,
        rate=rate,
        batch=32,
        steps=250,
        order="pre",
    )
