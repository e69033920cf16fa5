"""Weights ten times too loud: the net learns by heart, and nothing that holds for other samples."""

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import unvanish

WIDTHS = (64, 200, 200, 10)


def net(gain: float) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for inside, outside in itertools.pairwise(WIDTHS):
        layer = nn.Linear(inside, outside)
        nn.init.normal_(layer.weight, std=1.0 if gain else inside**-0.5)
        nn.init.zeros_(layer.bias)
        layers += [layer, nn.Tanh()]
    return nn.Sequential(*layers[:-1])


def blobs(count: int, seed: int) -> tuple[Tensor, Tensor]:
    centers = torch.randn(10, 64, generator=torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(10, (count,), generator=generator)
    return centers[labels] + 1.5 * torch.randn(count, 64, generator=generator), labels


def taught(model: nn.Module) -> float:
    """Accuracy on fresh samples after 300 steps."""
    inputs, labels = blobs(200, 2)
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    for _ in range(300):
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
    fresh, wanted = blobs(300, 3)
    return float((model(fresh).argmax(1) == wanted).float().mean())


def names(model: nn.Module, labels: Tensor) -> list[tuple[str, str]]:
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    batch = blobs(200, 2)[0], labels
    found = unvanish.diagnose(model, batch, nn.CrossEntropyLoss(), optimizer, steps=20).findings
    return [(finding.name, finding.severity) for finding in found]


def test_what_is_learned_by_heart_for_want_of_quiet_weights() -> None:
    assert names(net(1.0), blobs(200, 2)[1])[0] == ("init-too-large", "harmful")
    assert taught(net(1.0)) < 0.6 < taught(net(0.0))


def test_labels_by_lot_are_the_datas_fault() -> None:
    torch.manual_seed(5)
    found = names(net(1.0), torch.randint(10, (200,)))
    assert all(severity == "note" for _, severity in found)


def test_critical_weights_are_not_named() -> None:
    assert "init-too-large" not in [name for name, _ in names(net(0.0), blobs(200, 2)[1])]
