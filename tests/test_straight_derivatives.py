"""A loss of second derivatives asks a net of straight pieces for what it does not have."""

import functools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import unvanish

Forward = Callable[[nn.Module, Any], Tensor]
Derivative = Callable[[Tensor, Tensor], Tensor]
SPACE = torch.linspace(0, 1, 32)[:, None]


class Sine(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(3 * x)


def net(activation: type[nn.Module]) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(1, 24), activation(), nn.Linear(24, 24), activation(), nn.Linear(24, 1)
    )


def derivative(values: Tensor, places: Tensor) -> Tensor:
    return torch.autograd.grad(values.sum(), places, create_graph=True)[0]


def summed_with_ones(values: Tensor, places: Tensor) -> Tensor:
    """As most programs write it: the vector that the Jacobian is multiplied by is all ones."""
    ones = torch.ones_like(values)
    return torch.autograd.grad(values, places, ones, create_graph=True, retain_graph=True)[0]


def summed_with_full(values: Tensor, places: Tensor) -> Tensor:
    return torch.autograd.grad(values, places, values.new_full((32, 1), 1.0), create_graph=True)[0]


def curvature(way: Derivative, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    places = batch[0].clone().requires_grad_()
    residual = way(way(model(places), places), places) + batch[1]
    return residual.square().mean() + model(torch.tensor([[0.0], [1.0]])).square().mean()


def poisson(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """u'' = -pi^2 sin(pi x), and u = 0 at both ends."""
    places = batch[0].clone().requires_grad_()
    curvature = derivative(derivative(model(places), places), places)
    ends = model(torch.tensor([[0.0], [1.0]]))
    return (curvature + math.pi**2 * batch[1]).square().mean() / 50 + ends.square().mean()


def held(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """The same with ends that are held by a factor, which has a curvature of its own."""
    places = batch[0].clone().requires_grad_()
    values = places * (1 - places) * model(places)
    curvature = derivative(derivative(values, places), places)
    return (curvature + math.pi**2 * batch[1]).square().mean() / 50


def slope(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """A differential equation of first order."""
    places = batch[0].clone().requires_grad_()
    return (derivative(model(places), places) - batch[1]).square().mean()


BATCH = SPACE, torch.sin(math.pi * SPACE)


def names(model: nn.Module, forward: Forward) -> list[str]:
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    return [
        finding.name
        for finding in unvanish.diagnose(
            model, BATCH, forward=forward, optimizer=optimizer, steps=20
        ).findings
    ]


@pytest.mark.parametrize("activation", [nn.ReLU, nn.LeakyReLU, nn.Hardtanh])
def test_straight_pieces_have_no_curvature_to_train(activation: type[nn.Module]) -> None:
    model = net(activation)
    places = SPACE.clone().requires_grad_()
    assert not derivative(derivative(model(places), places), places).any()
    found = unvanish.diagnose(model, BATCH, forward=poisson).findings
    assert [finding.name for finding in found] == ["unfit-loss"]
    assert found[0].where == ("1", "3")
    assert "second derivative" in (found[0].detail or "")


@pytest.mark.parametrize("way", [derivative, summed_with_ones, summed_with_full])
def test_however_the_derivative_is_written(way: Derivative) -> None:
    forward = functools.partial(curvature, way)
    found = unvanish.diagnose(net(nn.ReLU), BATCH, forward=forward).findings
    assert [(finding.name, finding.where) for finding in found] == [("unfit-loss", ("1", "3"))]
    assert names(net(nn.Tanh), forward) == []


@pytest.mark.parametrize("activation", [nn.Tanh, nn.SiLU, nn.Softplus, Sine])
def test_smooth_ones_have(activation: type[nn.Module]) -> None:
    assert names(net(activation), poisson) == []


@pytest.mark.parametrize("forward", [held, slope])
def test_rectifiers_under_another_curvature_or_a_slope_are_quiet(forward: Forward) -> None:
    assert names(net(nn.ReLU), forward) == []


def test_tanh_in_its_place_is_a_cure() -> None:
    model = net(nn.ReLU)
    treated = unvanish.treat(
        model,
        BATCH,
        forward=poisson,
        optimizer=torch.optim.Adam(model.parameters(), 5e-3),
        keep="layers",
    )
    assert treated.cured
    assert isinstance(treated.model, nn.Sequential)
    assert [type(treated.model[place]) for place in (1, 3)] == [nn.Tanh, nn.Tanh]


class Held(nn.Module):
    """Ends held by a factor, rectifiers to the third power, a head that starts at zero."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inside, self.head = nn.Linear(1, 32), nn.Linear(32, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + x * (1 - x) * self.head(torch.relu(self.inside(x)) ** 3)


def test_a_curvature_that_is_zero_at_the_start_only_is_quiet() -> None:
    model = Held()
    places = SPACE.clone().requires_grad_()
    assert not derivative(derivative(model(places), places), places).any()
    assert names(model, poisson) == []  # type: ignore[arg-type]


def test_a_loss_of_derivatives_alone_leaves_the_last_bias_without_gradient_and_is_quiet() -> None:
    """The bias that is added last has no part in any derivative; the shape of ones is no cut."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1))

    def slope(net: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        places = batch[0].clone().requires_grad_()
        heights = net(places)
        (found,) = torch.autograd.grad(heights, places, torch.ones_like(heights), create_graph=True)
        return (found - torch.cos(places)).square().mean()

    report = unvanish.diagnose(model, BATCH, forward=slope)
    assert [f.name for f in report.findings if f.severity != "note"] == []
