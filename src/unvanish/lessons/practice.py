"""A lesson's program trained for a while by a plain loop, and asked about samples it has not seen."""

import contextlib
import itertools
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from unvanish.languages import figure, filled
from unvanish.languages import gettext as _
from unvanish.lessons.lesson import Maker, Program
from unvanish.randomness import seeded

STEPS = 100
RATE = 1e-3
"""Of Adam, where the program brings no optimizer: torch's default."""
SHARE = 0.5
"""Of each batch that is trained on; the rest is kept to be asked about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Practice:
    """What a training of a few steps shows.

    ``losses`` of the samples trained on, before each step; ``unseen`` the loss of those kept back, at
    the end, ``right`` the share of right answers among them (``None`` where there are no classes);
    ``moved`` of ``tensors`` parameter tensors are not what they were.
    """

    losses: tuple[float, ...]
    unseen: float
    right: float | None
    moved: int
    tensors: int


def practise(make: Maker, steps: int = STEPS, seed: int = 0) -> Practice:
    """Train the program that ``make`` makes, on half of its samples, by its own step or optimizer.

    The random state of Python, numpy and torch is afterwards what it was before.

    >>> from unvanish.lessons import lesson
    >>> practise(lesson("detached").sick, steps=3).moved
    2
    """
    with seeded(seed), torch.enable_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of two of the faults; the lesson tells them
        program = make(seed)
        model: nn.Module = program["model"]
        before = [parameter.detach().clone() for parameter in model.parameters()]
        losses = tuple(_train(program, model, steps))
        unseen, right = _asked(program, model)
        after = list(model.parameters())
    moved = sum(not torch.equal(old, new) for old, new in zip(before, after, strict=True))
    return Practice(losses=losses, unseen=unseen, right=right, moved=moved, tensors=len(after))


def compared(sick: Practice, well: Practice) -> list[tuple[str, str, str]]:
    """What was measured, of the sick program, of the cured one; as text of the moment's language."""
    last = filled(_("loss after {steps} steps"), steps=len(sick.losses) - 1)
    rows = [
        _row(_("loss at the start"), ".4g", sick.losses[0], well.losses[0]),
        _row(last, ".4g", sick.losses[-1], well.losses[-1]),
    ]
    if sick.right is not None and well.right is not None:
        rows.append(_row(_("right answers on unseen samples"), ".0%", sick.right, well.right))
    else:
        rows.append(_row(_("loss on unseen samples"), ".4g", sick.unseen, well.unseen))
    moved = [
        filled(_("{count} of {all}"), count=one.moved, all=one.tensors) for one in (sick, well)
    ]
    return [*rows, (_("weight tensors that moved"), moved[0], moved[1])]


def _row(what: str, specification: str, sick: float, well: float) -> tuple[str, str, str]:
    return what, figure(sick, specification), figure(well, specification)


def _train(program: Program, model: nn.Module, steps: int) -> Iterator[float]:
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimizer = program.get("optimizer") or torch.optim.Adam(trainable, RATE)
    halves = [tuple(part[: _kept(part)] for part in batch) for batch in _batches(program)]
    for batch in itertools.islice(itertools.cycle(halves), steps):
        if "step" in program:
            with torch.no_grad():
                yield _loss(program, model, batch).item()
            program["step"](model, optimizer, batch)
            continue
        optimizer.zero_grad()
        loss = _loss(program, model, batch)
        yield loss.item()
        loss.backward()
        optimizer.step()


def _asked(program: Program, model: nn.Module) -> tuple[float, float | None]:
    """The loss of the samples kept back, and the share of right answers among them."""
    losses: list[float] = []
    right: list[float] = []
    with torch.no_grad():
        for batch in _batches(program):
            rest = tuple(part[_kept(part) :] for part in batch)
            losses.append(_loss(program, model, rest).item())
            with contextlib.suppress(Exception):  # a program of its own kind of forward
                right += _right(model(rest[0]), rest[1])
    return math.fsum(losses) / len(losses), sum(right) / len(right) if right else None


def _right(outputs: Tensor, targets: Tensor) -> list[float]:
    """1 for each right answer; empty where the targets are no classes."""
    if targets.dtype == torch.long and outputs.ndim == 2 and targets.ndim == 1:
        return (outputs.argmax(1) == targets).float().tolist()
    return []


def _loss(program: Program, model: nn.Module, batch: tuple[Any, ...]) -> Tensor:
    if "forward" in program:
        return program["forward"](model, batch)
    return program["loss"](model(batch[0]), batch[1])


def _batches(program: Program) -> list[tuple[Any, ...]]:
    data = program["data"]
    return [data] if isinstance(data, tuple) else list(data)


def _kept(part: Any) -> int:
    return max(1, round(SHARE * len(part)))
