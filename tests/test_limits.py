"""Limits written by hand and gates: closed for every sample, and only looking so."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from patients import blobs, classify
from patients_exam import adam
from torch import Tensor, nn

import unvanish

RECTIFIERS: dict[str, Callable[[Tensor], Tensor]] = {
    "clamp": lambda h: h.clamp(min=0),
    "clamp_min": lambda h: torch.clamp_min(h, 0.0),
    "maximum": lambda h: torch.maximum(h, torch.zeros(())),
    "mask": lambda h: h * (h > 0),
    "mask of floats": lambda h: (h > 0).float() * h,
    "where": lambda h: torch.where(h > 0, h, torch.zeros(())),
    "threshold": lambda h: F.threshold(h, 0.0, 0.0),
}


class Written(nn.Module):
    """One hidden layer with a function for its activation."""

    def __init__(self, function: Callable[[Tensor], Tensor], bias: float) -> None:
        super().__init__()
        self.hidden, self.head = nn.Linear(32, 24), nn.Linear(24, 4)
        self.function = function
        nn.init.constant_(self.hidden.bias, bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.function(self.hidden(x)))


def found(model: nn.Module, with_optimizer: bool = True) -> list[tuple[str, str, tuple[str, ...]]]:
    torch.manual_seed(0)
    program = classify(model, blobs(0), optimizer=adam(model))
    if not with_optimizer:
        program.pop("optimizer")
    findings = unvanish.diagnose(**program).findings
    return [(f.name, f.severity, f.where) for f in findings if f.severity != "note"]


@pytest.mark.parametrize("name", RECTIFIERS)
def test_a_rectifier_written_by_hand_that_is_off_is_dead(name: str) -> None:
    torch.manual_seed(0)
    model = Written(RECTIFIERS[name], -60.0)
    assert found(model, False)[0] == ("dead-units", "broken", ("hidden",))
    assert found(model)[0][0] == "dead-units"


@pytest.mark.parametrize("name", RECTIFIERS)
def test_one_that_is_half_on_is_fine(name: str) -> None:
    torch.manual_seed(0)
    assert not found(Written(RECTIFIERS[name], 0.0))


def test_values_that_are_all_cut_to_one_end_are_saturated() -> None:
    torch.manual_seed(0)
    cut = Written(lambda h: h.clamp(0, 1), 60.0)
    assert found(cut)[0] == ("saturated-activation", "broken", ("hidden",))
    assert not found(Written(lambda h: h.clamp(0, 1), 0.0))


class Highway(nn.Module):
    def __init__(self, bias: float) -> None:
        super().__init__()
        self.body, self.gate, self.head = nn.Linear(32, 32), nn.Linear(32, 32), nn.Linear(32, 4)
        nn.init.constant_(self.gate.bias, bias)

    def forward(self, x: Tensor) -> Tensor:
        share = torch.sigmoid(self.gate(x))
        return self.head(share * torch.relu(self.body(x)) + (1 - share) * x)


def test_a_gate_that_nothing_gets_through_is_saturated_one_that_only_leans_is_not() -> None:
    torch.manual_seed(0)
    name, _, where = found(Highway(-40.0))[0]
    assert name == "saturated-activation"
    assert "gate" in where
    assert not found(Highway(-4.0))
    # Open for good: all of it goes through, and what it multiplies learns.
    assert not found(Highway(40.0))


class ZeroGain(nn.Module):
    """A branch at zero, beside a rectifier by hand that is on: the product is closed, not the limit."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(32, 32), nn.Linear(32, 4)
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        made = self.body(x)
        return self.head(x + self.gain * (made * (made > 0)))


def test_a_zero_gain_beside_a_limit_is_asleep_not_dead() -> None:
    torch.manual_seed(0)
    assert not found(ZeroGain())


def test_a_hinge_that_is_solved_is_no_limit() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(32, 16), nn.Tanh(), nn.Linear(16, 1))
    inputs, labels = blobs(0, classes=2)
    signs = labels[:, None] * 2.0 - 1

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return (1 - targets * (outputs * 0 + targets * 5 + outputs)).clamp(min=0).mean()

    diagnosis = unvanish.diagnose(model, (inputs, signs), loss)
    assert diagnosis.healthy, [f.name for f in diagnosis.findings]


class Modulated(nn.Module):
    """Features times what a condition makes of them, and a last layer: each may be zero, not both."""

    def __init__(self, both: bool) -> None:
        super().__init__()
        self.body, self.by, self.head = nn.Linear(32, 16), nn.Linear(32, 16), nn.Linear(16, 1)
        for layer in (self.by, self.head) if both else (self.by,):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.silu(self.body(x)) * self.by(x.flip(1)))


def test_a_zero_modulation_before_a_zero_layer_is_a_saddle_not_a_symmetry() -> None:
    torch.manual_seed(0)
    inputs = blobs(0)[0]
    program = {"data": (inputs, inputs[:, :1] * inputs[:, 1:2]), "loss": F.mse_loss}
    findings = unvanish.diagnose(Modulated(both=True), **program).findings
    assert [f.name for f in findings] == ["stuck-saddle"]
    assert {"by.weight", "head.weight"} <= set(findings[0].where)
    assert unvanish.diagnose(Modulated(both=False), **program).healthy
