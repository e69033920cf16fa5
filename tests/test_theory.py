"""Mean-field gains against published and closed-form values, and torch's own derivatives."""

import math
import random

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import unvanish
from unvanish.theory import (
    MeanField,
    backward_factor,
    critical_weight_decades,
    mended_by_weights,
    moments,
)

# E[f'^2] / E[f^2] at unit variance; closed form for ReLU, the others published to three digits
# (the factor of a layer kept at unit variance by its weights).
PUBLISHED = {
    "relu": 1.0,
    "tanh": 1.178,
    "erf": 1.226,
    "gelu": 1.072,
    "silu": 1.067,
    "elu": 1.036,
    "selu": 1.072,
    "sigmoid": 0.153,
    "softplus": 0.319,
}


@pytest.mark.parametrize(("name", "factor"), PUBLISHED.items())
def test_backward_factor_is_the_published_one(name: str, factor: float) -> None:
    assert backward_factor(name) == pytest.approx(factor, abs=6e-4)


TORCH = {
    "relu": F.relu, "leaky_relu": F.leaky_relu, "tanh": torch.tanh, "sigmoid": torch.sigmoid, "gelu": F.gelu,
    "silu": F.silu, "elu": F.elu, "selu": F.selu, "softplus": F.softplus, "hardtanh": F.hardtanh,
    "relu6": F.relu6, "softsign": F.softsign, "erf": torch.erf, "hardsigmoid": F.hardsigmoid,
    "sin": torch.sin,
}  # fmt: skip


@pytest.mark.parametrize("name", TORCH)
def test_moments_agree_with_torch_on_a_million_draws(name: str) -> None:
    z = torch.randn(
        1_000_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    ).requires_grad_()
    out = TORCH[name](z)
    (slope,) = torch.autograd.grad(out.sum(), z)
    expected = moments(name)
    assert expected is not None
    for sample, value in zip((out.detach() ** 2, slope**2), expected, strict=True):
        error = float(sample.std()) / math.sqrt(len(sample))
        assert abs(float(sample.mean()) - value) < 5 * error + 1e-9


def test_critical_gain_of_relu_is_he() -> None:
    assert 10 ** critical_weight_decades("relu") == pytest.approx(math.sqrt(2), rel=1e-4)
    assert critical_weight_decades(None) == 0


def test_only_one_sided_squashing_cannot_be_mended_by_weights() -> None:
    assert {name for name in TORCH if not mended_by_weights(name)} == {
        "sigmoid",
        "softplus",
        "hardsigmoid",
    }


# tanh, variance of biases 0.05: published phase diagram, by variance of weights times fan-in.
PHASES = {
    1.0: (0.7590, 3.63, 1.0),
    1.3: (0.8802, 7.83, 1.0),
    1.5: (0.9386, 15.79, 1.0),
    2.0: (1.0477, 25.2, 0.744),
    2.5: (1.1335, 11.8, 0.447),
    4.0: (1.3424, 6.98, 0.165),
}


@pytest.mark.parametrize(("weight", "expected"), PHASES.items())
def test_phase_diagram_of_tanh(weight: float, expected: tuple[float, float, float]) -> None:
    field = MeanField(activation="tanh", weight=weight, bias=0.05)
    assert field.gradient_factor(field.fixed_length()) == pytest.approx(expected[0], abs=1e-4)
    assert field.correlation_depth() == pytest.approx(expected[1], rel=5e-3)
    assert field.fixed_correlation() == pytest.approx(expected[2], abs=1e-3)


@pytest.mark.parametrize(
    ("bias", "weight", "length"),
    [(2.01e-5, 1.05, 0.0259), (1e-3, 1.1892, 0.1073), (0.05, 1.7610, 0.57), (0.09, 1.9477, 0.7635)],
)
def test_critical_line_of_tanh(bias: float, weight: float, length: float) -> None:
    field = MeanField(activation="tanh", weight=weight, bias=bias)
    assert field.fixed_length() == pytest.approx(length, rel=5e-3)
    assert field.gradient_factor(field.fixed_length()) == pytest.approx(1, abs=1e-3)


# What a layer at torch's own Linear initialisation (variance 1/3 over the fan-in) passes on.
DEFAULTS = {"relu": 0.408, "tanh": 0.573, "gelu": 0.291, "silu": 0.290, "sigmoid": 0.141}


@pytest.mark.parametrize(("name", "factor"), DEFAULTS.items())
def test_factor_at_torchs_initialisation(name: str, factor: float) -> None:
    # Biases have the same bound, 1/sqrt(fan_in): at any width worth the name next to nothing.
    field = MeanField(activation=name, weight=1 / 3, bias=1 / (3 * 512))
    assert math.sqrt(field.gradient_factor(field.fixed_length())) == pytest.approx(
        factor, abs=0.006
    )


@pytest.mark.parametrize(("layers", "correlation"), [(10, 0.87154), (30, 0.97201), (100, 0.99642)])
def test_correlation_of_relu_at_its_right_scale(layers: int, correlation: float) -> None:
    """Closed form: c' = (sqrt(1 - c^2) + c (pi - arccos c)) / pi (Cho and Saul 2009)."""
    field = MeanField(activation="relu", weight=2.0)
    value = 0.0
    for _ in range(layers):
        closed = (math.sqrt(1 - value**2) + value * (math.pi - math.acos(value))) / math.pi
        assert field.next_correlation(value, 1.0) == pytest.approx(closed, abs=2e-4)
        value = closed
    assert value == pytest.approx(correlation, abs=1e-4)


def test_nielsens_ratio() -> None:
    """Sigmoid, weights and biases of variance one: 0.2048 a layer (Nielsen, chapter 5)."""
    field = MeanField(activation="sigmoid", weight=1.0, bias=1.0)
    assert math.sqrt(field.gradient_factor(field.fixed_length())) == pytest.approx(0.2048, abs=2e-4)


def random_net(seed: int) -> tuple[nn.Sequential, int]:
    draw = random.Random(seed)
    kinds = (nn.ReLU, nn.Tanh, nn.GELU, nn.SiLU, nn.Sigmoid, nn.ELU, nn.LeakyReLU, nn.Softplus)
    kind, width = draw.choice(kinds), draw.choice((64, 96, 128, 256))
    gain = draw.choice((None, 0.7, 1.0, 1.4, 2.0))
    layers: list[nn.Module] = []
    torch.manual_seed(seed)
    for _ in range(draw.randint(3, 16)):
        layer = nn.Linear(width, width)
        if gain is not None:
            nn.init.normal_(layer.weight, std=gain / math.sqrt(width))
            nn.init.normal_(layer.bias, std=draw.choice((0.0, 0.1, 0.3)))
        layers += [layer, kind()]
    return nn.Sequential(*layers, nn.Linear(width, 10)), width


def test_prediction_from_the_weights_meets_the_ledger() -> None:
    """On at least 38 of 40 random plain nets within 0.3 decades from head to first layer."""
    apart: list[float] = []
    for seed in range(40):
        model, width = random_net(seed)
        data = torch.randn(64, width), torch.randint(10, (64,))
        layers = unvanish.observe(model, data, nn.CrossEntropyLoss()).layers
        predicted = [layer.predicted for layer in layers]
        assert None not in predicted
        apart.append(abs(sum(predicted) - sum(layer.total for layer in layers)))
    assert sum(value <= 0.3 for value in apart) >= 38, sorted(apart)


def test_prediction_is_none_where_theory_does_not_apply() -> None:
    model = nn.Sequential(nn.Linear(32, 32), nn.LayerNorm(32), nn.ReLU(), nn.Linear(32, 4))
    data = torch.randn(16, 32), torch.randint(4, (16,))
    layers = unvanish.observe(model, data, nn.CrossEntropyLoss()).layers
    assert [layer.predicted is None for layer in layers] == [False, True]
