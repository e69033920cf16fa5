"""Tasks that come without a download: digits, almost linear; spirals and signed digits, which are not."""

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Task:
    """Standardised inputs and labels in three parts that do not overlap.

    Learning rates are chosen on ``validation``; ``test`` is looked at once, at the end.
    """

    name: str
    classes: int
    train: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


@cache
def digits() -> Task:
    """1,797 pictures of 8 x 8; a linear classifier reaches about 96 %."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    inputs = torch.tensor(pixels, dtype=torch.float32)
    return split("digits", inputs, torch.tensor(labels), 10)


@cache
def signed_digits() -> Task:
    """The same pictures, every other one (by lot) as its negative; a linear classifier gets 20 %."""
    plain = digits()
    generator = torch.Generator().manual_seed(2)
    parts = (
        ((2 * torch.randint(2, (len(labels), 1), generator=generator) - 1) * inputs, labels)
        for inputs, labels in (plain.train, plain.validation, plain.test)
    )
    return Task("signed digits", plain.classes, *parts)


@cache
def spirals() -> Task:
    """Two spirals of one and a half turns in the plane; a linear classifier guesses."""
    generator = torch.Generator().manual_seed(0)
    count = 1200
    labels = torch.arange(count) % 2
    along = torch.rand(count, generator=generator).sqrt()
    angle = 3 * math.pi * along + math.pi * labels
    points = torch.stack([along * angle.cos(), along * angle.sin()], 1)
    points += 0.01 * torch.randn(count, 2, generator=generator)
    return split("spirals", points, labels, 2)


def split(name: str, inputs: Tensor, labels: Tensor, classes: int) -> Task:
    """60, 15 and 25 % of the samples by lot; scaled by the training part."""
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))
    first, second = int(0.6 * len(order)), int(0.75 * len(order))
    parts = order[:first], order[first:second], order[second:]
    mean = inputs[parts[0]].mean(0)
    spread = inputs[parts[0]].std(0)
    scaled = (inputs - mean) / torch.where(spread > 0, spread, 1)
    scaled = scaled / scaled[parts[0]].square().mean().sqrt()
    train, validation, test = ((scaled[part], labels[part]) for part in parts)
    return Task(name, classes, train, validation, test)


TASKS = {"digits": digits, "signed digits": signed_digits, "spirals": spirals}
