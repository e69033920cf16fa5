"""A loop of one's own under Accelerate: watched as it is, without a callback."""

from typing import Any

import pytest
import torch
from test_integration_faults import NAMES, RATES, STEPS, Sick, assert_named, data, needs
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

import unvanish

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # the framework's own
    needs("accelerate"),
]


def train(fault: str, watched: bool, accumulation: int = 1, clip: float = 0.0) -> list[Any]:
    """The losses and the final weights; with the watch before them where there is one."""
    from accelerate import Accelerator

    torch.manual_seed(0)
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=accumulation)
    net = Sick(fault)
    optimizer = torch.optim.AdamW(net.parameters(), lr=RATES.get(fault, 1e-2))
    loader = DataLoader(TensorDataset(*data()), batch_size=8, shuffle=True)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 20)
    net, optimizer, loader, scheduler = accelerator.prepare(net, optimizer, loader, scheduler)
    monitor = unvanish.watch(net, optimizer, strict=True) if watched else None
    losses: list[Any] = []
    try:
        for inputs, targets in loader:
            with accelerator.accumulate(net):
                optimizer.zero_grad()
                loss = cross_entropy(net(inputs), targets)
                accelerator.backward(loss)
                if clip and accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(net.parameters(), clip)
                optimizer.step()
                scheduler.step()
            losses.append(loss.item())
    finally:
        if monitor is not None:
            monitor.close()
    return [monitor, losses, [p.detach().clone() for p in net.parameters()]]


@pytest.mark.parametrize(("accumulation", "clip"), [(1, 0.0), (4, 0.0), (1, 0.1), (4, 0.1)])
def test_the_training_is_not_disturbed(accumulation: int, clip: float) -> None:
    _, losses, weights = train("", False, accumulation, clip)
    monitor, same, again = train("", True, accumulation, clip)
    assert losses == same
    assert all(torch.equal(one, other) for one, other in zip(weights, again, strict=True))
    assert monitor.steps == -(-STEPS // accumulation)
    assert [alarm.name for alarm in monitor.alarms] == []


@pytest.mark.parametrize("fault", NAMES)
def test_faults_are_named(fault: str) -> None:
    assert_named(train(fault, True)[0], fault)
