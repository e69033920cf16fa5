"""A net that is done is quiet whatever way its loss is given; targets that nobody reads tell nothing."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import unvanish
from unvanish.experiments.looks import shuffled_ratio
from unvanish.experiments.program import Program

torch.manual_seed(0)
INPUTS = torch.randn(64, 6)
TARGETS = torch.sigmoid(INPUTS @ torch.randn(6, 3))
MASK = torch.ones(64, 1)


def of_pair(model: nn.Module, batch: Any) -> Tensor:
    return F.mse_loss(model(batch[0]), batch[1])


def of_triple(model: nn.Module, batch: Any) -> Tensor:
    return F.mse_loss(batch[2] * model(batch[0]), batch[2] * batch[1])


def of_mapping(model: nn.Module, batch: Any) -> Tensor:
    return F.mse_loss(model(batch["x"]), batch["y"])


WAYS: dict[str, tuple[Any, Callable[[nn.Module, Any], Tensor]]] = {
    "pair": ((INPUTS, TARGETS), of_pair),
    "triple": ((INPUTS, TARGETS, MASK), of_triple),
    "mapping": ({"x": INPUTS, "y": TARGETS}, of_mapping),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("steps", [0, 20])
def test_a_net_that_is_done_is_quiet(way: str, steps: int) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 64), nn.Tanh(), nn.Linear(64, 3), nn.Sigmoid())
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    batch, forward = WAYS[way]
    for _ in range(3000):
        optimizer.zero_grad()
        forward(model, batch).backward()
        optimizer.step()
    assert forward(model, batch).item() < 1e-4
    found = unvanish.diagnose(model, batch, forward=forward, optimizer=optimizer, steps=steps)
    assert found.healthy


def test_targets_that_the_loss_does_not_read_are_none() -> None:
    """An autoencoder fed by a loader that gives labels as well."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 3), nn.Dropout(0.2), nn.Linear(3, 6))

    def rebuilt(model: nn.Module, batch: Any) -> Tensor:
        return F.mse_loss(model(batch[0]), batch[0])

    program = Program(model, (INPUTS, TARGETS), None, rebuilt, None, 0)
    assert shuffled_ratio(program, (INPUTS, TARGETS)) is None


def test_a_net_of_constants_reads_its_targets() -> None:
    """Its outputs are the same for all, so that shuffling changes nothing; the loss reads them."""
    first = nn.Linear(6, 3)
    nn.init.constant_(first.bias, -100.0)
    model = nn.Sequential(first, nn.ReLU(), nn.Linear(3, 3))
    program = Program(model, (INPUTS, TARGETS), F.mse_loss, None, None, 0)
    assert shuffled_ratio(program, (INPUTS, TARGETS)) == pytest.approx(1)


class Agent(nn.Module):
    """Two copies of one net, the second for the targets."""

    def __init__(self) -> None:
        super().__init__()
        self.online, self.target = (
            nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3)) for _ in range(2)
        )
        self.target.load_state_dict(self.online.state_dict())


@pytest.mark.parametrize("turned", [True, False])
def test_a_copy_that_is_stepped_in_place_of_its_original(turned: bool) -> None:
    torch.manual_seed(0)
    model = Agent()
    trained, held = (model.target, model.online) if turned else (model.online, model.target)

    def difference(_: nn.Module, batch: Any) -> Tensor:
        with torch.no_grad():
            wanted = batch[1] + 0.9 * held(batch[0]).amax(1, keepdim=True)
        return F.mse_loss(trained(batch[0]), wanted)

    optimizer = torch.optim.Adam(model.online.parameters(), 1e-3)
    found = unvanish.diagnose(model, (INPUTS, TARGETS), forward=difference, optimizer=optimizer)
    assert found.healthy != turned
    assert ("detached" in {f.name for f in found.findings}) == turned
