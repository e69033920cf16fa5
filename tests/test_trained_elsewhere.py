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


@pytest.mark.parametrize("cleared", [True, False])
def test_actor_and_critic_each_with_an_optimizer_in_one_step(cleared: bool) -> None:
    """The critic's optimizer is the step's own: it clears and steps the copy's critic too."""
    torch.manual_seed(0)
    model = nn.ModuleDict({"actor": nn.Linear(4, 2), "critic": nn.Linear(4, 1)})
    judge = torch.optim.SGD(model["critic"].parameters(), 0.01, momentum=0.9)
    before = {name: value.clone() for name, value in model.state_dict().items()}

    def step(nets: Any, optimizer: torch.optim.Optimizer, batch: tuple[Tensor, Tensor]) -> None:
        states, returns = batch
        value = nets["critic"](states).squeeze(1)
        optimizer.zero_grad()
        chosen = nets["actor"](states).log_softmax(1)[:, 0]
        (-chosen * (returns - value).detach()).mean().backward()
        optimizer.step()
        if cleared:
            judge.zero_grad()
        F.mse_loss(value, returns).backward()
        judge.step()

    states = torch.randn(64, 4)
    diagnosis = unvanish.diagnose(
        model,
        [(states, states[:, 0])],
        optimizer=torch.optim.Adam(model["actor"].parameters(), 1e-3),
        step=step,
        steps=5,
    )
    found = [f.name for f in diagnosis.findings if f.severity != "note"]
    assert found == ([] if cleared else ["stale-gradients"]), diagnosis.findings
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert judge.param_groups[0]["params"][0] is model["critic"].weight
    assert not judge.state


def test_model_that_takes_its_batch_as_one_dictionary() -> None:
    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(4, 2)

        def forward(self, batch: dict[str, Tensor]) -> Tensor:
            return self.head(batch["x"])

    batch = {"x": torch.randn(32, 4)}, torch.randint(2, (32,))
    assert unvanish.diagnose(Whole(), batch, nn.CrossEntropyLoss()).healthy


@pytest.mark.parametrize("placed", ["joined", "added"])
def test_a_tensor_that_is_worked_into_the_batch_of_a_frozen_net(placed: str) -> None:
    """A soft prompt before the embeddings, a disturbance on the inputs: made outside, then given."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 2)).requires_grad_(False)
    fitted = torch.randn(8, 4, requires_grad=True)

    def forward(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        inputs = torch.cat([fitted, batch[0]]) if placed == "joined" else batch[0] + fitted
        return F.cross_entropy(model(inputs).unflatten(0, (-1, 8)).mean(0), batch[1])

    batch = torch.randn(8, 4), torch.randint(2, (8,))
    diagnosis = unvanish.diagnose(net, [batch], forward=forward)
    assert diagnosis.healthy, diagnosis.findings


def test_step_that_gives_backward_a_gradient() -> None:
    """As gradient caching does: the loss is taken on the outputs, its gradient handed back to them."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 3))

    def step(
        net: nn.Module, optimizer: torch.optim.Optimizer, batch: tuple[Tensor, Tensor]
    ) -> None:
        optimizer.zero_grad()
        outputs = net(batch[0])
        kept = outputs.detach().requires_grad_()
        F.cross_entropy(kept, batch[1]).backward()
        outputs.backward(kept.grad)
        optimizer.step()

    batch = torch.randn(64, 6), torch.randint(3, (64,))
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    diagnosis = unvanish.diagnose(model, batch, optimizer=optimizer, step=step)
    assert diagnosis.healthy, diagnosis.findings
    assert all(p.state == "reached" for p in diagnosis.trace.parameters), diagnosis.trace.parameters
