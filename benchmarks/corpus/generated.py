"""The held-back third: random nets with a random fault, or a random harmless oddity.

Everything but the kind of fault is drawn: dense or convolutional, depth, width, activation, norm,
skips, where the fault sits and how strong it is. No threshold can have been fitted to them.
"""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from corpus import data
from corpus.case import Case, Drawn

SMOOTH = (nn.Tanh, nn.GELU, nn.SiLU, nn.ELU, nn.Softplus)
CLIPPED = (nn.ReLU, nn.LeakyReLU)


class Stage(nn.Module):
    """Weights, perhaps a norm, an activation, perhaps a skip around them; perhaps a fault."""

    def __init__(
        self, inside: int, width: int, conv: bool, act: Any, norm: bool, skip: bool
    ) -> None:
        super().__init__()
        self.weights: nn.Module = (
            nn.Conv2d(inside, width, 3, padding=1) if conv else nn.Linear(inside, width)
        )
        fan = self.weights.weight[0].numel()
        gain = 2.0 if act in CLIPPED else 1.5 if act in (nn.GELU, nn.SiLU) else 1.0
        nn.init.normal_(self.weights.weight, std=math.sqrt(gain / fan))
        nn.init.zeros_(self.weights.bias)
        kind = nn.BatchNorm2d if conv else nn.LayerNorm
        self.norm = kind(width) if norm else nn.Identity()
        self.act, self.skip, self.fault = act(), skip and inside == width, ""

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.norm(self.weights(x)))
        y = x + 0.5 * y if self.skip else y
        if self.fault == "detach":
            return y.detach()
        if self.fault == "numpy":
            return torch.from_numpy(y.detach().numpy().copy())
        if self.fault == "log":
            return torch.log(torch.relu(y) * (torch.rand_like(y) > 0.2))
        if self.fault == "sqrt":
            return torch.where(y > 0, torch.sqrt(y), y)
        return y


class Net(nn.Module):
    """Stages and a head; ``hidden`` keeps some stages in a plain list."""

    def __init__(self, stages: list[Stage], head: nn.Module, conv: bool) -> None:
        super().__init__()
        self.stages, self.head, self.conv = nn.ModuleList(stages), head, conv
        self.checkpointed = -1

    def forward(self, x: Tensor) -> Tensor:
        for number, stage in enumerate(self.stages):
            shut = number == self.checkpointed
            x = checkpoint(stage, x, use_reentrant=True) if shut else stage(x)
        return self.head(F.adaptive_avg_pool2d(x, 2).flatten(1) if self.conv else x)


class Hidden(Net):
    """The same with its stages where no module looks for them."""

    def __init__(self, net: Net) -> None:
        super().__init__([], net.head, net.conv)
        del self.stages
        object.__setattr__(self, "stages", list(net.stages))


@dataclass
class Draft:
    """A program being made."""

    rng: random.Random
    net: Net
    data: tuple[Tensor, Tensor]
    loss: Any
    rate: float = 2e-3
    kind: Any = torch.optim.Adam
    options: dict[str, Any] | None = None
    skipped: tuple[str, ...] = ()
    model: nn.Module | None = None

    def drawn(self, *where: str) -> Drawn:
        model = self.model or self.net
        kept = [
            p
            for n, p in model.named_parameters()
            if p.requires_grad and not any(n.startswith(s + ".") for s in self.skipped)
        ]
        optimizer = self.kind(kept, self.rate, **(self.options or {})) if kept else None
        program = {"model": model, "data": self.data, "loss": self.loss, "optimizer": optimizer}
        return Drawn(program, where)


def base(
    name: str,
    seed: int,
    acts: Any = (*SMOOTH, *CLIPPED),
    outputs: int = 4,
    conv: Any = None,
    norm: Any = None,
    skip: Any = None,
    depth: tuple[int, int] = (2, 6),
) -> Draft:
    """A random healthy net and task."""
    torch.manual_seed(seed)
    rng = random.Random(f"{name}/{seed}")
    conv = rng.random() < 0.4 if conv is None else conv
    norm = rng.random() < 0.4 if norm is None else norm
    skip = rng.random() < 0.4 if skip is None else skip
    width, act = rng.choice((8, 12) if conv else (20, 32, 48)), rng.choice(acts)
    features = 3 if conv else rng.choice((10, 16, 24))
    stages = [
        Stage(features if k == 0 else width, width, conv, act, norm, skip)
        for k in range(rng.randint(*depth))
    ]
    net = Net(stages, nn.Linear(4 * width if conv else width, outputs), conv)
    classes = 2 if outputs == 1 else outputs
    pair = data.pictures(seed, classes) if conv else data.clusters(seed, features, classes)
    return Draft(rng, net, pair, nn.CrossEntropyLoss())


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

CASES = tuple(
    broken(k, cause, fault, **more) for k, (cause, fault, more) in enumerate(ROWS)
) + tuple(harmless(k, why, oddity, **more) for k, (why, oddity, more) in enumerate(HARMLESS))
