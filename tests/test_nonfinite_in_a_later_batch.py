"""NaN and Inf that the second batch brings are named there, and nothing says that they are not."""

import functools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import unvanish

Loss = Callable[[Tensor, Tensor], Tensor]


def batch(seed: int) -> Tensor:
    return torch.randn(8, 4, generator=torch.Generator().manual_seed(seed))


GOOD, OTHER = batch(1), batch(2)
ZERO = torch.cat([GOOD[:7], torch.zeros(1, 4)])
FAR = GOOD * 1e3


def linear() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(4, 3, bias=False)


def length(outputs: Tensor, _: Tensor) -> Tensor:
    """The root of a sum of squares: its slope at zero is zero times infinity."""
    return outputs.pow(2).sum(1).sqrt().mean()


def logarithm(outputs: Tensor, _: Tensor) -> Tensor:
    return -outputs.abs().sum(1).log().mean()


def exponential(outputs: Tensor, _: Tensor) -> Tensor:
    return outputs.exp().mean()


def share(outputs: Tensor, _: Tensor) -> Tensor:
    """Zero over zero."""
    return (outputs.abs() / outputs.abs().sum(1, keepdim=True)).square().mean()


def plain(loss: Loss, x: Tensor) -> tuple[bool, bool]:
    """Whether the loss and the gradient of this batch are finite."""
    model = linear()
    value = loss(model(x), x)
    value.backward()
    gradient = model.weight.grad
    return bool(value.isfinite()), gradient is not None and bool(gradient.isfinite().all())


def diagnosed(loss: Loss, *inputs: Tensor, **more: Any) -> unvanish.Diagnosis:
    return unvanish.diagnose(linear(), [(x, x) for x in inputs], loss, **more)


FORWARD = ((logarithm, ZERO, "log"), (exponential, FAR, "exp"), (share, ZERO, "div"))


@pytest.mark.parametrize("stepped", [False, True])
@pytest.mark.parametrize(("loss", "bad", "operation"), FORWARD)
def test_a_loss_that_is_no_number(loss: Loss, bad: Tensor, operation: str, stepped: bool) -> None:
    assert plain(loss, GOOD) == plain(loss, OTHER) == (True, True)
    assert not plain(loss, bad)[0]
    more = (
        {"optimizer": functools.partial(torch.optim.SGD, lr=0.01), "steps": 20} if stepped else {}
    )
    for before in ((), (GOOD,), (GOOD, OTHER)):
        diagnosis = diagnosed(loss, *before, bad, GOOD, **more)
        found = diagnosis.findings[0]
        assert (found.name, found.severity) == ("nonfinite-forward", "broken")
        assert operation in (found.detail or "")
        told = f"met in batch {len(before) + 1}" in (found.detail or "")
        assert told == bool(before)
        [record] = [bad for bad in diagnosis.trace.nonfinite if bad.phase == "forward"]
        assert record.batch == len(before)
        assert operation in record.operation
        out = {item.name for item in diagnosis.ruled_out}
        assert not out & {"nonfinite-forward", "nonfinite-backward"}


@pytest.mark.parametrize("stepped", [False, True])
def test_a_gradient_that_is_no_number(stepped: bool) -> None:
    assert plain(length, GOOD) == (True, True)
    assert plain(length, ZERO) == (True, False)
    more = (
        {"optimizer": functools.partial(torch.optim.SGD, lr=0.01), "steps": 20} if stepped else {}
    )
    for before in ((), (GOOD,), (GOOD, OTHER)):
        diagnosis = diagnosed(length, *before, ZERO, GOOD, **more)
        found = diagnosis.findings[0]
        assert (found.name, found.severity) == ("nonfinite-backward", "broken")
        assert "weight" in found.where
        assert "Sqrt" in (found.detail or "")
        assert (f"met in batch {len(before) + 1}" in (found.detail or "")) == bool(before)
        out = {item.name for item in diagnosis.ruled_out}
        assert "nonfinite-backward" not in out
        assert "nonfinite-forward" in out  # of this one the loss is a number in all batches


def test_batches_without_any() -> None:
    diagnosis = diagnosed(length, GOOD, OTHER, GOOD)
    assert diagnosis.trace.nonfinite == ()
    out = {item.name for item in diagnosis.ruled_out}
    assert {"nonfinite-forward", "nonfinite-backward"} <= out


class Attending(nn.Module):
    """Attention in a band over padded series: the padding beyond the band reads nothing at all."""

    def __init__(self, banded: bool) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 16), nn.Linear(16, 1)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.banded = banded

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        place = torch.arange(x.shape[1])
        near = (place[:, None] - place).abs() > 1
        mask = near if self.banded else place > place[:, None]
        padding = place >= lengths[:, None]
        hidden = self.first(x)
        mixed, _ = self.attention(hidden, hidden, hidden, attn_mask=mask, key_padding_mask=padding)
        return self.last(hidden + mixed)[~padding].squeeze(-1)


def series() -> tuple[tuple[Tensor, Tensor], Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(16, 10, 4, generator=generator)
    lengths = torch.randint(3, 8, (16,), generator=generator)
    return (x, lengths), x.sum(-1)[torch.arange(10) < lengths[:, None]]


@pytest.mark.parametrize("banded", [True, False])
def test_a_masked_row_that_the_loss_slices_away(banded: bool) -> None:
    torch.manual_seed(0)
    model, (inputs, wanted) = Attending(banded), series()
    loss = nn.functional.mse_loss(model(*inputs), wanted)
    loss.backward()
    poisoned = {
        n for n, p in model.named_parameters() if p.grad is not None and not p.grad.isfinite().all()
    }
    model.zero_grad()
    assert math.isfinite(float(loss.detach()))
    assert bool(poisoned) == banded
    diagnosis = unvanish.diagnose(model, (inputs, wanted), nn.MSELoss())
    found = {f.name: f for f in diagnosis.findings}
    assert ("nonfinite-backward" in found) == banded
    assert "nonfinite-forward" not in found
    if banded:
        named = found["nonfinite-backward"]
        assert named.where[0] == "attention"
        assert set(named.where[1:]) == poisoned
        assert "masked" in (named.detail or "")
        assert "nonfinite-backward" not in {item.name for item in diagnosis.ruled_out}


def test_a_masked_row_of_the_second_batch() -> None:
    torch.manual_seed(0)
    (x, lengths), wanted = series()
    whole = (x, torch.full_like(lengths, 10)), x.sum(-1).flatten()
    diagnosis = unvanish.diagnose(Attending(True), [whole, ((x, lengths), wanted)], nn.MSELoss())
    found = diagnosis.findings[0]
    assert (found.name, found.where[0]) == ("nonfinite-backward", "attention")
    assert "met in batch 2" in (found.detail or "")


def test_a_loss_of_two_thousand_terms() -> None:
    """One for each time step: the term that is not finite is counted."""
    model = nn.Linear(3, 1)
    batch = torch.randn(8, 3), torch.randn(8, 1)

    def summed(outputs: Tensor, targets: Tensor) -> Tensor:
        loss = (outputs - targets).square().mean()
        for _ in range(2000):
            loss = loss + 1e-3 * outputs.mean()
        return loss + torch.log(0 * outputs.square()).mean()

    [found] = unvanish.diagnose(model, batch, summed).findings
    assert found.name == "nonfinite-forward"
    assert "term 2002 of 2002 of the loss" in (found.detail or "")
