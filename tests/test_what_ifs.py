"""What goes when one thing is changed on a copy: the cause's own cure cures it, another does not."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import unvanish
from unvanish.experiments.initial_weights import draw_again, make_neutral

INPUTS, NEUTRAL, AGAIN = 0, 1, 2


def deep(activation: Callable[[], nn.Module], depth: int, std: float | None) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for _ in range(depth):
        linear = nn.Linear(32, 32)
        if std is not None:
            nn.init.normal_(linear.weight, 0, std)
        layers += [linear, activation()]
    return nn.Sequential(*layers, nn.Linear(32, 2))


def asked(model: nn.Module, scale: float = 1.0) -> Any:
    inputs = scale * torch.randn(64, 32, generator=torch.Generator().manual_seed(0))
    batch = inputs, torch.arange(64) % 2
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    return unvanish.diagnose(model, batch, nn.CrossEntropyLoss(), optimizer, steps=2)


@pytest.mark.parametrize(
    ("model", "scale", "name", "cures"),
    [
        (deep(nn.Tanh, 30, 0.01), 1.0, "init-too-small", {NEUTRAL}),
        (deep(nn.ReLU, 20, 1.0), 1.0, "init-too-large", {NEUTRAL}),
        (deep(nn.Sigmoid, 15, None), 1.0, "depth-decay", set[int]()),
        (deep(nn.Tanh, 3, None), 1000.0, "saturated-activation", {INPUTS}),
    ],
    ids=["small weights", "large weights", "sigmoid", "loud inputs"],
)
def test_each_cause_goes_with_its_own_cure_alone(
    model: nn.Module, scale: float, name: str, cures: set[int]
) -> None:
    diagnosis = asked(model, scale)
    assert len(diagnosis.what_ifs) == 3
    for index, tried in enumerate(diagnosis.what_ifs):
        assert (name in tried.gone) is (index in cures), tried
        assert (name in tried.stays) is (index not in cures), tried
    assert "What if" in str(diagnosis)


def test_nothing_is_tried_on_a_healthy_net_or_without_steps() -> None:
    assert asked(deep(nn.ReLU, 3, None)).what_ifs == ()
    sick = deep(nn.Sigmoid, 15, None)
    batch = torch.randn(64, 32), torch.arange(64) % 2
    assert unvanish.diagnose(sick, batch, nn.CrossEntropyLoss()).what_ifs == ()


def test_an_unlucky_arrangement_goes_with_another_draw() -> None:
    # Each unit reads one input that is always off: the same weights in another order are alive.
    model = deep(nn.ReLU, 1, None)
    first = model[0]
    assert isinstance(first, nn.Linear)
    with torch.no_grad():
        first.weight.zero_()
        first.weight[:, 0] = -5.0
        first.weight[:, 1] = 5.0
        first.bias.zero_()
    inputs = torch.randn(64, 32, generator=torch.Generator().manual_seed(0))
    inputs[:, 0] = 3.0
    inputs[:, 1] = 0.1
    batch = inputs, torch.arange(64) % 2
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    diagnosis = unvanish.diagnose(model, batch, nn.CrossEntropyLoss(), optimizer, steps=2)
    gone = [tried.gone for tried in diagnosis.what_ifs]
    assert "dead-units" in gone[AGAIN]


def test_neutral_weights_have_the_variance_of_the_formula() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(400, 300), nn.BatchNorm1d(300), nn.LSTM(300, 50), nn.Embedding(5, 3)
    )
    assert make_neutral(model, {"0": 2.0}) == 1  # the embedding is left as it is
    linear, norm, lstm, _ = model
    assert isinstance(linear, nn.Linear)
    assert float(linear.weight.detach().std()) == pytest.approx(math.sqrt(2 / 400), rel=0.02)
    assert isinstance(norm, nn.BatchNorm1d)
    assert torch.equal(norm.weight, torch.ones(300))
    assert isinstance(lstm, nn.LSTM)
    for gate in lstm.weight_hh_l0.detach().chunk(4):
        torch.testing.assert_close(gate @ gate.T, torch.eye(50), atol=1e-5, rtol=0)


def test_another_draw_has_the_same_values() -> None:
    model = nn.Linear(20, 30)
    before = model.weight.detach().clone()
    bias = model.bias.detach().clone()
    draw_again(model, 1)
    assert not torch.equal(model.weight, before)
    assert torch.equal(model.weight.flatten().sort().values, before.flatten().sort().values)
    assert torch.equal(model.bias, bias)
