"""A program: its design and its twin's, built for a seed into what ``unvanish.treat`` takes."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from repair.design import Design
from repair.nets import build_net
from repair.tasks import Task, named
from unvanish.surgery.controls import Controls

Maker = Callable[..., torch.optim.Optimizer]
OPTIMIZERS: dict[str, Maker] = {
    "adam": torch.optim.Adam,
    "sgd": partial(torch.optim.SGD, momentum=0.9),
    "rmsprop": torch.optim.RMSprop,
    "adamax": torch.optim.Adamax,
    "adagrad": torch.optim.Adagrad,
}


@dataclass(slots=True)
class Built:
    """A program ready to train. The last three belong to the training loop.

    ``clip`` bounds the entries of the gradient, ``plateau`` halves the rate when the loss of an
    epoch has not fallen for three, ``controls`` is asked before the backward pass and the step.
    ``known`` are the parameters that the program came with, in its optimizer or not.
    """

    model: nn.Module
    data: list[tuple[Tensor, Tensor]]
    loss: Callable[[Tensor, Tensor], Tensor]
    optimizer: torch.optim.Optimizer
    task: Task
    held_out: Tensor
    steps: int
    clip: float | None = None
    plateau: bool = False
    controls: Controls | None = None
    known: frozenset[int] = frozenset()

    def mapping(self) -> dict[str, Any]:
        """What a target function gives: model, data, loss, optimizer."""
        names = ("model", "data", "loss", "optimizer")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True)
class Scaled:
    """A loss times a number."""

    loss: nn.Module
    factor: float

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self.factor * self.loss(outputs, targets)


@dataclass(frozen=True, slots=True)
class Program:
    """One program of the corpus. ``kinds`` are the mutations it went through, or what it looks like.

    ``program()`` is a target of ``unvanish`` (a function without arguments): its first seed.
    """

    name: str
    kinds: tuple[str, ...]
    design: Design
    base: Design

    @property
    def kind(self) -> str:
        return self.kinds[0] if len(set(self.kinds)) == 1 else "several"

    @property
    def fingerprint(self) -> str:
        """Changes when the design or its twin's does: records of another program are not taken."""
        return hashlib.sha256(repr((self.design, self.base)).encode()).hexdigest()[:12]

    def build(self, seed: int) -> Built:
        return build(self.design, seed)

    def twin(self, seed: int) -> Built:
        """The known-good one: unmutated, with the same data and kind of optimizer."""
        return build(self.base, seed)

    def __call__(self) -> dict[str, Any]:
        return self.build(0).mapping()


@cache
def _parts(name: str, raw: bool, size: int) -> tuple[list[tuple[Tensor, Tensor]], Tensor]:
    task = named(name)
    inputs, held_out = task.train[0], task.held_out[0]
    if raw:
        inputs, held_out = (x * task.raw + task.offset for x in (inputs, held_out))
    batches = zip(inputs.split(size), task.train[1].split(size), strict=True)
    return [(x, y) for x, y in batches if len(y) == size], held_out


def build(design: Design, seed: int) -> Built:
    """Model, data, loss and optimizer; the seed draws the initial values."""
    task = named(design.task)
    data, held_out = _parts(design.task, design.raw, design.batch)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build_net(design, task)
    loss: Any = nn.CrossEntropyLoss() if task.classes else nn.MSELoss()
    loss = Scaled(loss, design.loss_factor) if design.loss_factor != 1 else loss
    if design.frozen is not None:
        for part in layers(model)[slice(*design.frozen)]:
            part.requires_grad_(False)
    kept = list(model.parameters())
    if design.forgotten is not None:
        out = {id(p) for m in layers(model)[slice(*design.forgotten)] for p in m.parameters()}
        kept = [p for p in kept if id(p) not in out]
    optimizer = OPTIMIZERS[design.optimizer](kept, lr=design.rate)
    known = frozenset(id(p) for p in model.parameters())
    made = Built(model, list(data), loss, optimizer, task, held_out, design.steps, known=known)
    if design.trained:
        from repair.training import run

        run(made, seed + 500, design.trained)
    return made


def layers(model: nn.Module) -> list[nn.Module]:
    """The parts with parameters, from the input on: children of the model."""
    return [part for part in model.children() if any(True for _ in part.parameters())]
