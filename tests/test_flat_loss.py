"""A loss of which every tensor gets exactly zero: flat where it stands, unless it is solved."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import unvanish
from unvanish.remedies.ordering import candidates
from unvanish.remedies.remedy import Patient

Loss = Callable[[Tensor, Tensor], Tensor]


def net(bias: float) -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 1))
    nn.init.constant_(model[2].bias, bias)
    return model


def batch() -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    inputs = torch.randn(128, 6)
    return inputs, torch.sigmoid(inputs[:, :1])


def clamped(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.mse_loss(outputs.clamp(0, 1), targets)


def overlap(outputs: Tensor, targets: Tensor) -> Tensor:
    """One minus the overlap of intervals: flat where they do not meet."""
    low, high = torch.maximum(outputs, targets), torch.minimum(outputs + 1, targets + 1)
    met = (high - low).clamp(min=0)
    return (1 - met / (2 - met)).mean()


@pytest.mark.parametrize("loss", [clamped, overlap])
@pytest.mark.parametrize("steps", [0, 20])
def test_flat(loss: Loss, steps: int) -> None:
    model = net(-4.0)
    loss(model(batch()[0]), batch()[1]).backward()
    assert not any(bool(p.grad.any()) for p in model.parameters() if p.grad is not None)
    model.zero_grad()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    found = unvanish.diagnose(model, batch(), loss, optimizer, steps=steps).findings[0]
    assert (found.name, found.severity) == ("unfit-loss", "broken")
    assert "flat" in (found.detail or "")


@pytest.mark.parametrize("loss", [clamped, overlap])
def test_the_same_where_it_slopes(loss: Loss) -> None:
    model = net(0.5)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    assert unvanish.diagnose(model, batch(), loss, optimizer, steps=20).healthy


def test_a_margin_that_is_met_is_done() -> None:
    torch.manual_seed(0)
    inputs = torch.randn(128, 6)
    sides = inputs[:, 0].sign()
    model = nn.Linear(6, 1)
    with torch.no_grad():
        model.weight.copy_(torch.eye(6)[:1] * 1e4)
        model.bias.zero_()
    loss: Loss = lambda outputs, wanted: F.relu(1 - wanted * outputs.squeeze(1)).mean() + 0.01  # noqa: E731
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    assert unvanish.diagnose(model, (inputs, sides), loss, optimizer, steps=20).healthy


def test_where_targets_cannot_be_shuffled_it_is_a_note() -> None:
    """Ratios that are all clipped, as in a late epoch of PPO on one batch."""
    model = net(4.0)

    def forward(model: nn.Module, inputs: Tensor) -> Tensor:
        return -model(inputs).clamp(0.8, 1.2).mean()

    diagnosis = unvanish.diagnose(model, batch()[0], forward=forward)
    assert diagnosis.healthy
    assert "unfit-loss" in [finding.name for finding in diagnosis.findings]


@pytest.mark.parametrize("loss", [clamped, overlap])
def test_its_advice_names_what_is_flat_and_no_scores_and_units(loss: Loss) -> None:
    model = net(-4.0)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    patient = Patient(
        model=model,
        batches=(batch(),),
        loss=loss,
        forward=None,
        optimizer=optimizer,
        diagnosis=unvanish.diagnose(model, batch(), loss, optimizer),
    )
    (said,) = [edit.options["text"] for c in candidates(patient) for edit in c.plan]
    assert "slope" in str(said)
    assert "Clamp" in str(said)
    assert "cross_entropy" not in str(said)
    # It is true: without that function the same outputs get a gradient.
    F.mse_loss(model(batch()[0]), batch()[1]).backward()
    assert all(bool(p.grad is not None and p.grad.any()) for p in model.parameters())
