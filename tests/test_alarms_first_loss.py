"""A first loss that is of an easier question than those that follow is nothing to be held to."""

import copy

import pytest
import torch
from test_alarms import CHAIN, reading
from torch import Tensor, nn
from torch.nn import functional as F

import unvanish
from unvanish.alarms import Alarms

FILLED = 8
"""Steps until the memory holds samples of the training."""


def course(falls: bool, step: int, noise: Tensor) -> float:
    """Easy until the memory is filled, then far above: and down from there, or not."""
    if step < FILLED:
        return 1.0 + 0.5 * step
    down = 0.06 * (step - FILLED) if falls else 0.0
    return 5.0 - down + 0.05 * float(noise[step])


def raised(falls: bool, update: float = 0.3, steps: int = 50) -> list[tuple[str, int]]:
    """Alarms over readings with that loss and updates that replace the weights soon."""
    noise = torch.randn(steps, generator=torch.Generator().manual_seed(0))
    alarms = Alarms(CHAIN, optimizer="SGD")
    readings = (
        reading(
            step,
            updates=(update if step < 2 * FILLED else 0.01,) * 8,
            weights=(1.0,) * 8,
            loss=course(falls, step, noise),
            learning_rate=0.1,
        )
        for step in range(steps)
    )
    events = [event for r in readings for event in alarms.feed(r)]
    return [(e.name, e.step) for e in events if e.kind == "alarm"]


def test_a_jump_with_a_fall_behind_it() -> None:
    noise = torch.randn(50, generator=torch.Generator().manual_seed(0))
    losses = [course(True, step, noise) for step in range(50)]
    assert min(losses[20:40]) > 2 * losses[0]  # it stays above the first one all the while
    assert raised(falls=True) == []


def test_the_same_jump_without_a_fall() -> None:
    assert [name for name, _ in raised(falls=False)] == ["step-too-large"]


def test_the_same_jump_with_small_steps() -> None:
    assert raised(falls=False, update=0.001) == []


class Contrast(nn.Module):
    """Momentum contrast: a slow copy of the encoder and a queue of what it gave before."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 16))
        self.slow = copy.deepcopy(self.encoder).requires_grad_(False)
        self.register_buffer("queue", F.normalize(torch.randn(256, 16), dim=1))
        self.filled = 0

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        query = F.normalize(self.encoder(left), dim=1)
        with torch.no_grad():
            pairs = zip(self.slow.parameters(), self.encoder.parameters(), strict=True)
            for slow, fast in pairs:
                slow.lerp_(fast, 0.01)
            key = F.normalize(self.slow(right), dim=1)
        queue = self.get_buffer("queue")
        same = (query * key).sum(1, keepdim=True)
        scores = torch.cat([same, query @ queue.clone().T], 1) / 0.1
        queue[self.filled : self.filled + len(key)] = key
        self.filled = (self.filled + len(key)) % len(queue)
        return scores


def views(step: int) -> tuple[Tensor, Tensor]:
    """Two noisy views of the same 64 samples."""
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(64, 16, generator=generator)
    noise = 0.2 * torch.randn(2, 64, 16, generator=generator)
    return x + noise[0], x + noise[1]


def contrasted(model: Contrast, rate: float, steps: int = 60) -> tuple[list[str], list[float]]:
    """Alarms and losses of a training."""
    optimizer = torch.optim.SGD(model.encoder.parameters(), rate, momentum=0.9)
    losses = list[float]()
    with unvanish.watch(model, optimizer, budget=None, strict=True) as monitor:
        for step in range(steps):
            scores = model(*views(step))
            loss = F.cross_entropy(scores, torch.zeros(len(scores), dtype=torch.long))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
    return [alarm.name for alarm in monitor.alarms if alarm.severity != "note"], losses


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("rate", [0.03, 0.1, 0.3])
def test_a_queue_that_is_not_filled_yet(rate: float, seed: int) -> None:
    torch.manual_seed(seed)
    model = Contrast()
    alarms, losses = contrasted(model, rate)
    assert max(losses[4:20]) > 1.2 * losses[0]
    assert alarms == []
