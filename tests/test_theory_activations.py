"""Activations as numbers: closed forms against quadrature, names against callables, and bad input."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from unvanish import theory
from unvanish.errors import BadInput
from unvanish.theory.activations import two_sided
from unvanish.theory.named import named
from unvanish.theory.quadrature import mean, nodes

lengths = st.floats(1e-3, 30)
correlations = st.floats(-1, 1)
slopes = st.floats(-2, 2)


def by_quadrature(known: theory.Nonlinearity) -> theory.Nonlinearity:
    """The same function with its closed forms taken away."""
    return dataclasses.replace(known, name="no closed form", sides=None)


@settings(max_examples=40, deadline=None)
@given(slopes, slopes, lengths, correlations)
def test_arc_cosine_kernels_agree_with_quadrature(
    left: float, right: float, length: float, correlation: float
) -> None:
    closed = two_sided("any", left, right)
    slow = by_quadrature(closed)
    assert slow.square(length) == pytest.approx(closed.square(length), rel=1e-9, abs=1e-12)
    assert slow.slope_square(length) == pytest.approx(closed.slope_square(length), abs=1e-9)
    assert slow.slope_fourth(length) == pytest.approx(closed.slope_fourth(length), abs=1e-9)
    assert slow.average(length) == pytest.approx(closed.average(length), rel=1e-9, abs=1e-12)
    assert slow.product(length, correlation) == pytest.approx(
        closed.product(length, correlation), rel=1e-6, abs=1e-6 * length
    )
    assert slow.slope_product(length, correlation) == pytest.approx(
        closed.slope_product(length, correlation), abs=1e-5
    )


@settings(max_examples=40, deadline=None)
@given(lengths, correlations)
def test_kernels_of_the_error_function_agree_with_quadrature(
    length: float, correlation: float
) -> None:
    closed = theory.nonlinearity("erf")
    slow = by_quadrature(closed)
    for name in ("square", "slope_square"):
        assert getattr(slow, name)(length) == pytest.approx(getattr(closed, name)(length), rel=1e-7)
    for name in ("product", "slope_product"):
        found, right = (getattr(way, name)(length, correlation) for way in (slow, closed))
        assert found == pytest.approx(right, rel=1e-5, abs=1e-7)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(["tanh", "gelu", "silu", "elu", "hardtanh", "mish", "relu6"]), lengths)
def test_two_equal_samples_are_one_sample(name: str, length: float) -> None:
    known = theory.nonlinearity(name)
    assert known.product(length, 1.0) == pytest.approx(known.square(length), rel=1e-7)
    assert known.slope_product(length, 1.0) == pytest.approx(known.slope_square(length), rel=1e-7)
    assert known.product(length, 0.0) == pytest.approx(
        known.average(length) ** 2, rel=1e-6, abs=1e-9
    )


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(["tanh", "erf", "softsign", "hardtanh", "sin"]), lengths, correlations)
def test_an_odd_function_keeps_opposites_opposite(
    name: str, length: float, correlation: float
) -> None:
    known = theory.nonlinearity(name)
    assert known.product(length, -correlation) == pytest.approx(
        -known.product(length, correlation), rel=1e-6, abs=1e-9
    )


CALLABLES: dict[str, Any] = {
    "relu": nn.ReLU(inplace=True), "leaky_relu": nn.LeakyReLU(), "tanh": torch.tanh, "gelu": F.gelu,
    "sigmoid": torch.sigmoid, "silu": nn.SiLU(), "elu": nn.ELU(), "selu": F.selu, "mish": F.mish,
    "softplus": nn.Softplus(), "hardtanh": nn.Hardtanh(), "relu6": F.relu6, "hardswish": F.hardswish,
    "softsign": F.softsign, "erf": torch.erf, "hardsigmoid": F.hardsigmoid, "sin": np.sin,
    "softshrink": nn.Softshrink(), "logsigmoid": F.logsigmoid, "tanhshrink": F.tanhshrink,
    "abs": np.abs, "linear": lambda x: x,
}  # fmt: skip


@pytest.mark.parametrize("name", CALLABLES)
def test_a_callable_is_the_same_as_its_name(name: str) -> None:
    table, free = theory.nonlinearity(name), theory.nonlinearity(CALLABLES[name])
    assert free.kinks == pytest.approx(table.kinks, abs=1e-6)
    assert (free.sides is None) == (table.sides is None)
    for length in (0.3, 1.0, 9.0):
        for mean_of in ("square", "slope_square", "slope_fourth", "average"):
            right = getattr(table, mean_of)(length)
            assert getattr(free, mean_of)(length) == pytest.approx(right, rel=1e-6, abs=1e-9)
    assert free.product(2.0, 0.7) == pytest.approx(table.product(2.0, 0.7), rel=1e-6)


@pytest.mark.parametrize("name", CALLABLES)
def test_slopes_are_torchs_own(name: str) -> None:
    known = theory.nonlinearity(name)
    u = np.linspace(-8.03, 8.01, 401)
    step = 1e-6
    numeric = (known.value(u + step) - known.value(u - step)) / (2 * step)
    far = np.min([np.abs(u - kink) for kink in (*known.kinks, 1e9)], axis=0) > 1e-5
    assert np.allclose(known.slope(u)[far], numeric[far], atol=1e-6)


@given(st.lists(st.floats(-9, 9), min_size=1, max_size=3), st.integers(0, 8))
@settings(max_examples=30, deadline=None)
def test_panels_integrate_powers_exactly(breaks: list[float], power: int) -> None:
    points, weights = nodes(tuple(breaks))
    moment = math.prod(range(power - 1, 0, -2)) if power % 2 == 0 else 0
    assert float((weights * points**power).sum()) == pytest.approx(moment, rel=1e-9, abs=1e-9)


def test_a_narrow_step_is_seen() -> None:
    """E[tanh(1000 u)^2] = 1 - E[sech^2]: the whole of it lies within a thousandth around zero."""
    value = mean(lambda u: 1 - np.tanh(1000 * u) ** 2, 1.0)
    assert value == pytest.approx(2 / 1000 / math.sqrt(2 * math.pi), rel=1e-5)


def test_evaluating_a_module_leaves_it_and_the_random_state_alone() -> None:
    module = nn.PReLU()
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    assert theory.nonlinearity(module).sides == (0.25, 1.0)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert module.weight.dtype == torch.float32
    assert module.weight.requires_grad
    assert module.weight.grad is None


@pytest.mark.parametrize(
    ("activation", "words"),
    [
        (3, "not callable"),
        ("nosuch", "not known"),
        (torch.sign, "jumps"),
        (nn.Hardshrink(), "jumps"),
        (lambda x: x.round(), "jumps"),
        (nn.Dropout(0.5), "every element alone"),
        (nn.Softmax(-1), "every element alone"),
        (lambda x: x.sum(), "every element alone"),
        (nn.Linear(3, 3), "every element alone"),
        (nn.PReLU(4), "neither a torch tensor nor"),
        (lambda x, y: x, "neither a torch tensor nor"),
        (lambda x: np.exp(x * x), "second moment"),
        (lambda x: torch.relu(x) ** 0.5, "second moment"),
        (torch.log, "second moment"),
    ],
)
def test_what_is_no_activation_is_refused_in_a_sentence(activation: Any, words: str) -> None:
    with pytest.raises(BadInput, match=words) as caught:
        theory.nonlinearity(activation)
    assert str(caught.value).endswith((".", ")."))


def test_a_name_in_any_spelling() -> None:
    assert named("LeakyReLU") is named("leakyrelu") or named("LeakyReLU").sides == (0.01, 1.0)
    assert named("nosuch") is None
    assert theory.nonlinearity(None).sides == (1.0, 1.0)
