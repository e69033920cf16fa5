"""A term of the loss made by autograd.grad without create_graph trains nothing: that is said."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import unvanish

Forward = Callable[[nn.Module, tuple[Tensor, Tensor]], Tensor]

POINTS = torch.linspace(0, 1, 32)[:, None]
LABELS = (POINTS[:, 0] > 0.5).long()


def net(outputs: int = 1) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(1, 24), nn.Tanh(), nn.Linear(24, 24), nn.Tanh(), nn.Linear(24, outputs)
    )


def slope(model: nn.Module, points: Tensor, **options: Any) -> Tensor:
    return torch.autograd.grad(model(points).sum(), points, **options)[0]


def equation(**options: Any) -> Forward:
    """u' = cos 3x, and u(0) = 0."""

    def forward(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        points = batch[0].clone().requires_grad_()
        residual = slope(model, points, **options) - torch.cos(3 * points)
        return 2 * residual.square().mean() + model(torch.zeros(1, 1)).square().mean()

    return forward


def curvature(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """The first derivative keeps its graph, the second does not."""
    points = batch[0].clone().requires_grad_()
    first = slope(model, points, create_graph=True)
    second = torch.autograd.grad(first.sum(), points, retain_graph=True)[0]
    start = model(torch.zeros(1, 1)).square().mean()
    return start + first.square().mean() + (second + 1).square().mean()


def forces(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    points = batch[0].clone().requires_grad_()
    energy = model(points)
    force = -torch.autograd.grad(energy.sum(), points, retain_graph=True)[0]
    return F.mse_loss(energy, points.detach()) + F.mse_loss(force, torch.ones_like(force))


def moved(forward: Forward, without: Forward) -> float:
    """How far the gradients of two losses are apart, in plain torch."""
    apart = 0.0
    model = net()
    parameters = list(model.parameters())
    for one, other in zip(
        torch.autograd.grad(forward(model, (POINTS, POINTS)), parameters),
        torch.autograd.grad(without(model, (POINTS, POINTS)), parameters),
        strict=True,
    ):
        apart = max(apart, float((one - other).abs().max()))
    return apart


def said(forward: Forward, model: nn.Module | None = None) -> list[str]:
    found = unvanish.diagnose(model or net(), [(POINTS, POINTS)], forward=forward)
    assert found.healthy
    return [e.because for e in found.expected if e.name == "term-without-gradient"]


@pytest.mark.parametrize("forward", [equation(retain_graph=True), curvature, forces])
def test_a_term_of_derivatives_without_graph_is_listed(forward: Forward) -> None:
    (because,) = said(forward)
    assert "autograd.grad without create_graph=True" in because


def test_it_trains_nothing_indeed() -> None:
    def only_the_start(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return model(torch.zeros(1, 1)).square().mean()

    assert moved(equation(retain_graph=True), only_the_start) == 0
    assert moved(equation(create_graph=True), only_the_start) > 0.01


def adversarial(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    points = batch[0].clone().requires_grad_()
    clean = F.cross_entropy(model(points), LABELS)
    sign = torch.autograd.grad(clean, points, retain_graph=True)[0].sign()
    return clean + F.cross_entropy(model(batch[0] + 0.01 * sign), LABELS)


def weighted(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """A term weighed by the size of its gradient, and a gradient as a target."""
    points = batch[0].clone().requires_grad_()
    outputs = model(points)
    first = F.cross_entropy(outputs, LABELS)
    size = torch.autograd.grad(first, points, retain_graph=True)[0]
    return first + size.norm() * outputs.square().mean() + F.mse_loss(outputs[:, :1], size)


def of_a_frozen_net(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    points = batch[0].clone().requires_grad_()
    given = slope(TEACHER, points)
    return F.mse_loss(model(batch[0])[:, :1], given) + given.square().mean()


TEACHER = net().requires_grad_(False)


@pytest.mark.parametrize("forward", [adversarial, weighted, of_a_frozen_net])
def test_derivatives_that_are_a_step_a_weight_or_a_target_are_not(forward: Forward) -> None:
    assert said(forward, net(2)) == []


def test_nor_is_a_derivative_with_its_graph() -> None:
    assert said(equation(create_graph=True)) == []
