"""The data is blamed where nothing else keeps a net from what its samples have in common."""

from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

import unvanish

Batches = list[tuple[Tensor, Tensor]]


class Digits(nn.Module):
    """A small convolutional net."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(16, 32, 3, padding=1)
        self.fc1, self.fc2 = nn.Linear(128, 64), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


class Levels(nn.Module):
    """Reads numbers as levels of a table: what one sample shows of a row is news to the next."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.fc1, self.fc2 = nn.Embedding(32, 8), nn.Linear(48, 32), nn.Linear(32, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.relu(self.fc1(self.table((31 * x).long()).flatten(1))))


def in_batches(inputs: Tensor, labels: Tensor) -> Batches:
    return list(zip(inputs.split(64), labels.split(64), strict=True))


def images() -> Batches:
    pixels, labels = load_digits(return_X_y=True)
    inputs = torch.tensor(pixels[:512] / 16, dtype=torch.float32).view(-1, 1, 8, 8)
    return in_batches(inputs, torch.tensor(labels[:512]))


def sums(meant: bool) -> Batches:
    """Whether two of six numbers add up to more than one, or labels of no meaning."""
    inputs = 0.999 * torch.rand(256, 6)
    labels = (inputs[:, 0] + inputs[:, 1] > 1).long()
    return in_batches(inputs, labels if meant else labels[torch.randperm(256)])


def momentum(model: nn.Module, rate: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), rate, momentum=0.9)


def accuracy(model: nn.Module, optimizer: torch.optim.Optimizer, batches: Batches) -> float:
    """Of the shown samples after 200 steps."""
    for step in range(200):
        inputs, labels = batches[step % len(batches)]
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
    inputs, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    return (model(inputs).argmax(1) == labels).float().mean().item()


def named(model: nn.Module, batches: Batches, optimizer: Any, steps: int) -> list[str]:
    found = unvanish.diagnose(
        model, batches, F.cross_entropy, optimizer=optimizer, steps=steps
    ).findings
    return [finding.name for finding in found]


@pytest.mark.parametrize(("rate", "learned"), [(0.5, False), (0.05, True), (0.02, True)])
def test_steps_too_large_to_leave_the_guess(rate: float, learned: bool) -> None:
    torch.manual_seed(0)
    model = Digits()
    expected = [] if learned else ["step-too-large"]
    assert named(model, images(), momentum(model, rate), 20) == expected
    assert (accuracy(model, momentum(model, rate), images()) > 0.9) == learned


def test_few_steps_are_too_few_to_blame_the_data() -> None:
    """After twenty steps alone the unseen samples look like shuffled ones in seven cases of eight."""
    blamed = 0
    for seed in range(8):
        torch.manual_seed(seed)
        model, batches = Levels(), sums(meant=True)
        optimizer = torch.optim.Adam(model.parameters())
        blamed += "nothing-to-learn" in named(model, batches, optimizer, 20)
        assert accuracy(model, optimizer, batches) > 0.9
    assert blamed <= 2


@pytest.mark.parametrize("steps", [20, 400])
def test_labels_of_no_meaning_are_blamed(steps: int) -> None:
    torch.manual_seed(0)
    model, batches = Levels(), sums(meant=False)
    optimizer = torch.optim.Adam(model.parameters())
    assert named(model, batches, optimizer, steps) == ["nothing-to-learn"]
