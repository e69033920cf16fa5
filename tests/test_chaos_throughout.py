"""Chaos multiplies at every layer: jumps before the first and behind the last are none."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import unvanish
from unvanish.causes.likeness import course
from unvanish.trace import Layer


def layers(count: int) -> list[Layer]:
    """Those of a plain net, for their names."""
    torch.manual_seed(0)
    net = nn.Sequential(*(nn.Linear(4, 4) for _ in range(count)))
    trace = unvanish.observe(net, (torch.randn(4, 4), torch.randn(4, 4)), F.mse_loss)
    return list(trace.layers)


STEADY = [2.4, 2.1, 1.8, 1.5, 1.2, 0.9, 0.6, 0.3, 0.0]
JUMPS = [2.0, 1.2, 1.1, 1.1, 1.0, 1.0, 0.9, 0.9, 0.0]


@pytest.mark.parametrize(("decades", "throughout"), [(STEADY, True), (JUMPS, False)])
def test_the_share_of_the_middle_half(decades: list[float], throughout: bool) -> None:
    found = course(layers(len(decades)), [10**level for level in decades])
    assert found is not None
    assert found.compounds
    assert (found.inner >= 0.5) == throughout
    assert (found.inner < 0.15) != throughout


class Reader(nn.Module):
    """One token of nine is read, behind blocks that hand on what comes in."""

    def __init__(self, gain: float) -> None:
        super().__init__()
        cells = [nn.Linear(32, 32) for _ in range(12)]
        self.head = nn.Linear(32, 2)
        for cell in cells:
            nn.init.normal_(cell.weight, std=gain / 32**0.5)
        self.cells = nn.ModuleList(cells)

    def forward(self, tokens: Tensor) -> Tensor:
        for cell in self.cells:
            tokens = torch.tanh(cell(tokens))
        return self.head(tokens[:, 0])


@pytest.mark.parametrize(("gain", "chaotic"), [(3.0, True), (1.2, False)])
def test_chaos_is_still_found(gain: float, chaotic: bool) -> None:
    torch.manual_seed(0)
    model, tokens = Reader(gain), torch.randn(64, 9, 32)
    found = unvanish.diagnose(model, (tokens, (tokens[:, 0, 0] > 0).long()), F.cross_entropy)
    assert ("chaotic-signal" in {f.name for f in found.findings}) == chaotic
    assert found.healthy != chaotic
