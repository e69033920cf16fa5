"""A score that was masked on purpose and is asked for all the same: an infinite loss is never silent."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import unvanish

Loss = Callable[[Tensor, Tensor], Tensor]
MASKED = torch.tensor([0, 0, 0, 1, 1]).bool()


class Scores(nn.Module):
    """Of five classes the last two are masked."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 5)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layer(inputs).masked_fill(MASKED, -torch.inf)


def spelt(scores: Tensor, targets: Tensor) -> Tensor:
    lengths = torch.full((8,), 20), torch.full((8,), 4)
    return F.ctc_loss(scores.log_softmax(-1).transpose(0, 1), targets, *lengths)


PICTURES = torch.randn(32, 6)
SERIES = torch.randn(8, 20, 6)


@pytest.mark.parametrize(
    ("loss", "batch", "finite"),
    [
        (F.cross_entropy, (PICTURES, torch.arange(32) % 3), True),
        (F.cross_entropy, (PICTURES, torch.arange(32) % 5), False),
        (spelt, (SERIES, 1 + torch.arange(32).view(8, 4) % 4), False),
    ],
)
def test_an_infinite_loss_is_never_silent(
    loss: Loss, batch: tuple[Tensor, Tensor], finite: bool
) -> None:
    torch.manual_seed(0)
    model = Scores()
    assert bool(loss(model(batch[0]), batch[1]).isfinite()) == finite
    found = unvanish.diagnose(model, batch, loss)
    assert found.healthy == finite
    if not finite:
        first = found.findings[0]
        assert (first.name, first.severity) == ("nonfinite-forward", "broken")
        assert "the infinity that masked_fill writes reaches it" in str(found)
