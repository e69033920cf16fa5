"""What the theory cannot answer, it refuses in a sentence; what has no critical point, has none."""

import math

import pytest
import torch
from torch.nn import functional as F

from unvanish import theory
from unvanish.errors import BadInput


def upper(t: float) -> float:
    """P(z > t) for a standard normal z."""
    return math.erfc(t / math.sqrt(2)) / 2


def test_a_softshrink_without_biases_has_no_critical_point() -> None:
    """E f^2 / q = 2 ((1 + t^2) Q(t) - t phi(t)) lies below E f'^2 = 2 Q(t) at every length q."""
    for t in (0.01, 0.1, 1.0, 5.0, 20.0):
        density = math.exp(-t * t / 2) / math.sqrt(2 * math.pi)
        assert (1 + t * t) * upper(t) - t * density < upper(t)
    with pytest.raises(BadInput, match="no critical weights"):
        theory.critical_point(F.softshrink, 0.0)


def test_with_biases_its_critical_point_is_that_of_the_closed_form() -> None:
    found = theory.critical_point(F.softshrink, 0.05)
    t = 0.5 / math.sqrt(found.length)
    density = math.exp(-t * t / 2) / math.sqrt(2 * math.pi)
    square = found.length * 2 * ((1 + t * t) * upper(t) - t * density)
    assert found.weight == pytest.approx(1 / (2 * upper(t)), rel=1e-6)
    assert found.weight * square + 0.05 == pytest.approx(found.length, rel=1e-6)


@pytest.mark.parametrize("length", [0, -1, math.nan, math.inf, "a", None, True])
def test_a_gain_needs_a_variance(length: object) -> None:
    with pytest.raises(BadInput, match="no variance"):
        theory.gain("tanh", length)  # type: ignore[arg-type]


def test_nothing_has_no_gain() -> None:
    with pytest.raises(BadInput, match="is zero"):
        theory.gain(lambda x: 0 * x)


@pytest.mark.parametrize("value", ["a", None, math.nan, math.inf, -1.0])
def test_a_net_is_made_of_numbers(value: object) -> None:
    for name in ("weight", "bias", "keep"):
        numbers = {"weight": 1.0, name: value}
        with pytest.raises(BadInput, match=name):
            theory.MeanField(activation="tanh", **numbers)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="bias"):
        theory.critical_point("tanh", value)  # type: ignore[arg-type]


def test_numbers_of_other_libraries_are_numbers() -> None:
    net = theory.MeanField(activation="tanh", weight=torch.tensor(1.5))  # type: ignore[arg-type]
    assert net.phase().name == "chaotic"


@pytest.mark.parametrize("gate", [math.nan, math.inf, "a"])
def test_a_gate_is_a_number(gate: object) -> None:
    with pytest.raises(BadInput, match="branch"):
        theory.gated(3, gate)  # type: ignore[arg-type]
    assert theory.gated(3, -0.5).forward == theory.gated(3, 0.5).forward
