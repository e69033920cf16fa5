"""Steps in proportion to a gradient that falls with depth: whether the net stands still is tried."""

import math
from collections.abc import Callable

import pytest
import torch
from sklearn.datasets import load_digits, make_moons
from torch import Tensor, nn
from torch.nn import functional as F

import unvanish
from unvanish.causes.cause import HARMFUL_DECADES
from unvanish.stretch import worst_fall

Pair = tuple[Tensor, Tensor]
Task = Callable[[], Pair]


def mlp(inputs: int, depth: int, outputs: int, activation: type[nn.Module]) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Linear(inputs, 32), activation()]
    for _ in range(depth - 2):
        layers += [nn.Linear(32, 32), activation()]
    return nn.Sequential(*layers, nn.Linear(32, outputs))


def moons() -> Pair:
    inputs, targets = make_moons(512, noise=0.1, random_state=0)
    return torch.tensor(inputs, dtype=torch.float32)[:128], torch.tensor(targets)[:128]


def digits() -> Pair:
    data = load_digits()
    return torch.tensor(data.data / 16, dtype=torch.float32)[:128], torch.tensor(data.target)[:128]


def posed(task: Task, depth: int, activation: type[nn.Module]) -> tuple[nn.Sequential, Pair]:
    """A net for a task, and the task."""
    batch = task()
    return mlp(batch[0].shape[1], depth, int(batch[1].max()) + 1, activation), batch


def entropy_of(labels: Tensor) -> float:
    """The cross entropy of one who knows no more than how many there are of each class."""
    shares = torch.bincount(labels) / len(labels)
    return -float((shares * shares.log()).sum())


def right(model: nn.Module, batch: Pair) -> float:
    return float((model(batch[0]).argmax(1) == batch[1]).float().mean())


def train(model: nn.Module, batch: Pair, optimizer: torch.optim.Optimizer, steps: int) -> float:
    """Real training, which does not know of the diagnosis; the share of answers that are right."""
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(model(batch[0]), batch[1]).backward()
        optimizer.step()
    return right(model, batch)


def said(model: nn.Module, batch: Pair, optimizer: torch.optim.Optimizer) -> list[str]:
    found = unvanish.diagnose(model, batch, F.cross_entropy, optimizer, steps=20).findings
    return [finding.name for finding in found if finding.severity != "note"]


STUCK = [
    (moons, 5, nn.Sigmoid),
    (digits, 6, nn.Sigmoid),
    (digits, 12, nn.ReLU),
    (moons, 12, nn.ReLU),
]


@pytest.mark.parametrize(("task", "depth", "activation"), STUCK)
def test_sgd_stands_still(task: Task, depth: int, activation: type[nn.Module]) -> None:
    model, batch = posed(task, depth, activation)
    fall = worst_fall(unvanish.diagnose(model, batch, F.cross_entropy).trace)
    assert fall is not None
    # Sizes alone do not tell: it is above what rounding loses, in the gradient or in what it moves.
    assert min(-fall.decades, -(fall.elasticity or 0.0)) < HARMFUL_DECADES
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    found = unvanish.diagnose(model, batch, F.cross_entropy, optimizer, steps=20).findings[0]
    assert (found.name, found.severity) == ("depth-decay", "harmful")
    steps = found.evidence["own_steps"]
    assert steps is not None
    train(model, batch, optimizer, int(steps))
    assert float(F.cross_entropy(model(batch[0]), batch[1]).detach()) > 0.97 * entropy_of(batch[1])


@pytest.mark.parametrize(("task", "depth", "activation"), STUCK)
def test_adam_does_not(task: Task, depth: int, activation: type[nn.Module]) -> None:
    model, batch = posed(task, depth, activation)
    optimizer = torch.optim.Adam(model.parameters())
    assert said(model, batch, optimizer) == []
    before = right(model, batch)
    assert train(model, batch, optimizer, 1000) > before + 0.1


LEARNS = [
    (moons, 3, nn.Sigmoid),
    (moons, 4, nn.Sigmoid),
    (digits, 8, nn.Tanh),
    (moons, 12, nn.Tanh),
    (digits, 5, nn.ReLU),
    (moons, 8, nn.ReLU),
]


@pytest.mark.parametrize(("task", "depth", "activation"), LEARNS)
def test_sgd_begins_late(task: Task, depth: int, activation: type[nn.Module]) -> None:
    """The gradient falls by up to 2.7 decades, the loss stands for a while, and then it learns."""
    model, batch = posed(task, depth, activation)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    assert said(model, batch, optimizer) == []
    before = right(model, batch)
    assert train(model, batch, optimizer, 2500) > before + 0.2


def test_where_a_larger_rate_begins_it_is_the_rate() -> None:
    batch = digits()
    model = mlp(64, 8, 10, nn.Tanh)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    (found,) = unvanish.diagnose(model, batch, F.cross_entropy, optimizer, steps=20).findings
    assert found.name == "step-too-small"
    factor = found.evidence["better_rate"]
    assert factor is not None
    assert math.isfinite(factor)
    faster = torch.optim.SGD(model.parameters(), 0.01 * factor)
    assert train(model, batch, faster, 200) > 0.5


def test_targets_that_cannot_be_shuffled_leave_it_open() -> None:
    """Nobody can tell then whether anything was learned."""
    inputs, targets = moons()
    model = mlp(2, 5, 2, nn.Sigmoid)

    def forward(net: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        return F.cross_entropy(net(batch["points"]), batch["sides"])

    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    batch = {"points": inputs, "sides": targets}
    found = unvanish.diagnose(model, batch, forward=forward, optimizer=optimizer)
    assert found.healthy


@pytest.mark.parametrize(("depth", "activation"), [(5, nn.Sigmoid), (4, nn.Tanh)])
def test_without_an_optimizer_it_is_said_to_depend_on_it(
    depth: int, activation: type[nn.Module]
) -> None:
    batch = moons()
    model = mlp(2, depth, 2, activation)
    found = unvanish.diagnose(model, batch, F.cross_entropy)
    assert found.healthy
    said = [expected.name for expected in found.expected]
    assert ("moderate-decay" in said) == (activation is nn.Sigmoid)
    given = unvanish.diagnose(model, batch, F.cross_entropy, torch.optim.Adam(model.parameters()))
    assert "moderate-decay" not in [expected.name for expected in given.expected]
