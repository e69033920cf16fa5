"""What trains is not the model, or not by the optimizer that was given."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import unvanish


def features() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1))


class HoldsAnImage(nn.Module):
    """The image is a plain tensor of the model: saved, moved and stepped by nobody."""

    def __init__(self) -> None:
        super().__init__()
        self.net = features()
        self.image = [torch.randn(1, 3, 8, 8, requires_grad=True)]


@pytest.mark.parametrize("optimized", [False, True])
def test_an_image_that_is_fitted_to_a_frozen_net(optimized: bool) -> None:
    net = features().requires_grad_(False)
    image = torch.randn(1, 3, 8, 8, requires_grad=True)
    wanted = net(torch.randn(1, 3, 8, 8))

    def forward(model: nn.Module, _: Any) -> Tensor:
        return F.mse_loss(model(image), wanted)

    optimizer = torch.optim.Adam([image], 0.05) if optimized else None
    diagnosis = unvanish.diagnose(net, [(wanted,)], forward=forward, optimizer=optimizer)
    assert diagnosis.healthy, diagnosis.findings
    assert [e.name for e in diagnosis.expected if "0.weight" in e.where] == ["frozen-by-you"]
    assert image.grad is None


def test_a_frozen_net_and_an_image_that_does_not_train_is_a_fault() -> None:
    net = features().requires_grad_(False)
    image = torch.randn(1, 3, 8, 8)
    diagnosis = unvanish.diagnose(
        net, [(image,)], forward=lambda model, batch: model(image).square().mean()
    )
    assert [f.name for f in diagnosis.findings] == ["nothing-trainable"]


def test_an_image_that_the_model_holds_unregistered_is_a_fault() -> None:
    model = HoldsAnImage()

    def forward(whole: Any, _: Any) -> Tensor:
        return whole.net(whole.image[0]).square().mean()

    diagnosis = unvanish.diagnose(model, [(torch.zeros(1),)], forward=forward)
    assert [f.name for f in diagnosis.findings] == ["unregistered-module"]
    assert diagnosis.findings[0].where[0] == "image.0"


@pytest.mark.parametrize("held", [True, False])
def test_step_with_an_optimizer_of_its_own_for_the_embedding(held: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(50, 8, sparse=True), nn.Flatten(), nn.Linear(24, 1))
    aside = torch.optim.SparseAdam(list(model[0].parameters()) if held else [torch.zeros(2)], 0.01)
    numbers = torch.randint(50, (64, 3))

    def step(
        net: nn.Module, optimizer: torch.optim.Optimizer, batch: tuple[Tensor, Tensor]
    ) -> None:
        optimizer.zero_grad()
        aside.zero_grad()
        F.mse_loss(net(batch[0]).squeeze(1), batch[1]).backward()
        optimizer.step()
        aside.step()

    diagnosis = unvanish.diagnose(
        model,
        (numbers, (numbers > 25).float().sum(1)),
        optimizer=torch.optim.Adam(model[2].parameters(), 0.01),
        step=step,
    )
    if held:
        assert diagnosis.healthy, diagnosis.findings
        assert "in-another-optimizer" in [e.name for e in diagnosis.expected]
    else:
        assert diagnosis.findings[0].name == "not-in-optimizer"
        assert diagnosis.findings[0].where == ("0.weight",)
