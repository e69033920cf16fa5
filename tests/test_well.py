"""Healthy programs that look ill: no alarm, and the labels hold when they are trained."""

import copy

import pytest
import torch
from patients_well import HEALTHY_WELL, squeezed
from torch import nn

import unvanish
from unvanish.batches import compute_loss


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", HEALTHY_WELL)
def test_healthy_program_gets_no_alarm(name: str, seed: int) -> None:
    diagnosis = unvanish.diagnose(**HEALTHY_WELL[name](seed))
    assert diagnosis.healthy, [(f.name, f.severity, dict(f.evidence)) for f in diagnosis.findings]
    assert not [spot for spot in diagnosis.blind_spots if "experiment not possible" in spot]


TRAINED = ("decay and gradient in balance", "one sample of a trained net")


@pytest.mark.parametrize("name", [name for name in HEALTHY_WELL if name not in TRAINED])
def test_healthy_program_learns_with_its_own_optimizer(name: str) -> None:
    program = HEALTHY_WELL[name](0)
    model: nn.Module = program["model"]
    optimizer: torch.optim.Optimizer = program["optimizer"]
    if name == "first step of a warm-up":
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"]
    losses: list[float] = []
    for _ in range(400):
        optimizer.zero_grad()
        loss = compute_loss(model, program["data"], program.get("loss"), program.get("forward"))
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] / 4


def test_squeezed_units_are_off_by_chance_in_some_draw() -> None:
    """The case is there: some of the blocks have both units off on every sample."""
    dead = [
        activation
        for seed in range(4)
        for activation in unvanish.observe(
            *(squeezed(seed)[key] for key in ("model", "data", "loss"))
        ).activations
        if activation.units == 2 and activation.dead_units == 2
    ]
    assert dead


def test_layer_without_a_way_around_is_dead_even_with_few_units() -> None:
    """The same two units between all that trains and the loss: nothing can wake them."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 2), nn.ReLU(), nn.Linear(2, 4))
    nn.init.constant_(net[2].bias, -20.0)
    data = torch.randn(64, 16), torch.randint(4, (64,))
    before = copy.deepcopy(net.state_dict())
    diagnosis = unvanish.diagnose(net, data, nn.CrossEntropyLoss())
    assert diagnosis.findings[0].name == "dead-units"
    assert diagnosis.findings[0].severity == "broken"
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
