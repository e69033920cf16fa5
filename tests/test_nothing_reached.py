"""A loss that reaches nothing of what is to train: it is of something else."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import unvanish

NOISE = torch.randn(64, 8, generator=torch.Generator().manual_seed(1))
REAL = torch.randn(64, 2, generator=torch.Generator().manual_seed(2)) * 0.3 + 1
Forward = Callable[[nn.Module, tuple[Tensor, ...]], Tensor]


def maker() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 2))


def judge() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))


def adam(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, 2e-3)


def fooled(verdict: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(verdict, torch.ones(len(verdict), 1))


def of_maker(real: bool) -> tuple[nn.Module, Forward]:
    """The generator's loss; by a slip of the pen it is taken of the real samples."""
    critic = judge()

    def forward(model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        fake = model(batch[0])
        return fooled(critic(batch[1] if real else fake))

    return maker(), forward


def players(real: bool) -> tuple[nn.ModuleDict, Forward]:
    """Both in a container, which is never called itself."""

    def forward(model: Any, batch: tuple[Tensor, ...]) -> Tensor:
        fake = model["G"](batch[0])
        return fooled(model["D"](batch[1] if real else fake))

    return nn.ModuleDict({"G": maker(), "D": judge()}), forward


def reached(model: nn.Module, forward: Forward) -> set[str]:
    """The parameters that plain torch gives a gradient."""
    forward(model, (NOISE, REAL)).backward()
    names = {name for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return names


def diagnosed(model: nn.Module, forward: Forward, **more: Any) -> unvanish.Diagnosis:
    return unvanish.diagnose(model, (NOISE, REAL), forward=forward, **more)


def named(diagnosis: unvanish.Diagnosis) -> list[tuple[str, str]]:
    return [(f.name, f.severity) for f in diagnosis.findings]


@pytest.mark.parametrize("optimized", [False, True])
def test_the_generators_loss_of_the_real_samples(optimized: bool) -> None:
    model, forward = of_maker(True)
    assert reached(model, forward) == set()
    more = {"optimizer": adam(model.parameters()), "steps": 20} if optimized else {}
    diagnosis = diagnosed(model, forward, **more)
    assert named(diagnosis)[0] == ("detached", "broken")
    assert [name for name, severity in named(diagnosis) if severity != "note"] == ["detached"]
    assert {name for name, _ in model.named_parameters()} <= set(diagnosis.findings[0].where)
    assert "detached" not in {item.name for item in diagnosis.ruled_out}


@pytest.mark.parametrize("optimized", [False, True])
def test_the_generators_loss_of_its_own_samples(optimized: bool) -> None:
    model, forward = of_maker(False)
    assert len(reached(model, forward)) == 4
    more = {"optimizer": adam(model.parameters()), "steps": 20} if optimized else {}
    diagnosis = diagnosed(model, forward, **more)
    assert diagnosis.healthy, named(diagnosis)
    assert "detached" in {item.name for item in diagnosis.ruled_out}


def test_a_container_of_both_with_the_generators_optimizer() -> None:
    model, forward = players(True)
    assert {name.partition(".")[0] for name in reached(model, forward)} == {"D"}
    diagnosis = diagnosed(model, forward, optimizer=adam(model["G"].parameters()), steps=20)
    found = {f.name: f for f in diagnosis.findings}
    assert found["detached"].severity == "broken"
    names = {name for name, _ in model.named_parameters()}
    lost = {name for name in found["detached"].where if name in names}
    assert lost == {name for name in names if name.startswith("G.")}
    assert found["not-in-optimizer"].severity == "note"
    assert all(name.startswith("D.") for name in found["not-in-optimizer"].where)
    assert "detached" not in {item.name for item in diagnosis.ruled_out}


def test_a_container_of_both_with_the_right_loss() -> None:
    model, forward = players(False)
    assert {name.partition(".")[0] for name in reached(model, forward)} == {"G", "D"}
    diagnosis = diagnosed(model, forward, optimizer=adam(model["G"].parameters()), steps=20)
    assert diagnosis.healthy, named(diagnosis)


def test_the_critics_turn_with_the_critics_optimizer() -> None:
    """The loss of the real samples is the critic's: what its optimizer holds is reached."""
    model, forward = players(True)
    diagnosis = diagnosed(model, forward, optimizer=adam(model["D"].parameters()), steps=20)
    assert "detached" not in [name for name, severity in named(diagnosis) if severity != "note"]


def test_what_the_same_training_step_trains_later() -> None:
    """The loss that is looked at is the critic's; the generator has its turn in the same step."""
    critic = judge()
    critics = adam(critic.parameters())

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
        fake, real = model(batch[0]), batch[1]
        critics.zero_grad()
        loss = F.softplus(-critic(real)).mean() + F.softplus(critic(fake.detach())).mean()
        loss.backward()
        critics.step()
        optimizer.zero_grad()
        fooled(critic(fake)).backward()
        optimizer.step()

    def judged(model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        model(batch[0])
        return F.softplus(-critic(batch[1])).mean()

    model = maker()
    assert reached(model, judged) == set()
    optimizer = adam(model.parameters())
    diagnosis = diagnosed(model, judged, optimizer=optimizer, step=step, steps=5)
    assert "detached" not in [name for name, severity in named(diagnosis) if severity != "note"]


def test_watched_players_of_a_game() -> None:
    """The generator's optimizer is given, and its turn comes first in each step."""
    torch.manual_seed(0)
    game = nn.ModuleDict(
        {
            "G": nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 2)),
            "D": nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1)),
        }
    )
    of_g = torch.optim.Adam(game["G"].parameters(), 1e-3)
    of_d = torch.optim.Adam(game["D"].parameters(), 1e-3)
    softplus = nn.functional.softplus
    with unvanish.watch(game, of_g, budget=None) as watching:
        for _ in range(60):
            noise, real = torch.randn(64, 4), 1 + 0.3 * torch.randn(64, 2)
            of_g.zero_grad()
            softplus(-game["D"](game["G"](noise))).mean().backward()
            of_g.step()
            of_d.zero_grad()
            with torch.no_grad():
                made = game["G"](noise)
            (softplus(-game["D"](real)).mean() + softplus(game["D"](made)).mean()).backward()
            of_d.step()
    assert "detached" not in {alarm.name for alarm in watching.alarms}
