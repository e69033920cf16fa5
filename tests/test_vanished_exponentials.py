"""An exponential that is too small for any number is exactly zero: nothing passes it, and that is said."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from patients import blobs
from torch import Tensor, nn

import unvanish

SEEDS = (0, 1, 2)
EXPONENTIALS: list[Callable[[Tensor], Tensor]] = [torch.exp, torch.exp2]


class Kernels(nn.Module):
    """Radial basis functions of one width, and a layer that reads them."""

    def __init__(self, width: float, exponential: Callable[[Tensor], Tensor] = torch.exp) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.randn(48, 32))
        self.logarithm = nn.Parameter(torch.tensor(width).log())
        self.head = nn.Linear(48, 4)
        self.exponential = exponential

    def kernels(self, inputs: Tensor) -> Tensor:
        distances = (inputs[:, None] - self.centres).square().sum(-1)
        return self.exponential(-distances / self.logarithm.exp() ** 2)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.kernels(inputs))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("exponential", EXPONENTIALS)
def test_kernels_too_narrow_for_all_distances_are_dead(
    exponential: Callable[[Tensor], Tensor], seed: int
) -> None:
    torch.manual_seed(seed)
    model, data = Kernels(0.3, exponential), blobs(seed)
    assert not model.kernels(data[0]).any()
    F.cross_entropy(model(data[0]), data[1]).backward()
    assert not any(p.grad.any() for p in (model.centres, model.logarithm, model.head.weight))  # type: ignore[union-attr]
    model.zero_grad()
    first = unvanish.diagnose(model, data, F.cross_entropy).findings[0]
    assert (first.name, first.severity, first.evidence["units"]) == ("dead-units", "broken", 48.0)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("width", [8.0, 1.2])
def test_kernels_of_which_some_are_left_are_not(width: float, seed: int) -> None:
    torch.manual_seed(seed)
    model, data = Kernels(width), blobs(seed)
    assert model.kernels(data[0]).any()
    found = unvanish.diagnose(model, data, F.cross_entropy).findings
    assert "dead-units" not in [f.name for f in found]


class Branches(nn.Module):
    """A branch whose exponent trains as well by itself: its loss has another way to it."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.exponent, self.head = nn.Linear(32, 8), nn.Linear(32, 8), nn.Linear(8, 4)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        exponent = self.exponent(inputs) - 300
        return self.head(self.body(inputs) + exponent.exp()), exponent


def test_an_exponent_that_learns_by_another_way_is_quiet() -> None:
    """As the logarithm of a variance, which its own term of the loss brings back."""
    torch.manual_seed(0)

    def loss(outputs: tuple[Tensor, Tensor], labels: Tensor) -> Tensor:
        return F.cross_entropy(outputs[0], labels) + 1e-3 * outputs[1].square().mean()

    found = unvanish.diagnose(Branches(), blobs(0), loss).findings
    assert "dead-units" not in [f.name for f in found]
