"""Programs that learn, many of which look ill to a rule: what a treatment must leave alone."""

import random
from collections.abc import Callable
from dataclasses import replace

from repair.bases import FAMILIES, base, optimizer
from repair.design import Design
from repair.programs import Program

COUNT = 240


def narrow_tanh(draw: random.Random, index: int) -> Design:
    """Narrow tanh nets whose gradient is larger at the first layer than at the last."""
    depth = draw.randint(5, 12)
    return Design(
        family="mlp",
        task=draw.choice(("circles", "blobs")),
        width=draw.choice((8, 12, 16)),
        activations=("tanh",) * depth,
        inits=("he uniform",) * (depth + 1),
        optimizer="adam",
        rate=3e-3 * draw.choice((1.0, 1.5)),
        batch=32,
        steps=400,
    )


def deep_residual(draw: random.Random, index: int) -> Design:
    depth, (name, rate) = draw.randint(8, 16), optimizer(draw, "residual")
    return Design(
        family="residual",
        task=draw.choice(("digits", "cancer", "blobs")),
        width=24,
        activations=(draw.choice(("relu", "tanh", "gelu")),) * depth,
        inits=(draw.choice(("torch", "lecun uniform")),) * (2 * depth + 2),
        optimizer=name,
        rate=rate / 3,
        batch=32,
        steps=200,
        norm=draw.random() < 0.5,
    )


def pre_norm(draw: random.Random, index: int) -> Design:
    depth = draw.randint(3, 6)
    return Design(
        family="transformer",
        task="digits 8x8",
        width=32,
        activations=(draw.choice(("relu", "gelu")),) * depth,
        inits=("torch",) * (depth + 2),
        optimizer="adam",
        rate=2e-3,
        batch=32,
        steps=200,
    )


def small_gradients(draw: random.Random, index: int) -> Design:
    """A loss in small units: Adam's steps do not know of it."""
    design = base(draw, draw.choice(("mlp", "cnn")))
    return replace(design, optimizer="adam", rate=3e-3, loss_factor=10 ** -draw.uniform(1, 3))


def already_trained(draw: random.Random, index: int) -> Design:
    design = base(draw, draw.choice(("mlp", "cnn", "rnn")))
    return replace(design, trained=2 * design.steps)


def normed(draw: random.Random, index: int) -> Design:
    """Deep with batch norm, also sigmoid nets that would be ill without it."""
    depth = draw.randint(6, 12)
    return Design(
        family=draw.choice(("mlp", "cnn")),
        task="digits",
        width=24,
        activations=(draw.choice(("relu", "tanh", "silu")),) * depth,
        inits=("torch",) * (depth + 1),
        optimizer="adam",
        rate=3e-3,
        batch=32,
        steps=200,
        norm=True,
    )


def self_normalising(draw: random.Random, index: int) -> Design:
    """Deep and plain, with weights that suit the activation."""
    act, init = draw.choice(
        (("selu", "lecun uniform"), ("tanh", "orthogonal"), ("relu", "he normal"))
    )
    depth = draw.randint(6, 10)
    return Design(
        family="mlp",
        task=draw.choice(("digits", "cancer", "blobs", "circles")),
        width=48,
        activations=(act,) * depth,
        inits=(init,) * (depth + 1),
        optimizer="adam",
        rate=1e-3,
        batch=32,
        steps=300,
    )


def ordinary(draw: random.Random, index: int) -> Design:
    return base(draw, FAMILIES[index % len(FAMILIES)])


KINDS: dict[str, Callable[[random.Random, int], Design]] = {
    "narrow tanh": narrow_tanh,
    "deep residual": deep_residual,
    "pre-norm": pre_norm,
    "small loss": small_gradients,
    "trained": already_trained,
    "batch norm": normed,
    "self-normalising": self_normalising,
    "ordinary": ordinary,
}


def healthy(index: int) -> Program:
    """The healthy program of this index: always the same one. It is its own twin."""
    kind = list(KINDS)[index % len(KINDS)]
    design = KINDS[kind](random.Random(9_000_011 + index), index // len(KINDS))
    if design.family == "cnn":
        design = replace(design, task="digits 1x8x8")
    return Program(f"h{index:03d} {kind}", (kind,), design, design)
