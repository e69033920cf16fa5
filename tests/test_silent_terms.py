"""A term of the loss that is made of decisions counts and trains nothing: that is said, not alarmed."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import unvanish

Loss = Callable[[Tensor, Tensor], Tensor]

torch.manual_seed(0)
INPUTS = torch.randn(64, 6)
LABELS = INPUTS[:, :3].argmax(1)


def net() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 3))


def misses(outputs: Tensor, labels: Tensor) -> Tensor:
    return (outputs.argmax(1) != labels).float().mean()


def counted(outputs: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(outputs, labels) + 0.5 * misses(outputs, labels)


def hinged(outputs: Tensor, labels: Tensor) -> Tensor:
    picked = outputs.gather(1, labels[:, None])
    return F.cross_entropy(outputs, labels) + (outputs > picked).float().sum(1).mean()


def masked(outputs: Tensor, labels: Tensor) -> Tensor:
    """Decisions that choose which samples count: their losses train."""
    wrong = (outputs.argmax(1) != labels).float()
    each = F.cross_entropy(outputs, labels, reduction="none")
    return each.mean() + (wrong * each).sum() / (1 + wrong.sum())


def detached(outputs: Tensor, labels: Tensor) -> Tensor:
    """Said by name: a number for the eye."""
    return F.cross_entropy(outputs, labels) + outputs.detach().square().mean()


def constant(outputs: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(outputs, labels) + (labels == 0).float().mean()


def listed(loss: Loss) -> list[str]:
    found = unvanish.diagnose(net(), (INPUTS, LABELS), loss)
    assert found.healthy
    return [e.name for e in found.expected if e.name == "term-without-gradient"]


@pytest.mark.parametrize("loss", [counted, hinged])
def test_a_term_of_decisions_is_listed(loss: Loss) -> None:
    assert listed(loss) == ["term-without-gradient"]
    assert not misses(net()(INPUTS), LABELS).requires_grad


@pytest.mark.parametrize("loss", [masked, detached, constant, F.cross_entropy])
def test_what_chooses_what_is_detached_by_name_and_what_came_with_the_batch_is_not(
    loss: Loss,
) -> None:
    assert listed(loss) == []
