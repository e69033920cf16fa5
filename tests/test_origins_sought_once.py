"""The origin of a NaN is looked for while the weights are sound: what comes later is no origin."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import unvanish
from unvanish.watching.monitor import Monitor
from unvanish.watching.origin import origin_of
from unvanish.watching.origins import Origins
from unvanish.watching.watched import Watched

INFINITE = torch.tensor(math.inf)


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))


def written_out(outputs: Tensor, labels: Tensor) -> Tensor:
    """A cross-entropy in which a label of zero meets the logarithm of zero: no number."""
    return -(F.one_hot(labels, 4) * outputs.softmax(1).log()).sum(1).mean()


def watched(spoilt: int) -> Monitor:
    """Trained with one batch so large that a probability is zero."""
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    with unvanish.watch(model, optimizer, strict=True) as monitor:
        for step in range(30):
            inputs, labels = torch.randn(32, 8), torch.randint(0, 4, (32,))
            outputs = model(inputs * (3e4 if step == spoilt else 1.0))
            assert bool(outputs.isfinite().all()) == (step <= spoilt)
            optimizer.zero_grad()
            written_out(outputs, labels).backward()
            optimizer.step()
    return monitor


def test_weights_that_are_lost_since_are_not_blamed() -> None:
    [alarm] = [one for one in watched(10).alarms if one.severity != "note"]
    assert (alarm.name, alarm.step) == ("nonfinite-forward", 10)
    assert "first seen in the result of Log, on what Softmax made" in (alarm.detail or "")


@pytest.mark.parametrize("sound", [True, False])
def test_only_a_whole_finite_step_shows_that_the_weights_were_kept(sound: bool) -> None:
    model = net()
    origins = Origins(Watched(model, (torch.optim.SGD(model.parameters(), lr=0.1),)))
    fine, first, second = torch.ones(()), nan_of(torch.sqrt), nan_of(torch.log)
    origins.loss(first)
    origins.loss(fine)  # of the same step, by another backward pass
    origins.stepped(0)
    origins.loss(fine if sound else first)
    origins.stepped(1)
    origins.loss(second)
    origins.stepped(2)
    assert "Sqrt" in told(origins, 0)
    assert ("Log" if sound else "Sqrt") in told(origins, 2)
    assert (told(origins, 1) == "") == sound


POLES: list[tuple[Callable[[Tensor], Tensor], str | None]] = [
    (lambda zeros: (zeros.log2() * 0).sum(), "Log2"),
    (lambda zeros: (torch.ones(2) * (zeros - 1).log1p()).mean(), "Log1P"),
    (lambda zeros: (torch.ones(2) / zeros).sum(), "Div"),
    (lambda zeros: -(zeros**-2).mean(), "Pow"),
    # The same pole, but what makes the loss infinite is not behind it.
    (lambda zeros: (torch.where(zeros > 0, zeros.log(), zeros) * INFINITE).sum(), None),
    (lambda zeros: (zeros.log().tanh() * INFINITE).sum(), None),
]


@pytest.mark.parametrize(("loss_of", "maker"), POLES)
def test_a_pole_is_named_where_nothing_else_can_be_meant(
    loss_of: Callable[[Tensor], Tensor], maker: str | None
) -> None:
    loss = loss_of(torch.zeros(2, requires_grad=True) * 1.0)
    assert not bool(loss.isfinite())
    origin = origin_of(loss, {})
    if maker is None:
        assert origin is None or "Log" not in origin.said
    else:
        assert origin is not None
        assert origin.said.startswith(f"first seen in the result of {maker}")


def nan_of(operation: Callable[[Tensor], Tensor]) -> Tensor:
    return operation(-torch.ones(2, requires_grad=True)).tanh().sum()


def told(origins: Origins, step: int) -> str:
    origin = origins.of(step)
    return origin.said if origin is not None else ""


def test_a_loss_without_a_number_has_no_sign() -> None:
    model = net()
    with torch.no_grad():
        next(model.parameters()).fill_(math.nan)
    batch = torch.randn(32, 8), torch.randint(0, 4, (32,))
    found = unvanish.diagnose(model, batch, written_out).findings
    assert "nonfinite-forward" in [finding.name for finding in found]
    assert "wrong-sign" not in [finding.name for finding in found]
