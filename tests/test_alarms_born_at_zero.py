"""A matrix that starts at zero passes through large updates on its way; it is not thrown away."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import unvanish
from unvanish.alarms.columns import LARGE, YOUNG, Columns
from unvanish.recording import StepReading, TensorEntry
from unvanish.watching.fused.finish import update_statistics

SHAPES = {"zero.weight": (40, 1), "drawn.weight": (40, 1)}


def read(step: int, weight: list[float], change: list[float]) -> StepReading:
    """What a watch reads of two tensors, from the norms of each before the step and of its change."""
    entries = np.array([40.0, 40.0])
    values = update_statistics(np.array(weight), np.array(change), entries)
    return StepReading(step=step, seconds=step / 10, stage="", values=values)


def test_what_is_read_of_a_weight_of_zero() -> None:
    values = read(0, [0.0, 2.0], [1.0, 1.0]).values
    assert values["weight_rms"][0] == 0
    assert np.isnan(values["update_to_weight"][0])
    assert values["update_to_weight"][1] == 0.5


def feed(columns: Columns, reading: StepReading) -> None:
    with np.errstate(divide="ignore"):
        columns.look(reading)
        columns.remember(reading, moving=True)


def test_the_last_step_from_zero_is_when_it_was_born() -> None:
    columns = Columns()
    columns.add([TensorEntry(name=n, shape=s, dtype="float32") for n, s in SHAPES.items()])
    for step in range(YOUNG):
        # The first one stands at zero until the third step, then grows by half its size at each.
        norm = 0.0 if step <= 3 else 1.5 ** (step - 4)
        feed(columns, read(step, [norm, 1.0], [max(norm / 2, 1.0), 0.5]))
        young, old = columns["born"]
        assert young == min(step, 3)
        assert step - old > YOUNG
        assert list(np.isfinite(columns["large_step"])) == [False, True]
    for step in range(YOUNG, 2 * YOUNG):
        feed(columns, read(step, [1.0, 1.0], [0.5, 0.5]))
    assert list(columns["large_step"]) == [2 * YOUNG - 1.0] * 2  # in the end it is judged, too
    assert LARGE < 0.5


class Factors(nn.Module):
    """Matrix factorization with a bias for each user and each item."""

    def __init__(self) -> None:
        super().__init__()
        self.user, self.item = nn.Embedding(150, 8), nn.Embedding(100, 8)
        self.user_bias, self.item_bias = nn.Embedding(150, 1), nn.Embedding(100, 1)
        for table in (self.user, self.item):
            nn.init.normal_(table.weight, std=0.3)
        for table in (self.user_bias, self.item_bias):
            nn.init.zeros_(table.weight)

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        product = (self.user(users) * self.item(items)).sum(1)
        return product + self.user_bias(users)[:, 0] + self.item_bias(items)[:, 0]


def ratings(step: int, size: int = 512) -> tuple[Tensor, Tensor, Tensor]:
    truth = torch.Generator().manual_seed(3)
    left, right = torch.randn(150, 3, generator=truth), torch.randn(100, 3, generator=truth)
    generator = torch.Generator().manual_seed(1000 + step)
    users = torch.randint(150, (size,), generator=generator)
    items = torch.randint(100, (size,), generator=generator)
    noise = 0.1 * torch.randn(size, generator=generator)
    return users, items, (left[users] * right[items]).sum(1) + noise


def watched(model: Factors, rates: tuple[float, float], steps: int) -> tuple[list[str], float]:
    """The alarms of a training, and the error on fresh ratings over that of nothing."""
    biases = [model.user_bias.weight, model.item_bias.weight]
    factors = [model.user.weight, model.item.weight]
    groups = [{"params": biases, "lr": rates[0]}, {"params": factors, "lr": rates[1]}]
    optimizer = torch.optim.SGD(groups, lr=1.0)
    with unvanish.watch(model, optimizer, budget=None, strict=True) as monitor:
        for step in range(steps):
            users, items, wanted = ratings(step)
            optimizer.zero_grad()
            F.mse_loss(model(users, items), wanted).backward()
            optimizer.step()
    users, items, wanted = ratings(-1, 2000)
    with torch.no_grad():
        left = float(F.mse_loss(model(users, items), wanted) / wanted.square().mean())
    return [alarm.name for alarm in monitor.alarms if alarm.severity != "note"], left


def test_biases_that_start_at_zero_and_learn() -> None:
    torch.manual_seed(0)
    model = Factors()
    assert not model.user_bias.weight.any()
    alarms, left = watched(model, (1.0, 2.0), 200)
    assert alarms == []
    assert left < 0.7


def test_a_table_that_is_thrown_away_is_named() -> None:
    torch.manual_seed(0)
    alarms, left = watched(Factors(), (1.0, 300.0), 60)
    assert "step-too-large" in alarms
    assert not left < 1


def test_biases_that_are_thrown_away_once_they_are_grown() -> None:
    torch.manual_seed(0)
    model = Factors()
    for table in (model.user_bias, model.item_bias):
        nn.init.normal_(table.weight, std=0.3)
    alarms, left = watched(model, (500.0, 0.1), 60)
    assert "step-too-large" in alarms
    assert not left < 1
