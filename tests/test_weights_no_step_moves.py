"""A net in which only the biases move is not said to take good steps with its weights."""

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

import unvanish


class Rounded(nn.Linear):
    """Its weights are rounded on the way, which lets no gradient through."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, torch.round(self.weight * 32) / 32, self.bias)


def ruled_out(layer: type[nn.Linear]) -> tuple[set[str], bool]:
    """What is ruled out, and whether real steps move any weight."""
    torch.manual_seed(0)
    model = nn.Sequential(layer(64, 32), nn.ReLU(), layer(32, 10))
    data = load_digits()
    x, y = torch.tensor(data.data[:128] / 16, dtype=torch.float32), torch.tensor(data.target[:128])
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    diagnosis = unvanish.diagnose(model, (x, y), F.cross_entropy, optimizer, steps=20)
    before = [p.detach().clone() for p in model.parameters() if p.dim() == 2]
    for _ in range(20):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    after = [p for p in model.parameters() if p.dim() == 2]
    moved = not all(map(torch.equal, before, after))
    return {item.name for item in diagnosis.ruled_out}, moved


def test_steps_of_the_biases_alone() -> None:
    names, moved = ruled_out(Rounded)
    assert not moved
    assert "step-too-large" not in names


def test_steps_of_all() -> None:
    names, moved = ruled_out(nn.Linear)
    assert moved
    assert "step-too-large" in names
