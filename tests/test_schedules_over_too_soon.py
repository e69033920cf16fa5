"""A rate that a schedule brought to nothing before the net began is no warm-up: it will not rise."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim import lr_scheduler as schedulers
from torch.optim.lr_scheduler import LRScheduler

import unvanish
from unvanish.training.schedules import rate_rises

Make = Callable[[Optimizer], LRScheduler]
FALLING: dict[str, Make] = {
    "step": lambda o: schedulers.StepLR(o, 1, 0.1),
    "exponential": lambda o: schedulers.ExponentialLR(o, 0.3),
    "lambda": lambda o: schedulers.LambdaLR(o, lambda step: 0.1**step),
    "milestones": lambda o: schedulers.MultiStepLR(o, [1, 2, 3, 4, 5, 6], 0.01),
    "in a row": lambda o: schedulers.SequentialLR(
        o,
        [schedulers.LinearLR(o, 0.1, total_iters=2), schedulers.ExponentialLR(o, 0.1)],
        milestones=[3],
    ),
    "at once": lambda o: schedulers.ChainedScheduler(
        [schedulers.ExponentialLR(o, 0.5), schedulers.ExponentialLR(o, 0.5)]
    ),
}
RISING: dict[str, Make] = {
    "linear": lambda o: schedulers.LinearLR(o, 1e-9, total_iters=10**7),
    "from zero": lambda o: schedulers.LambdaLR(o, lambda step: min(1e-9 + step / 1e9, 1.0)),
    "stairs": lambda o: schedulers.LambdaLR(o, lambda step: 1e-9 if step < 900 else 1.0),
    "in a row": lambda o: schedulers.SequentialLR(
        o,
        [schedulers.ConstantLR(o, 1e-9, total_iters=500), schedulers.ExponentialLR(o, 0.9)],
        milestones=[500],
    ),
}


def digits() -> tuple[Tensor, Tensor]:
    pixels, labels = load_digits(return_X_y=True)
    inputs = torch.tensor(pixels[:512] / 16, dtype=torch.float32)
    return inputs, torch.tensor(labels[:512])


def stepped(make: Make, steps: int) -> tuple[nn.Module, Optimizer, LRScheduler]:
    """A net and its optimizer after steps, the schedule stepped after each."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters())
    scheduler = make(optimizer)
    inputs, labels = digits()
    for step in range(steps):
        part = slice(64 * (step % 8), 64 * (step % 8) + 64)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs[part]), labels[part]).backward()
        optimizer.step()
        scheduler.step()
    return model, optimizer, scheduler


def alarms(model: nn.Module, optimizer: Optimizer, **given: Any) -> list[str]:
    found = unvanish.diagnose(
        model, digits(), nn.CrossEntropyLoss(), optimizer=optimizer, **given
    ).findings
    return [finding.name for finding in found if finding.severity != "note"]


@pytest.mark.parametrize("name", FALLING)
def test_schedule_that_is_over_before_the_net_began(name: str) -> None:
    model, optimizer, scheduler = stepped(FALLING[name], 15)
    assert scheduler.get_last_lr()[0] < 1e-8
    assert rate_rises(optimizer) is False
    assert alarms(model, optimizer) == ["step-too-small"]


@pytest.mark.parametrize("steps", [0, 15])
@pytest.mark.parametrize("name", RISING)
def test_warm_up_is_none(name: str, steps: int) -> None:
    model, optimizer, scheduler = stepped(RISING[name], steps)
    assert scheduler.get_last_lr()[0] < 1e-8
    assert rate_rises(optimizer) is True
    assert alarms(model, optimizer) == []


@pytest.mark.parametrize("allowed", [0, 20])
def test_schedule_that_is_over_when_the_net_has_learned(allowed: int) -> None:
    steps = 300
    to_zero: Make = lambda o: schedulers.LambdaLR(  # noqa: E731
        o, lambda step: max(1e-9, 1 - step / steps) ** 2
    )
    model, optimizer, scheduler = stepped(to_zero, steps)
    inputs, labels = digits()
    assert (model(inputs).argmax(1) == labels).float().mean() > 0.9
    assert scheduler.get_last_lr()[0] < 1e-15
    assert rate_rises(optimizer) is False
    assert alarms(model, optimizer, steps=allowed) == []


def test_one_cycle_ends() -> None:
    _, optimizer, scheduler = stepped(lambda o: schedulers.OneCycleLR(o, 0.01, total_steps=20), 20)
    assert scheduler.last_epoch == 20
    assert rate_rises(optimizer) is False


def test_without_a_scheduler_nothing_is_known() -> None:
    _, optimizer, scheduler = stepped(FALLING["step"], 3)
    del scheduler
    assert rate_rises(optimizer) is None


@pytest.mark.parametrize("name", [*FALLING, "one cycle", "plateau"])
def test_following_it_steps_nothing(name: str) -> None:
    others: dict[str, Make] = {
        "one cycle": lambda o: schedulers.OneCycleLR(o, 0.01, total_steps=100),
        "plateau": lambda o: schedulers.ReduceLROnPlateau(o),
    }
    torch.manual_seed(0)
    model = nn.Linear(4, 4)
    optimizer = torch.optim.Adam(model.parameters())
    scheduler = (FALLING | others)[name](optimizer)
    before = copy.deepcopy((optimizer.state_dict(), scheduler.state_dict()))
    random = torch.get_rng_state()
    rate_rises(optimizer)
    assert repr((optimizer.state_dict(), scheduler.state_dict())) == repr(before)
    assert torch.equal(torch.get_rng_state(), random)
