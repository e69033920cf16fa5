"""The held-back third: random nets with a random fault, or a random harmless oddity.

Everything but the kind of fault is drawn: dense or convolutional, depth, width, activation, norm,
skips, where the fault sits and how strong it is; a second set is disguised on top of that. A
threshold cannot be fitted to a program that a new seed draws anew.
"""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from corpus import data
from corpus.case import Case, Drawn
from corpus.generated_nets import CLIPPED, SMOOTH, Draft, Hidden, base, disguised


def zeros(d: Draft) -> tuple[str, ...]:
    value = d.rng.choice((0.0, 0.0, d.rng.uniform(0.01, 0.1)))
    for part in d.net.modules():
        if isinstance(part, nn.Linear | nn.Conv2d):
            nn.init.constant_(part.weight, value)
    return ("stages", "head")


def shifted(low: float, high: float) -> Callable[[Draft], tuple[str, ...]]:
    def fault(d: Draft) -> tuple[str, ...]:
        level = d.rng.randrange(len(d.net.stages))
        nn.init.constant_(d.net.stages[level].weights.bias, -d.rng.uniform(low, high))
        return (f"stages.{level}",)

    return fault


def inside(*kinds: str) -> Callable[[Draft], tuple[str, ...]]:
    def fault(d: Draft) -> tuple[str, ...]:
        level = d.rng.randrange(len(d.net.stages))
        d.net.stages[level].fault = d.rng.choice(kinds)
        cut = kinds[0] in ("detach", "numpy")
        return tuple(f"stages.{k}" for k in range(level + 1)) if cut else (f"stages.{level}",)

    return fault


def hidden(d: Draft) -> tuple[str, ...]:
    d.model = Hidden(d.net)
    return ()


def left_out(d: Draft) -> tuple[str, ...]:
    level = d.rng.randrange(len(d.net.stages))
    d.skipped = (d.rng.choice((f"stages.{level}", "head")),)
    return d.skipped


def rated(low: float, high: float) -> Callable[[Draft], tuple[str, ...]]:
    def fault(d: Draft) -> tuple[str, ...]:
        d.rate = low * (high / low) ** d.rng.random()
        return ()

    return fault


def scaled_start(low: float, high: float) -> Callable[[Draft], tuple[str, ...]]:
    def fault(d: Draft) -> tuple[str, ...]:
        factor = d.rng.uniform(low, high)
        with torch.no_grad():
            for stage in d.net.stages:
                stage.weights.weight.mul_(factor)
        return ()

    return fault


def twice(d: Draft) -> tuple[str, ...]:
    d.model = nn.Sequential(d.net, nn.Softmax(1))
    d.kind, d.rate = torch.optim.SGD, 0.05
    return ()


def alone(d: Draft) -> tuple[str, ...]:
    d.model = nn.Sequential(d.net, nn.Softmax(1))
    return ()


def flattened(d: Draft) -> tuple[str, ...]:
    d.data = (d.data[0], d.data[1][:, 0])
    return ()


def linear(d: Draft) -> tuple[str, ...]:
    for stage in d.net.stages:
        stage.act = nn.Identity()
    return ()


def squashed(d: Draft) -> tuple[str, ...]:
    for stage in d.net.stages:
        stage.act = nn.Sigmoid()
    return ()


def reentrant(d: Draft) -> tuple[str, ...]:
    d.net.checkpointed = 0
    return ("stages.0",)


def uphill(d: Draft) -> tuple[str, ...]:
    d.options = {"maximize": True}
    return ()


def all_frozen(d: Draft) -> tuple[str, ...]:
    d.net.requires_grad_(False)
    return ()


def loud_data(d: Draft) -> tuple[str, ...]:
    d.data = (d.data[0] * 10 ** d.rng.uniform(2.5, 4), d.data[1])
    return ("stages.0",)


def binary(d: Draft) -> None:
    d.data, d.loss = (d.data[0], d.data[1].float()[:, None]), nn.BCELoss()
    d.model = nn.Sequential(d.net, nn.Sigmoid())


def regression(d: Draft) -> None:
    inputs, targets = data.table(d.rng.randrange(1000), d.net.stages[0].weights.in_features)
    d.data, d.loss = (inputs, targets), nn.MSELoss()


def rings(d: Draft) -> None:
    first = d.net.stages[0].weights
    inputs, labels = data.rings(d.rng.randrange(1000), 4)
    d.data = (F.pad(inputs, (0, first.in_features - 2)), labels)


def broken(
    number: int,
    cause: str,
    fault: Callable[[Draft], tuple[str, ...]],
    *,
    prepare: Any = None,
    also: tuple[str, ...] = (),
    steps: int = 0,
    check: str = "learns",
    training: int = 150,
    **shape: Any,
) -> Case:
    """One case of the held-back third."""
    name = f"held back {number:02d}, {cause}"

    def build(seed: int, ill: bool) -> Drawn:
        d = base(name, seed, **shape)
        if prepare is not None:
            prepare(d)
        return d.drawn(*(fault(d) if ill else ()))

    return Case(
        name, "generated", build, cause, also, steps, check, generated=True, training=training
    )


M, R = "moves", "raises"
DEEP = {"norm": False, "skip": False}
ROWS: tuple[tuple[str, Any, dict[str, Any]], ...] = (
    ("symmetric-init", zeros, {"norm": False}),
    ("symmetric-init", zeros, {"conv": False, "skip": False}),
    (
        "init-too-small",
        scaled_start(0.05, 0.2),
        {"depth": (8, 14), "also": ("depth-decay", "collapsed-signal"), **DEEP},
    ),
    (
        "init-too-small",
        scaled_start(0.02, 0.15),
        {"depth": (7, 12), "acts": CLIPPED, "also": ("depth-decay", "collapsed-signal"), **DEEP},
    ),
    (
        "init-too-large",
        scaled_start(5, 10),
        {
            "depth": (8, 12),
            "acts": (nn.Tanh,),
            "conv": False,
            "also": ("saturated-activation", "chaotic-signal"),
            **DEEP,
        },
    ),
    (
        "init-too-large",
        scaled_start(2.5, 4),
        {"depth": (14, 20), "acts": (nn.ReLU,), "also": ("depth-growth",), **DEEP},
    ),
    ("saturated-activation", shifted(25, 60), {"acts": (nn.Tanh, nn.Sigmoid), **DEEP}),
    ("dead-units", shifted(30, 90), {"acts": (nn.ReLU,), **DEEP}),
    ("dead-units", shifted(30, 90), {"acts": (nn.ReLU,), "conv": True, **DEEP}),
    ("depth-decay", squashed, {"acts": (nn.Tanh,), "depth": (10, 18), **DEEP}),
    ("depth-decay", squashed, {"acts": (nn.ReLU,), "depth": (10, 16), "conv": True, **DEEP}),
    ("detached", inside("detach"), {"check": M, "skip": False}),
    ("detached", inside("numpy"), {"check": M, "skip": False}),
    ("unregistered-module", hidden, {"check": M}),
    ("unregistered-module", hidden, {"check": M, "conv": True}),
    ("not-in-optimizer", left_out, {"check": M}),
    ("not-in-optimizer", left_out, {"check": M, "conv": True}),
    ("nothing-trainable", all_frozen, {"check": R}),
    ("frozen-by-checkpoint", reentrant, {"check": M}),
    ("frozen-by-checkpoint", reentrant, {"check": M, "conv": True}),
    ("single-unit-softmax", alone, {"outputs": 1, "prepare": binary}),
    ("single-unit-softmax", alone, {"outputs": 1, "prepare": binary, "conv": True}),
    ("double-softmax", twice, {"outputs": 8, "training": 60}),
    ("double-softmax", twice, {"outputs": 8, "conv": True, "training": 60}),
    (
        "broadcast-loss",
        flattened,
        {"outputs": 1, "conv": False, "prepare": regression, "check": "own loss"},
    ),
    ("no-nonlinearity", linear, {"conv": False, "prepare": rings, "depth": (3, 6), **DEEP}),
    ("nonfinite-forward", inside("log"), {"check": R, "norm": False, "skip": False}),
    (
        "nonfinite-backward",
        inside("sqrt"),
        {
            "check": R,
            "norm": False,
            "skip": False,
            "acts": (nn.Tanh, nn.GELU, nn.ELU),
            "also": ("nonfinite-forward",),
        },
    ),
    ("step-too-large", rated(0.5, 5), {"steps": 20}),
    ("step-too-large", rated(0.5, 5), {"steps": 20, "conv": True}),
    ("step-too-small", rated(1e-9, 1e-7), {"steps": 20}),
    ("wrong-sign", uphill, {"steps": 20, "check": "positive"}),
    (
        "unscaled-input",
        loud_data,
        {
            "steps": 20,
            "acts": (nn.Tanh, nn.Sigmoid),
            "also": ("saturated-activation",),
            "depth": (2, 3),
            **DEEP,
        },
    ),
)


def harmless(number: int, why: str, oddity: Callable[[Draft], None], **shape: Any) -> Case:
    name = f"held back healthy {number:02d}"

    def build(seed: int, ill: bool) -> Drawn:
        d = base(name, seed, **shape)
        oddity(d)
        return d.drawn()

    return Case(name, "generated", build, generated=True, suspicious=why, training=150)


def _frozen(d: Draft) -> None:
    for stage in d.net.stages[: d.rng.randrange(1, len(d.net.stages))]:
        stage.requires_grad_(False)


def _loud_loss(d: Draft) -> None:
    factor = 10 ** d.rng.uniform(-4, 4)
    d.loss = lambda out, labels: factor * F.cross_entropy(out, labels)


def _asleep(d: Draft) -> None:
    for stage in d.net.stages:
        if stage.skip:
            nn.init.zeros_(stage.weights.weight)
    nn.init.zeros_(d.net.head.weight)


def _one_sample_more(d: Draft) -> None:
    pieces = [slice(0, 16), slice(16, 32)]
    d.data = [(d.data[0][p], d.data[1][p]) for p in pieces]  # type: ignore[assignment]


def _stochastic(d: Draft) -> None:
    for stage in d.net.stages:
        stage.act = nn.Sequential(stage.act, nn.Dropout(d.rng.uniform(0.05, 0.4)))


HARMLESS: tuple[tuple[str, Any, dict[str, Any]], ...] = (
    ("drawn at random", lambda d: None, {}),
    ("drawn at random, deep", lambda d: None, {"depth": (6, 10)}),
    ("drawn at random, convolutions", lambda d: None, {"conv": True}),
    ("drawn at random, deep with skips", lambda d: None, {"depth": (10, 20), "skip": True}),
    ("some stages frozen", _frozen, {}),
    ("some stages frozen, convolutions", _frozen, {"conv": True}),
    ("loss times a power of ten", _loud_loss, {}),
    ("loss times a power of ten, norms", _loud_loss, {"norm": True}),
    ("zeros that wake up", _asleep, {"skip": True, "acts": SMOOTH}),
    ("zeros that wake up, norms", _asleep, {"skip": True, "norm": True, "acts": SMOOTH}),
    ("several small batches", _one_sample_more, {}),
    ("several small batches, convolutions", _one_sample_more, {"conv": True}),
    ("dropout everywhere", _stochastic, {}),
    ("regression", regression, {"outputs": 1, "conv": False}),
    ("binary", binary, {"outputs": 1}),
)

PLAIN = (
    *(broken(k, cause, fault, **more) for k, (cause, fault, more) in enumerate(ROWS)),
    *(harmless(k, why, oddity, **more) for k, (why, oddity, more) in enumerate(HARMLESS)),
)


def in_disguise(case: Case) -> Case:
    """The same kind of program, drawn anew and in another form."""

    def build(seed: int, ill: bool) -> Drawn:
        rng = random.Random(f"{case.name}/disguise/{seed}")
        drawn = case.build(seed + 5000, ill)
        split = isinstance(drawn.program["data"], list)
        return drawn if split else disguised(drawn, rng)

    return replace(case, name=f"{case.name}, disguised", build=build)


CASES = (*PLAIN, *(in_disguise(case) for case in PLAIN))
