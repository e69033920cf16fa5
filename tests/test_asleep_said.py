"""A net whose weights start at zero: no gradient passes yet, and nobody says that it does."""

import torch
from torch import nn

import unvanish


def diagnosed(head: float) -> unvanish.Diagnosis:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for _ in range(6):
        layers += [nn.Linear(16, 16), nn.GELU()]
    model = nn.Sequential(*layers, nn.Linear(16, 3))
    with torch.no_grad():
        model[-1].weight.mul_(head)
    batch = torch.randn(64, 16), torch.randint(3, (64,))
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    return unvanish.diagnose(model, batch, nn.CrossEntropyLoss(), optimizer, steps=20)


def test_what_no_gradient_passes_is_not_ruled_out() -> None:
    asleep = diagnosed(0.0)
    assert asleep.healthy
    assert str(asleep).startswith("Healthy: no fault found. Some tensors get no gradient")
    assert not {"depth-decay", "depth-growth"} & {item.name for item in asleep.ruled_out}


def test_where_it_passes_it_is() -> None:
    awake = diagnosed(1.0)
    assert str(awake).startswith("Healthy: the gradient arrives everywhere")
    assert {"depth-decay", "depth-growth"} <= {item.name for item in awake.ruled_out}


def weighted(outputs: torch.Tensor, labels: torch.Tensor, weight: float = 0.0) -> torch.Tensor:
    """Two terms, one of which counts nothing: its head gets exactly zero."""
    body, other = outputs[:, :3], outputs[:, 3:]
    cross_entropy = nn.functional.cross_entropy
    return cross_entropy(body, labels) + weight * cross_entropy(other, labels)


class Heads(nn.Module):
    """Two heads side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(16, 3), nn.Linear(16, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.cat((self.one(inputs), self.other(inputs)), 1)


def test_zeros_that_nothing_explains_are_not_called_healthy() -> None:
    torch.manual_seed(0)
    model, batch = Heads(), (torch.randn(64, 16), torch.randint(3, (64,)))
    weighted(model(batch[0]), batch[1]).backward()
    zero = [name for name, p in model.named_parameters() if not p.grad.any()]  # type: ignore[union-attr]
    assert zero == ["other.weight", "other.bias"]
    model.zero_grad()
    diagnosis = unvanish.diagnose(model, batch, weighted)
    assert diagnosis.healthy
    first = " ".join(str(diagnosis).split())
    assert first.startswith(
        "No alarm, but nothing found explains why the gradient of other.weight, "
        "other.bias is exactly zero."
    )


def test_a_solved_loss_explains_its_zeros() -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    inputs = torch.randn(32, 4)
    diagnosis = unvanish.diagnose(model, (inputs, model(inputs).detach()), nn.MSELoss())
    assert str(diagnosis).startswith("Healthy: no fault found. Some tensors get no gradient")
