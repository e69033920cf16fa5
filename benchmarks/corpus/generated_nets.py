"""Random nets and tasks: what the held-back third is drawn from."""

import math
import random
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from corpus import data
from corpus.case import Drawn

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


class Shell(nn.Module):
    """The user's net inside something else."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


def disguised(drawn: Drawn, rng: random.Random) -> Drawn:
    """The same program in another form; nothing that should change a verdict.

    In a shell, its loss times a power of ten (where Adam forgives it), its step as a function, its
    batch in two halves, in float64.
    """
    program, where, loss = dict(drawn.program), drawn.where, drawn.program["loss"]
    if rng.random() < 0.5:
        program["model"] = Shell(program["model"])
        where = tuple(f"inner.{place}" for place in where)
    optimizer = program["optimizer"]
    if isinstance(optimizer, torch.optim.Adam) and rng.random() < 0.5:
        factor = 10 ** rng.uniform(-2, 4)
        program["loss"] = lambda outputs, targets: factor * loss(outputs, targets)
    listed = isinstance(drawn.program["model"], Hidden)  # .double() does not reach a list
    if rng.random() < 0.3 and not listed:
        inputs, targets = program["data"]
        exact = targets.double() if targets.is_floating_point() else targets
        program["model"], program["data"] = program["model"].double(), (inputs.double(), exact)
    if rng.random() < 0.4:
        final = program["loss"]
        program["forward"] = lambda model, batch: final(model(batch[0]), batch[1])
        program["loss"] = None
    if rng.random() < 0.4:
        halves = [part.chunk(2) for part in program["data"]]
        program["data"] = list(zip(*halves, strict=True))
    return Drawn(program, where)
