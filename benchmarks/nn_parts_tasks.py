"""The tasks: one that a linear model nearly does, those that it cannot, and two over time."""

import math
from dataclasses import dataclass

import torch
from sklearn.datasets import load_digits
from torch import Tensor


@dataclass(frozen=True)
class Task:
    """Samples by features (or by steps by features), classes, and the budget."""

    name: str
    inputs: Tensor
    targets: Tensor
    classes: int
    steps: int
    rates: tuple[float, ...]

    @property
    def features(self) -> int:
        return self.inputs.shape[-1]


def digits() -> Task:
    data = load_digits()
    x = torch.tensor(data.data, dtype=torch.float32)
    x = (x - x.mean(0)) / (x.std(0) + 1e-6)
    x = x / x.square().mean().sqrt()
    return Task("digits", x, torch.tensor(data.target), 10, 200, (1e-3, 3e-3, 1e-2))


def spirals(count: int = 1200) -> Task:
    """Two arms of one and a half turns each: a linear model is at chance."""
    draw = torch.Generator().manual_seed(0)
    angle = torch.rand(count, generator=draw).sqrt() * 3 * math.pi
    arm = torch.arange(count) % 2
    turned = angle + math.pi * arm
    x = (angle / (3 * math.pi))[:, None] * torch.stack((turned.cos(), turned.sin()), 1)
    x = x + 0.01 * torch.randn(count, 2, generator=draw)
    return Task("spirals", (x - x.mean(0)) / x.std(0), arm, 2, 400, (1e-3, 3e-3, 1e-2))


def rows_of_digits() -> Task:
    """The digits, four pixels a step: 16 steps, then 16 of silence; the answer at the end."""
    seen = digits()
    steps = seen.inputs.reshape(-1, 16, 4)
    silent = torch.zeros(len(steps), 16, 4)
    return Task("digits in time", torch.cat((steps, silent), 1), seen.targets, 10, 200, seen.rates)


def distant_parity(count: int = 2400, length: int = 40) -> Task:
    """Whether the two marked bits of 40 differ, one in each half: a linear model is at chance."""
    draw = torch.Generator().manual_seed(1)
    bits = torch.randint(2, (count, length), generator=draw)
    first = torch.randint(length // 2, (count,), generator=draw)
    second = torch.randint(length // 2, length, (count,), generator=draw)
    marks = torch.zeros(count, length)
    every = torch.arange(count)
    marks[every, first] = marks[every, second] = 1
    x = torch.stack((marks * (2 * bits - 1), marks), -1)
    return Task(
        "distant parity", x.float(), bits[every, first] ^ bits[every, second], 2, 300,
        (1e-3, 3e-3, 1e-2),
    )  # fmt: skip


TASKS = {task.name: task for task in (digits(), spirals(), rows_of_digits(), distant_parity())}
