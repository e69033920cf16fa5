"""Mean-field gains against published and closed-form values, and torch's own derivatives."""

import math

import pytest
import torch
import torch.nn.functional as F

from unvanish.theory import backward_factor, critical_weight_decades, mended_by_weights, moments

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
