"""Zeros written over everything on the only way to the loss: the cut is named with its place."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from patients import blobs
from torch import Tensor, nn

import unvanish

SEEDS = (0, 1, 2)


def by_product(hidden: Tensor) -> Tensor:
    return hidden.mul_(0)


def by_zeroing(hidden: Tensor) -> Tensor:
    return hidden.zero_()


def by_mask(hidden: Tensor) -> Tensor:
    hidden[torch.ones(len(hidden), dtype=torch.bool)] = 0
    return hidden


def by_copy(hidden: Tensor) -> Tensor:
    return hidden.copy_(torch.zeros_like(hidden))


def by_fill(hidden: Tensor) -> Tensor:
    return hidden.masked_fill(torch.ones_like(hidden, dtype=torch.bool), 0.0)


def by_choice(hidden: Tensor) -> Tensor:
    nothing = torch.zeros_like(hidden, dtype=torch.bool)
    return torch.where(nothing, hidden, torch.zeros_like(hidden))


CUTS = (by_product, by_zeroing, by_mask, by_copy, by_fill, by_choice)


class Middle(nn.Module):
    """A layer whose outputs something is done to."""

    def __init__(self, act: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.layer = nn.Linear(32, 32)
        self.act = act

    def forward(self, inputs: Tensor) -> Tensor:
        return self.act(self.layer(inputs))


def with_middle(act: Callable[[Tensor], Tensor], after: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(32, 32), nn.Tanh(), Middle(act), after, nn.Linear(32, 4))


def gradients(model: nn.Module, data: tuple[Tensor, Tensor]) -> dict[str, float]:
    """Norms of the gradients that autograd gives without us, in float64."""
    model.double().zero_grad()
    F.cross_entropy(model(data[0].double()), data[1]).backward()
    norms = {n: float(p.grad.norm()) for n, p in model.named_parameters() if p.grad is not None}
    model.float().zero_grad()
    return norms


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("after", [nn.Identity, nn.Tanh, nn.ReLU])
@pytest.mark.parametrize("act", CUTS)
def test_cut_is_named_with_its_place(
    act: Callable[[Tensor], Tensor], after: Callable[[], nn.Module], seed: int
) -> None:
    torch.manual_seed(seed)
    model, data = with_middle(act, after()), blobs(seed)
    lost = [name for name, norm in gradients(model, data).items() if norm == 0]
    assert {"0.weight", "0.bias", "2.layer.weight", "2.layer.bias"} <= set(lost)
    diagnosis = unvanish.diagnose(model, data, F.cross_entropy)
    assert [f.name for f in diagnosis.findings if f.severity != "note"] == ["detached"]
    where = diagnosis.findings[0].where
    assert where[0] == "2"
    assert set(where[1:]) == {"0.weight", "0.bias", "2.layer.weight", "2.layer.bias"}


@pytest.mark.parametrize("seed", SEEDS)
def test_zeros_in_a_part_are_no_finding(seed: int) -> None:
    def part(hidden: Tensor) -> Tensor:
        hidden[:, :16] = 0
        hidden[: len(hidden) // 2] = 0
        return hidden

    torch.manual_seed(seed)
    assert unvanish.diagnose(with_middle(part, nn.Tanh()), blobs(seed), F.cross_entropy).healthy


class Expert(nn.Module):
    """Two experts and a mask: this batch goes to the first one alone."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = (nn.Sequential(nn.Linear(32, 32), nn.Tanh()) for _ in range(2))
        self.head = nn.Linear(32, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        nobody = torch.zeros(len(inputs), 1)
        return self.head(self.first(inputs) + nobody * self.second(inputs))


class LeftOut(nn.Module):
    """Stochastic depth that leaves its branch out this time."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.branch, self.head = nn.Linear(32, 32), nn.Linear(32, 32), nn.Linear(32, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = torch.tanh(self.stem(inputs))
        return self.head(hidden + torch.tanh(self.branch(hidden)) * 0.0)


class NoCondition(nn.Module):
    """A second input that is dropped for the whole batch."""

    def __init__(self) -> None:
        super().__init__()
        self.main, self.side, self.head = nn.Linear(16, 32), nn.Linear(16, 32), nn.Linear(32, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        side = self.side(inputs[:, 16:])
        side[:] = 0
        return self.head(torch.tanh(self.main(inputs[:, :16]) + side))


class Gated(nn.Module):
    """A gate that starts at zero and opens: its own gradient is not zero."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(32, 32), nn.Linear(32, 4)
        self.gate = nn.Parameter(torch.zeros(()))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.gate * torch.tanh(self.stem(inputs)))


class GatedFromTable(nn.Module):
    """The same, with the gates of all blocks in one tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(32, 32), nn.Linear(32, 4)
        self.gates = nn.Parameter(torch.zeros(3))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.gates[1] * torch.tanh(self.stem(inputs)))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", [Expert, LeftOut, NoCondition, Gated, GatedFromTable])
def test_zeros_that_are_meant_are_no_cut(kind: Callable[[], nn.Module], seed: int) -> None:
    torch.manual_seed(seed)
    diagnosis = unvanish.diagnose(kind(), blobs(seed), F.cross_entropy)
    assert any(p.state == "zero" for p in diagnosis.trace.parameters)
    assert "detached" not in [f.name for f in diagnosis.findings]


def test_batch_without_labels_is_no_cut() -> None:
    def masked(outputs: Tensor, labels: Tensor) -> Tensor:
        return (F.cross_entropy(outputs, labels, reduction="none") * torch.zeros(len(labels))).sum()

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 4))
    diagnosis = unvanish.diagnose(model, blobs(0), masked)
    assert "detached" not in [f.name for f in diagnosis.findings]


def test_dead_rectifier_by_hand_stays_one() -> None:
    def rectify(hidden: Tensor) -> Tensor:
        return hidden * (hidden > 0).float()

    torch.manual_seed(0)
    model = with_middle(rectify, nn.Identity())
    with torch.no_grad():
        model.get_parameter("2.layer.bias").fill_(-100.0)
    findings = unvanish.diagnose(model, blobs(0), F.cross_entropy).findings
    assert [f.name for f in findings if f.severity != "note"] == ["dead-units"]


def test_zeros_that_arrive_are_not_called_a_gradient_that_reaches_everything() -> None:
    torch.manual_seed(0)
    model: Any = nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 4))
    with torch.no_grad():
        model[0].bias.fill_(-1000.0)
    data = blobs(0)
    zeros = [name for name, norm in gradients(model, data).items() if norm == 0]
    diagnosis = unvanish.diagnose(model, data, F.cross_entropy)
    assert len(zeros) == 3
    assert "detached" not in {item.name for item in diagnosis.ruled_out}
