"""Differences that fall with the gradient, each less than would be named alone: steps decide.

Both pass the same factors, which are named for the gradient.
"""

import pytest
import torch
from sklearn.datasets import load_digits
from test_standing_still import entropy_of
from torch import Tensor, nn
from torch.nn import functional as F

import unvanish


def batch() -> tuple[Tensor, Tensor]:
    data = load_digits()
    return torch.tensor(data.images / 16, dtype=torch.float32)[:64, None], torch.tensor(
        data.target
    )[:64]


def convolutions(activation: type[nn.Module]) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Conv2d(1, 16, 3, padding=1), activation()]
    for _ in range(4):
        layers += [nn.Conv2d(16, 16, 3, padding=1), activation()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))


@pytest.mark.parametrize(("activation", "named"), [(nn.Sigmoid, True), (nn.Tanh, False)])
def test_what_steps_teach_decides(activation: type[nn.Module], named: bool) -> None:
    inputs, targets = batch()
    model = convolutions(activation)
    optimizer = torch.optim.SGD(model.parameters(), 0.3)
    found = unvanish.diagnose(model, (inputs, targets), F.cross_entropy, optimizer).findings
    assert [f.name for f in found if f.severity != "note"] == ["depth-decay"] * named
    for _ in range(400):
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    loss = float(F.cross_entropy(model(inputs), targets).detach())
    assert (loss > 0.98 * entropy_of(targets)) == named


@pytest.mark.parametrize("given", [True, False])
def test_ten_sigmoid_convolutions_stand_still_with_any_optimizer(given: bool) -> None:
    """Variance-preserving weights keep the first layers' elasticity just above what rounding takes."""
    inputs, targets = batch()
    torch.manual_seed(1)
    layers: list[nn.Module] = []
    for k in range(10):
        layers += [nn.Conv2d(12 if k else 1, 12, 3, padding=1), nn.Sigmoid()]
        nn.init.kaiming_normal_(layers[-2].get_parameter("weight"))
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 10))
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    found = unvanish.diagnose(
        model, (inputs, targets), F.cross_entropy, optimizer if given else None
    ).findings
    assert [f.name for f in found if f.severity != "note"][:1] == ["depth-decay"]
    for _ in range(400):
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    assert float(F.cross_entropy(model(inputs), targets).detach()) > 0.98 * entropy_of(targets)
