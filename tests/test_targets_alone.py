"""A network of its own of which a loss takes its targets and nothing else: a note, no alarm."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import unvanish

Loss = Callable[[Any, Tensor], Tensor]
torch.manual_seed(0)
INPUTS = torch.randn(48, 8)
LABELS = torch.randint(5, (48,))


def part(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Linear(width, 5))


class Distilled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.teacher, self.student = part(32), part(8)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            wanted = self.teacher(x)
        return self.student(x), wanted


class Reader(nn.Module):
    """An encoder whose code is cut off by mistake."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.encoder, self.decoder = part(8), nn.Linear(5, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x).detach())


def softened(outputs: Any, labels: Tensor) -> Tensor:
    return F.kl_div(F.log_softmax(outputs[0] / 4, 1), F.softmax(outputs[1] / 4, 1))


def squared(outputs: Any, labels: Tensor) -> Tensor:
    return F.mse_loss(outputs[0], outputs[1]) + F.cross_entropy(outputs[0], labels)


def decided(outputs: Any, labels: Tensor) -> Tensor:
    return F.cross_entropy(outputs[0], outputs[1].argmax(1))


def other_way_round(outputs: Any, labels: Tensor) -> Tensor:
    """The one that trains stands where the target does."""
    return F.mse_loss(outputs[1], outputs[0])


def product(outputs: Any, labels: Tensor) -> Tensor:
    """Two towers: neither is the target."""
    return F.cross_entropy(outputs[0] @ outputs[1].T, torch.arange(48))


def severities(model: nn.Module, loss: Loss, targets: Tensor = LABELS) -> set[str]:
    found = unvanish.diagnose(model, (INPUTS, targets), loss).findings
    assert {finding.name for finding in found} == {"detached"}
    return {finding.severity for finding in found}


@pytest.mark.filterwarnings("ignore:reduction")
@pytest.mark.parametrize("loss", [softened, squared, decided])
def test_what_a_teacher_gives_is_a_note(loss: Loss) -> None:
    assert severities(Distilled(), loss) == {"note"}


@pytest.mark.parametrize("loss", [other_way_round, product])
def test_what_is_compared_both_ways_is_not(loss: Loss) -> None:
    assert severities(Distilled(), loss) == {"broken"}


def test_nor_is_what_all_else_is_fed_by() -> None:
    assert severities(Reader(), nn.MSELoss(), INPUTS) == {"broken"}
