"""Plain convolutions under SGD: what real training shows decides between depth and step size."""

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

import unvanish
from unvanish.causes import standing_still

Pair = tuple[Tensor, Tensor]


def pictures(count: int = 64) -> Pair:
    data = load_digits()
    images = torch.tensor(data.images / 16, dtype=torch.float32).unsqueeze(1)
    return images[:count], torch.tensor(data.target)[:count]


def plain(depth: int, activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Convolutions of eight channels as torch makes them, no norm, no skip."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Conv2d(1, 8, 3, padding=1), activation()]
    for _ in range(depth - 1):
        layers += [nn.Conv2d(8, 8, 3, padding=1), activation()]
    return nn.Sequential(*layers, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 10))


def knows(model: nn.Module, rate: float, steps: int, momentum: float = 0.9) -> float:
    """Accuracy on the batch after training that does not know of the diagnosis."""
    inputs, targets = pictures()
    optimizer = torch.optim.SGD(model.parameters(), rate, momentum=momentum)
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    return float((model(inputs).argmax(1) == targets).float().mean())


@pytest.mark.parametrize(("depth", "activation"), [(9, nn.ReLU), (14, nn.Tanh)])
def test_no_rate_teaches_what_does_not_arrive(depth: int, activation: type[nn.Module]) -> None:
    """A hundred times the rate lets the loss fall faster: the last bias learns how often each class is."""
    model = plain(depth, activation)
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
    report = unvanish.diagnose(model, pictures(), F.cross_entropy, optimizer)
    harms = [f.name for f in report.findings if f.severity != "note"]
    assert harms[0] == "depth-decay"
    assert "step-too-small" not in harms
    for rate in (0.01, 0.1, 1.0):
        assert knows(plain(depth, activation), rate, 200) < 0.25


@pytest.mark.parametrize("depth", [3, 5])
def test_fewer_layers_learn_and_are_quiet(depth: int) -> None:
    model = plain(depth)
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    report = unvanish.diagnose(model, pictures(), F.cross_entropy, optimizer)
    assert [f.name for f in report.findings if f.severity != "note"] == []
    assert knows(plain(depth), 0.05, 400) > 0.9


def test_a_rate_too_small_for_any_depth_stays_one() -> None:
    model = plain(6, nn.Tanh)
    optimizer = torch.optim.SGD(model.parameters(), 1e-6, momentum=0.9)
    report = unvanish.diagnose(model, pictures(), F.cross_entropy, optimizer)
    assert [f.name for f in report.findings if f.severity != "note"] == ["step-too-small"]
    found = report.findings[0].evidence["better_rate"]
    assert found is not None
    assert knows(plain(6, nn.Tanh), 1e-6, 400) < 0.25
    assert knows(plain(6, nn.Tanh), 1e-6 * found, 400) > 0.5


def test_what_would_take_long_is_said_not_to_be_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing_still, "WORK", standing_still.WORK / 1000)
    model = plain(8)
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
    report = unvanish.diagnose(model, pictures(), F.cross_entropy, optimizer)
    assert "moderate-decay" in [expected.name for expected in report.expected]
    assert "step-too-small" not in [finding.name for finding in report.findings]
