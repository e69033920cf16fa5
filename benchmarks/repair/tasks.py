"""Small tasks that come without a download, each with a held-out part nobody trains on."""

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

HELD_OUT = 1000
"""Held-out samples of a task that is drawn: an accuracy is then known to 1.6 points at worst."""


@dataclass(frozen=True, slots=True)
class Task:
    """Inputs standardised by the training part. ``classes`` is ``None`` where a number is asked for.

    ``raw`` multiplies standardised inputs and ``offset`` is added to give them in their own units.
    """

    name: str
    classes: int | None
    train: tuple[Tensor, Tensor]
    held_out: tuple[Tensor, Tensor]
    raw: Tensor
    offset: Tensor

    @property
    def features(self) -> int:
        return self.train[0].shape[-1]

    @property
    def zero_skill(self) -> float:
        """What the best constant answer reaches: the largest class, or no variance explained."""
        if self.classes is None:
            return 0.0
        largest = int(self.train[1].bincount().argmax())
        return float((self.held_out[1] == largest).float().mean())

    def scores(self, outputs: Tensor) -> Tensor:
        """One number for each held-out sample; their mean is the metric, 1 is perfect.

        Right or wrong for classes; one minus squared error over variance for numbers, at least -1
        each, so that one wild answer does not outweigh all others. Answers that are not finite
        score nothing.
        """
        targets = self.held_out[1]
        if self.classes is not None:
            right = (outputs.argmax(1) == targets).float()
            return torch.where(outputs.isfinite().all(1), right, torch.zeros(()))
        lost = (outputs - targets).square() / targets.var(correction=0)
        return (1 - lost).nan_to_num(0.0, 0.0, 0.0).clamp(-1, 1)[:, 0]


def split(name: str, inputs: Tensor, targets: Tensor, classes: int | None, train: int) -> Task:
    """The first ``train`` samples by lot; scaled by them."""
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(1))
    first, second = order[:train], order[train : train + HELD_OUT]
    axes = tuple(range(inputs.dim() - 1))
    offset = inputs[first].mean(axes)
    raw = inputs[first].std(axes).clamp(min=1e-6) if axes else inputs[first].std()
    scaled = ((inputs - offset) / raw).clamp(-6, 6)
    parts = [(scaled[rows], targets[rows]) for rows in (first, second)]
    return Task(name, classes, parts[0], parts[1], raw, offset)


def generator(number: int) -> torch.Generator:
    return torch.Generator().manual_seed(number)


@cache
def digits(shape: tuple[int, ...]) -> Task:
    """1,797 pictures of 8 x 8, as 64 numbers, one channel, or a sequence of parts."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    inputs = (torch.tensor(pixels, dtype=torch.float32) - 4.88) / 6.02
    name = "digits" if len(shape) == 1 else f"digits {'x'.join(map(str, shape))}"
    parts = torch.randperm(len(labels), generator=generator(1)).split([1000, 797])
    targets = torch.tensor(labels)
    cut = [(inputs[rows].unflatten(1, shape), targets[rows]) for rows in parts]
    return Task(name, 10, cut[0], cut[1], torch.tensor(96.3), torch.tensor(78.0))  # 0 to 255


@cache
def table(name: str) -> Task:
    """Wine (178 samples, 13 features) or breast cancer (569, 30): features of very unlike size."""
    from sklearn.datasets import load_breast_cancer, load_wine

    found, targets = (load_wine if name == "wine" else load_breast_cancer)(return_X_y=True)
    inputs, labels = torch.tensor(found, dtype=torch.float32), torch.tensor(targets)
    return split(name, inputs, labels, int(labels.max()) + 1, 2 * len(labels) // 3)


@cache
def plane(name: str) -> Task:
    """Points in the plane: two spirals, two circles, or four blobs (of which three overlap)."""
    draw, count = generator(0), 512 + HELD_OUT
    labels = torch.arange(count) % (4 if name == "blobs" else 2)
    turn = torch.rand(count, generator=draw)
    noise = torch.randn(count, 2, generator=draw)
    if name == "blobs":
        angle = labels * math.pi / 2
        points = 2.5 * torch.stack([angle.cos(), angle.sin()], 1) + noise
        return split(name, points, labels, 4, 512)
    if name == "circles":
        angle, radius, size = 2 * math.pi * turn, 1 - 0.5 * labels, 0.1
    else:
        angle, radius, size = 2 * math.pi * turn.sqrt() + math.pi * labels, turn.sqrt(), 0.02
    points = radius[:, None] * torch.stack([angle.cos(), angle.sin()], 1) + size * noise
    return split(name, points, labels, 2, 512)


@cache
def curve() -> Task:
    """Regression: a smooth function of two of four numbers."""
    inputs = torch.randn(1024 + HELD_OUT, 4, generator=generator(3))
    targets = torch.sin(1.5 * inputs[:, :1]) + 0.7 * torch.tanh(2 * inputs[:, 1:2])
    return split("curve", inputs, (targets - targets.mean()) / targets.std(), None, 1024)


@cache
def first_step(length: int) -> Task:
    """Noise over ``length`` steps; the class (one of four) is written into the first one only."""
    draw = generator(4)
    count = 512 + HELD_OUT
    labels = torch.arange(count) % 4
    inputs = 0.3 * torch.randn(count, length, 4, generator=draw)
    inputs[torch.arange(count), 0, labels] += 3.0
    return split(f"first of {length}", inputs, labels, 4, 512)


@cache
def adding(length: int) -> Task:
    """The sum of the two marked numbers out of ``length`` (Hochreiter and Schmidhuber 1997)."""
    draw, count = generator(5), 1024 + HELD_OUT
    values = torch.rand(count, length, generator=draw)
    marks = torch.zeros(count, length)
    every, half = torch.arange(count), length // 2
    marks[every, torch.randint(half, (count,), generator=draw)] = 1
    marks[every, torch.randint(half, length, (count,), generator=draw)] = 1
    sums = (values * marks).sum(1, keepdim=True)
    inputs = torch.stack([values, marks], 2)
    return split(f"adding {length}", inputs, (sums - 1) / math.sqrt(1 / 6), None, 1024)


def named(name: str) -> Task:
    """The task of this name: ``"digits"``, ``"digits 8x8"``, ``"wine"``, ``"first of 30"``, ..."""
    kind, _, rest = name.partition(" ")
    if kind == "digits":
        return digits(tuple(int(part) for part in rest.split("x")) if rest else (64,))
    if kind in ("wine", "cancer"):
        return table(kind)
    if kind in ("first", "adding"):
        return (first_step if kind == "first" else adding)(int(rest.split()[-1]))
    return curve() if kind == "curve" else plane(kind)
