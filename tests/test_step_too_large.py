"""A loss that rose is held against a step size only where training does not leave the rise behind."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import unvanish
from unvanish.causes.step_too_large import LONGER, SETTLED, goes_by
from unvanish.experiments.laboratory import Laboratory
from unvanish.experiments.rehearsal import Rehearsal


def run(final: float, *, highest: float = 2.0, steps: int = SETTLED) -> Rehearsal:
    losses = (1.5, highest, *([final] * (steps - 2)))
    return Rehearsal(optimizer="SGD", losses=losses, initial=1.5, final=final, movements=())


class Prepared(Laboratory):
    """Longer runs that end where the test says, at the full and at the smaller step size."""

    def __init__(self, own: float, smaller: float) -> None:
        self._own, self._smaller = own, smaller

    def rehearsal(self, *, rate: float = 1.0, share: float = 1.0, **rest: Any) -> Rehearsal | None:
        assert share in (LONGER, LONGER / 2)
        return run(self._own if rate == 1 else self._smaller, steps=round(share * SETTLED))


@pytest.mark.parametrize(
    ("own", "smaller", "passes"),
    [
        (0.5, 0.6, True),  # it fell after all, as far as at a tenth of the step size
        (1.4, 0.3, False),  # what it fell to is what a guess has
        (1.9, 1.0, False),  # it is still above its start
        (1.6, 1.45, False),  # it came back to its start and learned nothing since
        (1.6, 1.55, True),  # nor does the other learn anything
    ],
)
def test_a_rise_at_the_start_goes_by(own: float, smaller: float, passes: bool) -> None:
    case = cast(Any, SimpleNamespace(laboratory=Prepared(own, smaller)))
    assert goes_by(case, run(1.7), 0.1) is passes


def test_what_blew_up_or_ran_long_enough_is_not_asked_again() -> None:
    case = cast(Any, SimpleNamespace(laboratory=Prepared(0.5, 0.6)))
    assert not goes_by(case, run(1.7, highest=1e6), 0.1)
    assert not goes_by(case, run(1.7, steps=LONGER * SETTLED), 0.1)


def layers() -> nn.Sequential:
    torch.manual_seed(0)
    first, second = nn.Linear(20, 64), nn.Linear(64, 64)
    return nn.Sequential(first, nn.Sigmoid(), second, nn.Sigmoid(), nn.Linear(64, 10))


def test_a_step_is_too_large_where_only_one_far_smaller_learns() -> None:
    """A tenth of the rate saturates the net as well; to be stuck beside it is no excuse."""
    torch.manual_seed(0)
    labels = torch.randint(10, (256,))
    inputs = (torch.rand(10, 20)[labels] + 0.2 * torch.rand(256, 20)).clamp(0, 1)
    batches = [(inputs[k::4], labels[k::4]) for k in range(4)]

    def learned(rate: float) -> float:
        net = layers()
        optimizer = torch.optim.Adam(net.parameters(), rate)
        for step in range(120):
            optimizer.zero_grad()
            F.cross_entropy(net(batches[step % 4][0]), batches[step % 4][1]).backward()
            optimizer.step()
        with torch.no_grad():
            return float(F.cross_entropy(net(inputs), labels))

    assert min(learned(1.0), learned(0.1)) > 2 > 10 * learned(0.01)
    net = layers()
    optimizer = torch.optim.Adam(net.parameters(), 1.0)
    found = unvanish.diagnose(net, batches, F.cross_entropy, optimizer, steps=40).findings
    assert "step-too-large" in {finding.name for finding in found}
