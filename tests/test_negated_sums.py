"""A loss that is the negative of a sum of losses: penalties of weights may be added to it."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import unvanish

Loss = Callable[[Tensor, Tensor], Tensor]


def net() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 4))


MODEL = net()


def penalty() -> Tensor:
    return 1e-4 * torch.stack([p.square().sum() for p in MODEL.parameters()]).sum()


def squares(outputs: Tensor, labels: Tensor) -> Tensor:
    return F.mse_loss(outputs, F.one_hot(labels, 4).float())


def entropy(outputs: Tensor) -> Tensor:
    return torch.distributions.Categorical(logits=outputs).entropy().mean()


def named(loss: Loss) -> list[str]:
    torch.manual_seed(0)
    inputs = torch.randn(256, 12)
    batch = inputs, (inputs @ torch.randn(12, 4)).argmax(1)
    optimizer = torch.optim.Adam(MODEL.parameters(), 3e-3)
    diagnosis = unvanish.diagnose(MODEL, batch, loss, optimizer, steps=20)
    return [f.name for f in diagnosis.findings if f.severity != "note"]


@pytest.mark.parametrize(
    "loss",
    [
        lambda outputs, labels: -F.cross_entropy(outputs, labels) + penalty(),
        lambda outputs, labels: penalty() - F.cross_entropy(outputs, labels),
        lambda outputs, labels: (
            -(F.cross_entropy(outputs, labels) + 0.1 * squares(outputs, labels))
        ),
        lambda outputs, labels: -F.cross_entropy(outputs, labels) - 0.1 * squares(outputs, labels),
        lambda outputs, labels: -F.cross_entropy(outputs, labels, label_smoothing=0.1),
    ],
)
def test_a_negated_sum(loss: Loss) -> None:
    assert named(loss) == ["wrong-sign"]


@pytest.mark.parametrize(
    "loss",
    [
        lambda outputs, labels: F.cross_entropy(outputs, labels) - 5,
        lambda outputs, labels: F.cross_entropy(outputs, labels) + squares(outputs, labels) - 5,
        lambda outputs, labels: F.cross_entropy(outputs, labels) - 5 * entropy(outputs),
        lambda outputs, labels: (
            F.cross_entropy(outputs, labels) - 0.1 * squares(outputs, labels) - 2
        ),
        lambda outputs, labels: F.cross_entropy(outputs, labels) + penalty() - 5,
    ],
)
def test_a_loss_that_is_negative_by_right(loss: Loss) -> None:
    assert "wrong-sign" not in named(loss)
