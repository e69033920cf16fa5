"""Mean-field gains against published and closed-form values, and torch's own derivatives."""

import math
import random
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import unvanish
from unvanish.errors import BadInput
from unvanish.theory import (
    MeanField,
    backward_factor,
    critical_point,
    critical_weight,
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


# tanh, variance of biases 0.05: published phase diagram, by variance of weights times fan-in:
# gradient factor, xi_c, c*, xi_q.
PHASES = {
    1.0: (0.7590, 3.63, 1.0, 1.75),
    1.3: (0.8802, 7.83, 1.0, 1.79),
    1.5: (0.9386, 15.79, 1.0, 1.68),
    1.7: (0.9867, 74.9, 1.0, 1.56),
    2.0: (1.0477, 25.2, 0.744, 1.39),
    2.5: (1.1335, 11.8, 0.447, 1.18),
    3.0: (1.2089, 9.05, 0.299, 1.04),
    4.0: (1.3424, 6.98, 0.165, 0.87),
}


@pytest.mark.parametrize(("weight", "expected"), PHASES.items())
def test_phase_diagram_of_tanh(weight: float, expected: tuple[float, float, float, float]) -> None:
    phase = MeanField(activation="tanh", weight=weight, bias=0.05).phase()
    assert phase.gradient_factor == pytest.approx(expected[0], abs=1e-4)
    assert phase.correlation_depth == pytest.approx(expected[1], rel=2e-3)
    assert phase.correlation == pytest.approx(expected[2], abs=6e-4)
    assert phase.length_depth == pytest.approx(expected[3], abs=6e-3)
    assert phase.trainable_depth == 6 * phase.correlation_depth
    assert phase.gradient_depth == pytest.approx(-1 / math.log(expected[0]), rel=2e-2)
    assert phase.name == ("ordered" if expected[0] < 1 else "chaotic")


@pytest.mark.parametrize(("weight", "layers"), [(1, 22), (1.3, 47), (1.5, 95), (2, 151), (4, 42)])
def test_largest_trainable_depth_of_tanh(weight: float, layers: int) -> None:
    depth = MeanField(activation="tanh", weight=weight, bias=0.05).trainable_depth()
    assert depth == pytest.approx(layers, abs=0.6)


@pytest.mark.parametrize(
    ("bias", "weight", "length"),
    [(2.01e-5, 1.05, 0.0259), (1e-3, 1.1892, 0.1073), (0.05, 1.7610, 0.57), (0.09, 1.9477, 0.7635)],
)
def test_critical_line_of_tanh(bias: float, weight: float, length: float) -> None:
    point = critical_point("tanh", bias)
    assert point.weight == pytest.approx(weight, abs=6e-5)
    assert point.length == pytest.approx(length, abs=6e-5)
    assert point.stable
    field = MeanField(activation="tanh", weight=point.weight, bias=bias)
    assert field.fixed_length() == pytest.approx(point.length, rel=1e-5)
    assert field.phase().name == "critical"


def test_critical_weights_without_biases() -> None:
    assert critical_weight("relu") == 2
    assert critical_weight(nn.LeakyReLU(0.2)) == pytest.approx(2 / 1.04)
    assert critical_weight("tanh") == pytest.approx(1)
    assert critical_weight("erf") == pytest.approx(math.pi / 4)
    assert critical_weight(None) == 1


def test_factors_measured_in_wide_tanh_nets() -> None:
    """Norm factor per layer over 20 layers of width 500, beside sqrt(chi_1)."""
    torch.manual_seed(0)
    for weight in (1.0, 1.76, 2.5):
        field = MeanField(activation="tanh", weight=weight, bias=0.05)
        start = torch.randn(32, 500) * math.sqrt(field.function.square(field.fixed_length()))
        outputs = [start.requires_grad_()]
        for _ in range(20):
            matrix = torch.randn(500, 500) * math.sqrt(weight / 500)
            outputs.append(torch.tanh(outputs[-1] @ matrix.T + torch.randn(500) * 0.05**0.5))
        (gradient,) = torch.autograd.grad((outputs[-1] * torch.randn(32, 500)).sum(), start)
        measured = (float(gradient.norm()) / math.sqrt(32 * 500)) ** (1 / 20)
        assert measured == pytest.approx(math.sqrt(field.gradient_factor()), rel=6e-3)


def test_dropout_keeps_equal_samples_apart() -> None:
    """Two copies of a sample under masks of their own, 25 layers of width 1500."""
    torch.manual_seed(0)
    field = MeanField(activation="tanh", weight=1.5, bias=0.05, keep=0.8)
    x = torch.randn(1, 1500).repeat(2, 1)
    for _ in range(25):
        dropped = x * (torch.rand(2, 1500) < 0.8) / 0.8
        u = dropped @ (torch.randn(1500, 1500) * math.sqrt(1.5 / 1500)).T
        u = u + torch.randn(1500) * 0.05**0.5
        x = torch.tanh(u)
    assert float((u**2).mean()) == pytest.approx(field.fixed_length(), rel=0.08)
    cosine = float(torch.cosine_similarity(u[0], u[1], dim=0))
    assert cosine == pytest.approx(field.fixed_correlation(), abs=0.04)
    assert field.fixed_correlation() < 0.95
    assert (
        field.trainable_depth()
        < MeanField(activation="tanh", weight=1.5, bias=0.05).trainable_depth()
    )


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(["tanh", "relu", "gelu", "sigmoid", "erf", "hardtanh"]),
    st.floats(0.2, 3),
    st.floats(0, 1),
    st.floats(0.05, 5),
)
def test_the_correlation_map_starts_to_fall_as_the_gradient_does(
    name: str, weight: float, bias: float, length: float
) -> None:
    field = MeanField(activation=name, weight=weight, bias=bias)
    ratio = length / field.next_length(length)
    slope = field.correlation_slope(1.0, length)
    assert slope == pytest.approx(field.gradient_factor(length) * ratio, rel=1e-6)
    assert field.next_correlation(1.0, length) == pytest.approx(1, abs=1e-6)
    step = 1e-3
    rise = field.next_correlation(0.5 + step, length) - field.next_correlation(0.5 - step, length)
    assert rise / (2 * step) == pytest.approx(
        field.correlation_slope(0.5, length), rel=1e-3, abs=1e-6
    )
    grown = field.next_length(length * (1 + step)) - field.next_length(length * (1 - step))
    assert grown / (2 * step * length) == pytest.approx(
        field.length_slope(length), rel=1e-3, abs=1e-6
    )


@settings(max_examples=15, deadline=None)
@given(st.floats(0.3, 4), st.floats(0.5, 3), st.floats(0.01, 0.5))
def test_a_factor_may_stand_in_the_weights_or_in_the_activation(
    factor: float, weight: float, bias: float
) -> None:
    plain = MeanField(activation="tanh", weight=weight, bias=bias).phase()
    moved = MeanField(
        activation=lambda x: factor * torch.tanh(x), weight=weight / factor**2, bias=bias
    ).phase()
    assert moved.gradient_factor == pytest.approx(plain.gradient_factor, rel=1e-6)
    assert moved.length == pytest.approx(plain.length, rel=1e-6)
    assert moved.correlation == pytest.approx(plain.correlation, abs=1e-5)


def test_lengths_without_end() -> None:
    assert MeanField(activation="relu", weight=2.5).fixed_length() == math.inf
    assert MeanField(activation="relu", weight=2.0, bias=0.1).fixed_length() == math.inf
    assert MeanField(activation="gelu", weight=2.5, bias=0.05).fixed_length() == math.inf
    assert MeanField(activation="relu", weight=1.5, bias=0.1).fixed_length() == pytest.approx(0.4)
    assert MeanField(activation="tanh", weight=1.0).fixed_length() == 0
    assert MeanField(activation="relu", weight=2.5).trainable_depth() == pytest.approx(
        6 / math.log(1.25)
    )


def test_he_2015_without_its_initialisation() -> None:
    """A VGG-like net from weights of deviation 0.01 loses a factor 1.7e4 (He et al. 2015, 2.2)."""
    lost = sum(
        count * MeanField(activation="relu", weight=9 * channels * 1e-4).gradient_decades(1)
        for channels, count in ((64, 1), (128, 2), (256, 2), (512, 4))
    )
    assert 10**-lost == pytest.approx(1.7e4, rel=0.03)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"weight": -1.0}, "weight=-1.0 is no variance"),
        ({"weight": math.inf}, "no variance"),
        ({"weight": 1.0, "bias": -0.1}, "bias=-0.1 is no variance"),
        ({"weight": 1.0, "bias": math.nan}, "no variance"),
        ({"weight": 1.0, "keep": 0.0}, "share of units"),
        ({"weight": 1.0, "activation": 7}, "not callable"),
        ({"weight": 4.0, "activation": torch.exp}, "no finite second moment"),
    ],
)
def test_an_impossible_net_is_refused_in_a_sentence(arguments: Any, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        MeanField(**{"activation": "tanh", **arguments}).fixed_length()


@pytest.mark.parametrize("layers", [-1, 2.5, True, None])
def test_an_impossible_depth_is_refused(layers: Any) -> None:
    with pytest.raises(BadInput, match="no depth"):
        MeanField(activation="tanh", weight=1.0).gradient_decades(layers)


def test_where_no_critical_weights_exist() -> None:
    with pytest.raises(BadInput, match="no critical weights"):
        critical_point("relu", 0.1)
    with pytest.raises(BadInput, match="no variance"):
        critical_point("tanh", -0.1)


# What a layer at torch's own Linear initialisation (variance 1/3 over the fan-in) passes on.
DEFAULTS = {"relu": 0.408, "tanh": 0.573, "gelu": 0.291, "silu": 0.290, "sigmoid": 0.141}


@pytest.mark.parametrize(("name", "factor"), DEFAULTS.items())
def test_factor_at_torchs_initialisation(name: str, factor: float) -> None:
    # Biases have the same bound, 1/sqrt(fan_in): at any width worth the name next to nothing.
    field = MeanField(activation=name, weight=1 / 3, bias=1 / (3 * 512))
    assert math.sqrt(field.gradient_factor(field.fixed_length())) == pytest.approx(
        factor, abs=0.006
    )


HE_RELU = {10: 0.87154, 30: 0.97201, 100: 0.99642, 300: 0.99955, 1000: 0.99996}


@pytest.mark.parametrize(("layers", "correlation"), HE_RELU.items())
def test_correlation_of_relu_at_its_right_scale(layers: int, correlation: float) -> None:
    found = MeanField(activation="relu", weight=2.0).correlation_after(layers)
    assert found == pytest.approx(correlation, abs=6e-6)
    if layers >= 300:  # Hayou et al. 2019: 1 - c falls as 9 pi^2 / (2 l^2)
        assert (1 - found) * layers**2 == pytest.approx(9 * math.pi**2 / 2, rel=0.15)


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
