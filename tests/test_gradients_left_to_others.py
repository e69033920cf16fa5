"""Gradients pile up on what no optimizer of a training step holds: no step uses those."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import unvanish


class Players(nn.Module):
    """A generator and a critic, kept together."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.maker = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 2))
        self.critic = nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))


def judged(logits: Tensor, real: bool) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))


def makers_turn(model: Any, optimizer: torch.optim.Optimizer, batch: Any) -> None:
    """It leaves gradients to the critic, whose own turn begins with zero_grad."""
    optimizer.zero_grad()
    judged(model.critic(model.maker(torch.randn(64, 4))), True).backward()
    optimizer.step()


def critics_turn(model: Any, optimizer: torch.optim.Optimizer, batch: Any) -> None:
    """It leaves gradients to the maker."""
    optimizer.zero_grad()
    real = judged(model.critic(batch[0]), True)
    (real + judged(model.critic(model.maker(torch.randn(64, 4))), False)).backward()
    optimizer.step()


def never_cleared(model: Any, optimizer: torch.optim.Optimizer, batch: Any) -> None:
    judged(model.critic(model.maker(torch.randn(64, 4))), True).backward()
    optimizer.step()


def points() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return 0.3 * torch.randn(64, 2, generator=generator) + torch.tensor([2.0, -1.0])


def adam(part: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(part.parameters(), 1e-3, betas=(0.5, 0.999))


@pytest.mark.parametrize("turn", ["maker", "critic"])
def test_each_turn_of_two_players(turn: str) -> None:
    model, x = Players(), points()
    made, step = adam(getattr(model, turn)), makers_turn if turn == "maker" else critics_turn
    diagnosis = unvanish.diagnose(model, [(x, x)], optimizer=made, step=step, steps=5)
    assert diagnosis.healthy, diagnosis.findings
    assert "stale-gradients" in {out.name for out in diagnosis.ruled_out}


def test_the_two_learn() -> None:
    """The same turns, by plain torch: samples come to lie where the data are."""
    model, x = Players(), points()
    maker, critic = adam(model.maker), adam(model.critic)
    before = (model.maker(torch.randn(512, 4)).mean(0) - x.mean(0)).norm()
    for _ in range(400):
        critics_turn(model, critic, (x, x))
        makers_turn(model, maker, (x, x))
    after = (model.maker(torch.randn(512, 4)).mean(0) - x.mean(0)).norm()
    assert after < 0.3 * before


def test_what_the_step_itself_uses_is_named() -> None:
    model, x = Players(), points()
    made = adam(model.maker)
    found = unvanish.diagnose(model, [(x, x)], optimizer=made, step=never_cleared).findings[0]
    assert found.name == "stale-gradients"
    assert {name.partition(".")[0] for name in found.where} == {"maker"}
