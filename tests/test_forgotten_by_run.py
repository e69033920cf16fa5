"""A whole script watched: what its optimizer forgot is told from what another training left."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unvanish.watching.everything import Everything


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU())
        self.head = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x))


def batch() -> tuple[Tensor, Tensor]:
    inputs = torch.randn(64, 8)
    return inputs, (inputs[:, 0] > 0).long()


def names(everything: Everything) -> list[list[str]]:
    return [[alarm.name for alarm in monitor.alarms] for monitor in everything.monitors]


@pytest.mark.parametrize("cleared", ["by the optimizer", "by the model", "to zeros"])
def test_what_the_optimizer_forgot(tmp_path: Path, cleared: str) -> None:
    model = Model()
    optimizer = torch.optim.Adam(model.head.parameters(), 1e-3)
    with Everything(tmp_path) as everything:
        for _ in range(12):
            if cleared == "by the optimizer":
                optimizer.zero_grad()
            else:
                model.zero_grad(set_to_none=cleared == "by the model")
            inputs, labels = batch()
            F.cross_entropy(model(inputs), labels).backward()
            optimizer.step()
    assert names(everything) == [["not-in-optimizer"]]
    assert all(place.startswith("encoder.") for place in everything.monitors[0].alarms[0].where)


@pytest.mark.parametrize("cleared", [False, True])
def test_what_an_earlier_training_left(tmp_path: Path, cleared: bool) -> None:
    """The encoder was trained first; its gradients of then are still there."""
    model = Model()
    inputs, labels = batch()
    F.cross_entropy(model(inputs), labels).backward()
    model.head.zero_grad()
    optimizer = torch.optim.Adam(model.head.parameters(), 1e-3)
    with Everything(tmp_path) as everything:
        for _ in range(12):
            if cleared:
                model.zero_grad(set_to_none=False)
            optimizer.zero_grad()
            inputs, labels = batch()
            with torch.no_grad():
                codes = model.encoder(inputs)
            F.cross_entropy(model.head(codes), labels).backward()
            optimizer.step()
    assert names(everything) == [[]]


def test_what_another_optimizer_holds(tmp_path: Path) -> None:
    """A critic's loss that reaches the generator, which has its own turn."""
    torch.manual_seed(0)
    players = nn.ModuleDict({"maker": nn.Linear(4, 8), "critic": nn.Linear(8, 1)})
    maker, critic = players["maker"], players["critic"]
    first = torch.optim.Adam(critic.parameters(), 1e-3)
    second = torch.optim.Adam(maker.parameters(), 1e-3)
    with Everything(tmp_path) as everything:
        for _ in range(12):
            for optimizer, side in ((first, -1.0), (second, 1.0)):
                players.zero_grad()
                fake, real = maker(torch.randn(32, 4)), torch.randn(32, 8)
                gap = F.softplus(side * critic(fake)).mean() + F.softplus(critic(real)).mean()
                gap.backward()
                optimizer.step()
    assert not [name for found in names(everything) for name in found if name == "not-in-optimizer"]
    assert all(len(monitor.optimizers) == 1 for monitor in everything.monitors)
