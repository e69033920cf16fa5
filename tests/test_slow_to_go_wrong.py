"""What goes wrong too slowly for an alarm: a deep look is asked for, and names it."""

import itertools

import numpy as np
import pytest
import torch
from test_alarms import CHAIN, reading
from torch import nn
from torch.nn import functional as F

import unvanish
from unvanish.alarms import Alarms
from unvanish.recording import StepReading


def looks(readings: list[StepReading]) -> list[int]:
    """The steps at which one is asked for; there must be no alarm."""
    alarms, asked = Alarms(CHAIN), list[int]()
    for one in readings:
        assert alarms.feed(one) == []
        asked += [one.step] if alarms.worth_a_look else []
    return asked


def losses(slope: float, seed: int, steps: int = 600) -> list[StepReading]:
    """From step 200 on the loss goes up by the slope a step, within noise of a tenth."""
    noise = np.random.default_rng(seed).normal(1.0, 0.1, steps)
    return [
        reading(step, loss=float(noise[step] + slope * max(step - 200, 0))) for step in range(steps)
    ]


@pytest.mark.parametrize("seed", range(5))
def test_a_loss_that_rises_less_in_a_step_than_it_differs(seed: int) -> None:
    asked = looks(losses(0.001, seed))
    assert asked
    assert 200 < asked[0] < 500
    assert len(asked) <= 3


def test_losses_that_do_not_rise_ask_as_rarely_as_chance() -> None:
    asked = [step for seed in range(20) for step in looks(losses(0.0, seed))]
    assert len(asked) <= 2  # 20 trainings, 19 questions each, once in 740


def moved(decades: float, at: int, steps: int = 400) -> list[int]:
    """The first tensors lose so many decades of gradient, by and by."""

    def gradients(step: int) -> list[float]:
        share = min(max(step - at, 0) / 100, 1.0)
        return [10 ** (-decades * share * (7 - place) / 7) for place in range(8)]

    return looks([
        reading(step, gradients(step), weights=[1.0] * 8, loss=1.0 - step / 1000)
        for step in range(steps)
    ])  # fmt: skip


def test_gradients_that_come_to_lie_otherwise_over_the_depth() -> None:
    asked = moved(6.0, at=100)
    assert asked
    assert 100 < asked[0] <= 200
    assert moved(2.0, at=100) == []


def test_a_net_that_saturates_by_and_by_is_named() -> None:
    """Its weights grow by a hundredth a step behind the optimizer's back, while it learns."""
    torch.manual_seed(0)
    widths = [32, 48, 48, 48, 48]
    layers = [m for a, b in itertools.pairwise(widths) for m in (nn.Linear(a, b), nn.Tanh())]
    model = nn.Sequential(*layers, nn.Linear(48, 10))
    inputs = torch.randn(512, 32)
    labels = inputs[:, :10].argmax(1)
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    with unvanish.watch(model, optimizer, strict=True) as monitor:
        for step in range(700):
            rows = torch.randint(0, 512, (64,))
            optimizer.zero_grad()
            F.cross_entropy(model(inputs[rows]), labels[rows]).backward()
            optimizer.step()
            with torch.no_grad():
                for layer in layers[::2] if 200 < step < 600 else ():
                    next(layer.parameters()).mul_(1.01)
    outputs = model[:4](inputs)
    assert float((outputs.abs() > 0.99).float().mean()) > 0.5  # saturated, indeed
    assert monitor.looked_at is not None
    assert monitor.looked_at > 200
    assert "saturated-activation" in [finding.name for finding in monitor.diagnosis.findings]
