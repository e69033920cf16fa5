"""A layer norm over one value gives its bias whatever comes in: found whatever rounding leaves of it."""

import pytest
import torch
from torch import Tensor, nn

import unvanish


class Critic(nn.Module):
    """A net whose one output is normalised; ``beside``: it also goes on as it is."""

    def __init__(self, norm: nn.Module, beside: bool = False) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1))
        self.norm, self.beside = norm, beside

    def forward(self, x: Tensor) -> Tensor:
        value = self.body(x)
        return self.norm(value) + value if self.beside else self.norm(value)


def trained(model: nn.Module, steps: int) -> tuple[Tensor, Tensor]:
    """The batch of a regression on which a model has taken so many steps of Adam."""
    inputs = torch.randn(64, 8)
    batch = inputs, inputs[:, :1] * inputs[:, 1:2] + 1
    optimizer = torch.optim.Adam(model.parameters())
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(batch[0]), batch[1]).backward()
        optimizer.step()
    return batch


def answers(model: nn.Module, inputs: Tensor) -> set[float]:
    with torch.no_grad():
        return {round(float(value), 4) for value in model(inputs)}


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("steps", [0, 20])
def test_norm_over_one_value_is_found(steps: int, affine: bool) -> None:
    torch.manual_seed(0)
    model = Critic(nn.LayerNorm(1, elementwise_affine=affine))
    batch = trained(model, steps if affine else 0)
    assert len(answers(model, batch[0])) == 1
    (finding,) = unvanish.diagnose(model, batch, nn.MSELoss()).findings
    assert (finding.name, finding.severity, finding.where[0]) == ("detached", "broken", "norm")
    assert {name for name in finding.where if name.startswith("body.")} == {
        f"body.{name}" for name, _ in model.body.named_parameters()
    }
    if affine:
        assert "a norm over a single value" in (finding.detail or "")
        assert "rewire" not in finding.remedies


@pytest.mark.parametrize("steps", [0, 20])
def test_what_goes_around_it_is_not_lost(steps: int) -> None:
    torch.manual_seed(0)
    model = Critic(nn.LayerNorm(1), beside=True)
    batch = trained(model, steps)
    assert len(answers(model, batch[0])) > 32
    assert unvanish.diagnose(model, batch, nn.MSELoss()).healthy


def test_norm_over_more_values_is_none() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.LayerNorm(16), nn.Tanh(), nn.Linear(16, 1))
    assert unvanish.diagnose(model, trained(model, 20), nn.MSELoss()).healthy
