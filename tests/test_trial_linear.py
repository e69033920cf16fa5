"""The linear model that a net is held against: exact, unseen, and only where there is one."""

from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits, load_wine
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.neighbors import KNeighborsRegressor
from torch import Tensor, nn
from torch.nn import functional as F

from unvanish.trial import Arm, Running, prepare
from unvanish.trial.linear_skill import LinearSkill, linear_skill
from unvanish.trial.neighbours import from_neighbours
from unvanish.trial.ridge import STRENGTHS, left_out
from unvanish.trial.task import outputs_of

PIXELS, LABELS = load_digits(return_X_y=True)
DIGITS = (torch.tensor(PIXELS[:320], dtype=torch.float32) / 16, torch.tensor(LABELS[:320]))


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def fitted(x: Tensor, y: Tensor, penalty: float) -> tuple[Tensor, Tensor]:
    """Weights and offset by the normal equations, the offset as a column without a penalty."""
    wide = torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], 1)
    costs = torch.full((wide.shape[1],), penalty, dtype=x.dtype)
    costs[-1] = 0
    found = torch.linalg.solve(wide.T @ wide + costs.diag(), wide.T @ y)
    return found[:-1], found[-1]


@pytest.mark.parametrize("features", [4, 60])
def test_each_sample_is_left_out_as_if_it_had_never_been_there(features: int) -> None:
    x = drawn(24, features) * torch.linspace(1, 50, features) + 7
    y = x[:, :2] / 10 + drawn(24, 2, seed=1)
    scaled = (x - x.mean(0)) / x.std(0, correction=0)
    top = float(torch.linalg.matrix_norm(scaled, 2)) ** 2
    criteria: dict[float, float] = {}
    for penalty in (STRENGTHS * top).tolist():
        weights, offset = fitted(scaled, y, penalty)
        inverse = torch.linalg.inv(scaled.T @ scaled + penalty * torch.eye(features).double())
        free = 23 - float((scaled @ inverse @ scaled.T).trace())
        residual = float((y - scaled @ weights - offset).square().sum())
        if free > 0.01:  # what fits every sample exactly has no criterion but rounding
            criteria[penalty] = residual / free**2
    best = min(criteria, key=criteria.__getitem__)
    for row in range(24):
        others = [k for k in range(24) if k != row]
        weights, offset = fitted(scaled[others], y[others], best)
        wanted = scaled[row] @ weights + offset
        assert torch.allclose(left_out(x, y)[row], wanted, rtol=1e-6, atol=1e-8)


def test_a_feature_that_never_changes_and_a_copied_one_do_no_harm() -> None:
    x, y = drawn(40, 3), drawn(40, 1, seed=1)
    still = torch.full((40, 1), 0.1, dtype=torch.float64)
    assert torch.allclose(left_out(torch.cat([x, still], 1), y), left_out(x, y))
    assert torch.allclose(left_out(torch.cat([x, x], 1), y), left_out(x, y), atol=1e-3)
    # Of a mean of the others each sample is told n / (n - 1) times its own deviation away.
    assert torch.allclose(left_out(still, y), (y.sum() - y) / 39)


class Line(nn.Module):
    def __init__(self, features: int, classes: int = 1) -> None:
        super().__init__()
        self.layer = nn.Linear(features, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.float().flatten(1))


def skill(
    data: Any,
    loss: Any,
    model: nn.Module,
    steps: int = 100,
    unseen: Any = left_out,
    **more: Any,
) -> Any:
    task = prepare(model, data, loss, steps=steps, validation=True, **more)
    outputs = outputs_of(model, task.split.held_out[0])
    return linear_skill(task.yardstick, task.split, outputs, steps, unseen)


def test_nothing_is_found_where_there_is_nothing_though_a_line_fits_all_of_it() -> None:
    # 400 features: a line through the 180 training samples exists whatever their labels are.
    labels = torch.arange(320) % 2
    found = skill((drawn(320, 400).float(), labels), F.cross_entropy, Line(400, 2))
    assert isinstance(found, LinearSkill)
    answers = sum(len(targets) for _, targets in found.batches)
    assert found.score.metric == pytest.approx(0.5, abs=3 * (0.25 / answers) ** 0.5)


def test_digits_are_told_apart_as_a_ridge_classifier_does() -> None:
    found = skill(DIGITS, F.cross_entropy, Line(64, 10))
    inputs = torch.cat([x for x, _ in found.batches]).numpy()
    labels = torch.cat([y for _, y in found.batches]).numpy()
    scaled = (inputs - inputs.mean(0)) / (inputs.std(0) + 1e-9)
    shares = [
        (cross_val_predict(RidgeClassifier(penalty), scaled, labels, cv=8) == labels).mean()
        for penalty in (1, 10, 100)
    ]
    assert found.score.metric == pytest.approx(max(shares), abs=0.03)


def test_numbers_shares_and_logits() -> None:
    x = drawn(320, 3).float()
    line = x @ torch.tensor([[1.0], [-2.0], [0.5]])
    found = skill((x, line + 0.1 * drawn(320, 1, seed=3).float()), F.mse_loss, Line(3))
    assert found.score.loss == pytest.approx(0.01, rel=0.3)
    shares = (line > 0).float()
    by_logits = skill((x, shares), F.binary_cross_entropy_with_logits, Line(3))
    assert by_logits.score.loss < 0.5  # a coin has 0.69

    class Shares(Line):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).sigmoid()

    assert skill((x, shares), F.binary_cross_entropy, Shares(3)).score.loss < 0.5


def test_several_numbers_are_asked_of_rows_that_have_more() -> None:
    x = drawn(320, 5).float()
    lines = x @ drawn(5, 3, seed=1).float() + 0.1 * drawn(320, 3, seed=2).float()
    assert skill((x, lines), F.mse_loss, Line(5, 3)).score.loss == pytest.approx(0.01, rel=0.3)
    assert skill((lines, x), F.mse_loss, Line(3, 5)) is None  # a decoder: little of it is there
    windows = x[:, :, None]  # the next of a series stands among its own past
    assert skill((windows, lines), F.mse_loss, Line(5, 3)) is None


def test_there_is_none_where_copying_would_do_or_nothing_can_be_read() -> None:
    x = drawn(320, 6).float()
    assert skill((x, x), F.mse_loss, Line(6, 6)) is None  # an autoencoder
    tokens = torch.arange(640).reshape(320, 2) % 9
    assert skill((tokens, torch.arange(320) % 3), F.cross_entropy, Line(2, 3)) is None
    forward = lambda model, batch: model(batch[0]).square().mean()  # noqa: E731
    assert skill((x, x), None, Line(6), forward=forward) is None
    broken = x.clone()
    broken[:, 0] = -torch.inf  # NaN is refused before
    assert skill((broken, torch.arange(320) % 3), F.cross_entropy, Line(6, 3)) is None


def test_of_many_samples_and_few_steps_only_those_a_training_sees() -> None:
    few = skill(DIGITS, F.cross_entropy, Line(64, 10), steps=1)
    assert sum(len(targets) for _, targets in few.batches) == 64
    listed = [(x, y) for x, y in zip(DIGITS[0].split(32), DIGITS[1].split(32), strict=True)]
    assert len(skill(listed, F.cross_entropy, Line(64, 10), steps=100).batches) == 6


def test_outputs_whose_metric_overflows_are_a_run_without_a_metric() -> None:
    class Huge(Line):
        def forward(self, x: Tensor) -> Tensor:
            return 1e30 * super().forward(x)

    def explained(outputs: Tensor, targets: Tensor) -> float:
        return float(1 - (outputs - targets).square().mean())

    x = drawn(64, 3).float()
    task = prepare(Huge(3), (x, x[:, :1]), F.l1_loss, metric=explained, steps=1)
    run = Running(Arm(Huge(3)), task).run()
    assert run.metric is None


def test_wine_in_its_own_units_is_told_by_a_line() -> None:
    given, targets = load_wine(return_X_y=True)
    data = torch.tensor(given, dtype=torch.float32), torch.tensor(targets)
    assert skill(data, F.cross_entropy, Line(13, 3)).score.metric > 0.95


@pytest.mark.parametrize("noise", [0.0, 2.0])
def test_neighbours_say_what_the_best_number_of_them_says_of_each_left_out(noise: float) -> None:
    x = drawn(40, 3) * torch.tensor([1.0, 10.0, 0.1]).double() + 5
    y = torch.stack([x[:, 0].sin(), x[:, 1]], 1) + noise * drawn(40, 2, seed=1)
    scaled = ((x - x.mean(0)) / x.std(0, correction=0)).numpy()
    said = [
        torch.tensor(
            cross_val_predict(KNeighborsRegressor(count), scaled, y.numpy(), cv=LeaveOneOut())
        )
        for count in (1, 2, 4)  # to the root of 40
    ]
    best = min(said, key=lambda answers: float((answers - y).square().sum()))
    assert torch.allclose(from_neighbours(x, y), best)


def test_neighbours_tell_what_no_line_can_and_nothing_where_there_is_nothing() -> None:
    angle = 2 * torch.pi * torch.rand(320, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(320) % 2
    rings = (1.0 + labels)[:, None] * torch.stack([angle.cos(), angle.sin()], 1)
    asked = {"unseen": from_neighbours}
    assert skill((rings, labels), F.cross_entropy, Line(2, 2)).score.metric < 0.6
    assert skill((rings, labels), F.cross_entropy, Line(2, 2), **asked).score.metric > 0.98
    noise = drawn(320, 5).float()
    told = skill((noise, labels), F.cross_entropy, Line(5, 2), **asked)
    answers = sum(len(targets) for _, targets in told.batches)
    assert told.score.metric == pytest.approx(0.5, abs=3 * (0.25 / answers) ** 0.5)
