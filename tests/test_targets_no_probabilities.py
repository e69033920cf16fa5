"""Binary cross entropy of targets outside of 0 to 1 has no least value; masks and blurred labels do."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import unvanish

Loss = Callable[[Tensor, Tensor], Tensor]

torch.manual_seed(0)
INPUTS = torch.randn(64, 6)
LABELS = (INPUTS[:, :2] > 0).float()
UNKNOWN = torch.where(torch.rand(64, 2) < 0.2, -1.0, LABELS)
loss_of = nn.BCEWithLogitsLoss()


def net() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 2))


def masked(outputs: Tensor, targets: Tensor) -> Tensor:
    known = targets >= 0
    return F.binary_cross_entropy_with_logits(outputs[known], targets[known])


def weighted(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(outputs, targets, weight=(targets >= 0).float())


def each(outputs: Tensor, targets: Tensor) -> Tensor:
    losses = F.binary_cross_entropy_with_logits(outputs, targets, reduction="none")
    return (losses * (targets >= 0)).mean()


def clamped(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(outputs, targets.clamp_min(0))


def shifted(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(outputs, (targets + 1) / 2)


def beside(outputs: Tensor, targets: Tensor) -> Tensor:
    """Targets that another term takes: those of the cross entropy are 0 and 1."""
    known = F.binary_cross_entropy_with_logits(outputs[:, 0], torch.ones(len(outputs)))
    return known + F.mse_loss(outputs[:, 1], targets[:, 1])


def logged(outputs: Tensor, targets: Tensor) -> Tensor:
    """A number for the eye that does not go into the loss."""
    loss_of(outputs, targets)
    return F.mse_loss(outputs, targets)


def falls(loss: Loss, targets: Tensor, steps: int = 400) -> float:
    """The loss of plain training."""
    model = net()
    optimizer = torch.optim.Adam(model.parameters(), 0.05)
    value = torch.zeros(())
    for _ in range(steps):
        optimizer.zero_grad()
        value = loss(model(INPUTS), targets)
        value.backward()
        optimizer.step()
    return float(value.detach())


def diagnosed(loss: Loss, targets: Tensor) -> unvanish.Diagnosis:
    model = net()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    return unvanish.diagnose(model, (INPUTS, targets), loss, optimizer, steps=20)


@pytest.mark.parametrize(
    "targets", [LABELS * 2 - 1, LABELS * 255, UNKNOWN], ids=["signs", "bytes", "not masked"]
)
def test_targets_outside_are_named(targets: Tensor) -> None:
    assert falls(loss_of, targets) < -1  # a cross entropy is never below zero
    named = [f for f in diagnosed(loss_of, targets).findings if f.name == "unfit-loss"]
    assert [f.severity for f in named] == ["broken"]
    assert named[0].where == ("2",)
    assert named[0].evidence == {"target_low": targets.min(), "target_high": targets.max()}
    assert not named[0].remedies  # which labels are meant nobody can tell


def test_those_of_a_forward_of_ones_own_are_named() -> None:
    def forward(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        return F.binary_cross_entropy_with_logits(model(batch["x"]), target=batch["y"])

    batch = {"x": INPUTS, "y": LABELS * 2 - 1}
    found = unvanish.diagnose(net(), [batch], forward=forward)
    assert [f.name for f in found.findings if f.severity == "broken"] == ["unfit-loss"]


@pytest.mark.parametrize("loss", [masked, weighted, each, clamped])
def test_unknown_entries_that_never_count_are_fine(loss: Loss) -> None:
    assert falls(loss, UNKNOWN) >= 0
    assert diagnosed(loss, UNKNOWN).healthy


@pytest.mark.parametrize("loss", [shifted, beside, logged])
def test_signs_that_the_cross_entropy_does_not_take_are_fine(loss: Loss) -> None:
    assert falls(loss, LABELS * 2 - 1) >= 0
    assert diagnosed(loss, LABELS * 2 - 1).healthy


@pytest.mark.parametrize("targets", [LABELS, 0.7 + 0.5 * torch.rand(64, 2), LABELS * 1.1 - 0.05])
def test_probabilities_and_labels_that_are_blurred_are_fine(targets: Tensor) -> None:
    assert diagnosed(loss_of, targets).healthy
