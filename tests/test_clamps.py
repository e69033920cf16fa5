"""A clamp between two numbers behind a weight is torch's hardtanh: flat outside of its limits."""

import itertools
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from patients import blobs
from torch import Tensor, nn

import unvanish
from unvanish.diagnosis import Diagnosis

SEEDS = (0, 1, 2)
Function = Callable[[Tensor], Tensor]


def as_method(hidden: Tensor) -> Tensor:
    return hidden.clamp(0, 1)


def by_name(hidden: Tensor) -> Tensor:
    return torch.clip(hidden, min=0.0, max=1.0)


def in_place(hidden: Tensor) -> Tensor:
    return hidden.clamp_(0, 1)


def as_hardtanh(hidden: Tensor) -> Tensor:
    return F.hardtanh(hidden, 0.0, 1.0)


class Limited(nn.Module):
    """Eight layers and a head, each layer's outputs kept between zero and one."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        widths = [32, *[64] * 8]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))
        self.head = nn.Linear(64, 4)
        self.function = function

    def forward(self, inputs: Tensor) -> Tensor:
        for layer in self.layers:
            inputs = self.function(layer(inputs))
        return self.head(inputs)


def diagnosed(function: Function, seed: int, scale: float = 1.0) -> Diagnosis:
    torch.manual_seed(seed)
    inputs, labels = blobs(seed)
    return unvanish.diagnose(Limited(function), (inputs * scale, labels), F.cross_entropy)


class Applied(nn.Module):
    """A function as a module."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function

    def forward(self, inputs: Tensor) -> Tensor:
        return self.function(inputs)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("function", [as_method, by_name, in_place])
def test_raw_inputs_saturate_a_clamp(function: Function, seed: int) -> None:
    diagnosis = diagnosed(function, seed, scale=255.0)
    named = [(f.name, f.severity, f.where) for f in diagnosis.findings]
    assert "saturated-activation" in [name for name, _, _ in named]
    assert named == [
        (f.name, f.severity, f.where) for f in diagnosed(as_hardtanh, seed, 255.0).findings
    ]


@pytest.mark.parametrize("seed", SEEDS)
def test_shares_are_those_of_autograd_among_units_that_are_on(seed: int) -> None:
    diagnosis = diagnosed(as_method, seed, scale=255.0)
    torch.manual_seed(seed)
    model, hidden = Limited(as_method), blobs(seed)[0] * 255.0
    assert len(diagnosis.trace.activations) == len(model.layers)
    for layer, activation in zip(model.layers, diagnosis.trace.activations, strict=True):
        before = layer(hidden).detach().requires_grad_()
        hidden = before.clamp(0, 1)
        (slope,) = torch.autograd.grad(hidden.sum(), before)
        on = slope[hidden.detach() != 0]
        assert activation.saturated_share == pytest.approx(float((on == 0).float().mean()))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("limit", [nn.ReLU6(), lambda x: x.clamp(0, 100)])
def test_a_sparse_rectifier_with_a_ceiling_is_not_saturated(limit: Function, seed: int) -> None:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(32, 64), Applied(limit), nn.Linear(64, 4))
    with torch.no_grad():
        model[0].bias.fill_(-1.2)
    inputs, labels = blobs(seed)
    off = (model[1](model[0](inputs)) == 0).float().mean()
    assert 0.75 < float(off) < 0.999
    diagnosis = unvanish.diagnose(model, (inputs, labels), F.cross_entropy)
    assert "saturated-activation" not in [f.name for f in diagnosis.findings]


@pytest.mark.parametrize("seed", SEEDS)
def test_clamp_with_room_is_no_finding(seed: int) -> None:
    assert diagnosed(as_method, seed).healthy


class Bounded(nn.Module):
    """Clamps that are no activations: of the data, of shares, of a scale; and one to one side."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(32, 32) for _ in range(3))
        self.head = nn.Linear(32, 4)
        self.scale = nn.Parameter(torch.tensor(4.0))

    def forward(self, inputs: Tensor) -> Tensor:
        inputs = inputs.clamp(-1e-3, 1e-3) * 1e3
        scores = self.query(inputs) @ self.key(inputs).T
        shares = (scores * self.scale.clamp(0.0, 4.6)).softmax(-1).clamp(1e-9, 1.0)
        hidden = self.value(inputs).clamp(min=-100.0)
        with torch.no_grad():
            hidden.norm(dim=-1, keepdim=True).clamp(1e3, 1e6)
        return self.head(hidden + shares @ hidden)


def test_bounds_are_no_activations() -> None:
    torch.manual_seed(0)
    diagnosis = unvanish.diagnose(Bounded(), blobs(0), F.cross_entropy)
    assert not diagnosis.trace.activations
    assert "saturated-activation" not in [f.name for f in diagnosis.findings]
