"""Weight decay that has already taken the weights is named; decay that does no harm is not."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

import unvanish

PIXELS, LABELS = load_digits(return_X_y=True)
DIGITS = torch.tensor(PIXELS[:256] / 16, dtype=torch.float32), torch.tensor(LABELS[:256])
Maker = Callable[[Any, float], torch.optim.Optimizer]


def momentum(parameters: Any, decay: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, 0.05, momentum=0.9, weight_decay=decay)


def rmsprop(parameters: Any, decay: float) -> torch.optim.Optimizer:
    return torch.optim.RMSprop(parameters, 2e-3, weight_decay=decay)


@pytest.mark.parametrize("make", [momentum, rmsprop])
@pytest.mark.parametrize(("decay", "harms"), [(0.5, True), (1e-4, False)])
def test_named_after_it_has_done_its_work(make: Maker, decay: float, harms: bool) -> None:
    torch.manual_seed(0)
    hidden = nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU()
    model = nn.Sequential(*hidden, nn.Linear(64, 10))
    optimizer = make(model.parameters(), decay)
    for _ in range(200):
        optimizer.zero_grad()
        F.cross_entropy(model(DIGITS[0]), DIGITS[1]).backward()
        optimizer.step()
    right = float((model(DIGITS[0]).argmax(1) == DIGITS[1]).float().mean())
    assert (right < 0.3) == harms
    for steps in (0, 20):
        found = unvanish.diagnose(model, DIGITS, F.cross_entropy, optimizer, steps=steps)
        named = [f.name for f in found.findings if f.severity != "note"]
        assert named == (["weight-decay-dominates"] if harms else [])
