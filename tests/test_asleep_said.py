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
