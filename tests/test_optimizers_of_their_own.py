"""Optimizers written by hand: a step without a closure, one that needs it, one that climbs."""

import copy
import functools
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import unvanish
from unvanish.trial import Arm, Running, prepare


class Lion(torch.optim.Optimizer):
    """Steps of one size along the signs; its ``step`` knows of no closure."""

    def __init__(self, parameters: Any, lr: float = 1e-3) -> None:
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.add_(p.grad.sign(), alpha=-group["lr"])


class Climbing(torch.optim.SGD):
    """A minus that got lost in a hand-written step with momentum."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    held = self.state[p].setdefault("momentum_buffer", torch.zeros_like(p))
                    held.mul_(group["momentum"]).add_(p.grad)
                    p.add_(held, alpha=group["lr"])


class Asking(torch.optim.Optimizer):
    """A step that cannot be taken without a closure: it takes the loss twice."""

    def __init__(self, parameters: Any, lr: float = 0.05) -> None:
        super().__init__(parameters, {"lr": lr})

    def step(self, closure: Any) -> Tensor:  # type: ignore[override]
        losses = list[Tensor]()
        for _ in range(2):
            losses.append(closure())
            with torch.no_grad():
                for p in self.param_groups[0]["params"]:
                    p.add_(p.grad, alpha=-self.param_groups[0]["lr"])
        return losses[-1]


SEARCHING = functools.partial(torch.optim.LBFGS, lr=0.5, max_iter=3)


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))


def batch(size: int = 64) -> tuple[Tensor, Tensor]:
    x = torch.randn(size, 8, generator=torch.Generator().manual_seed(1))
    return x, x[:, :3].argmax(1)


def trained(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> tuple[float, float]:
    """The loss before and after plain steps."""
    x, y = batch()
    losses = list[float]()
    for _ in range(steps):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses[0], losses[-1]


@pytest.mark.parametrize("steps", [None, 20])
def test_a_step_without_a_closure(steps: int | None) -> None:
    model = net()
    optimizer = Lion(model.parameters())
    before = copy.deepcopy(model.state_dict())
    more: dict[str, Any] = {} if steps is None else {"steps": steps}
    diagnosis = unvanish.diagnose(model, batch(), nn.CrossEntropyLoss(), optimizer, **more)
    assert diagnosis.healthy, [f.name for f in diagnosis.findings]
    assert not [spot for spot in diagnosis.blind_spots if "closure" in spot or "failed" in spot]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    first, last = trained(model, optimizer, 40)
    assert last < 0.9 * first


@pytest.mark.parametrize("make", [Lion, Asking, SEARCHING])
def test_a_trial_trains_with_it(make: Any) -> None:
    task = prepare(net(), batch(96), nn.CrossEntropyLoss(), steps=20)
    running = Running(Arm(net(), make), task).advance(20)
    assert len(running.losses) == 20
    assert running.losses[-1] < 0.98 * running.losses[0]


def test_a_trial_takes_the_steps_that_its_rule_takes() -> None:
    model, twin = net(), net()
    data = [tuple(part[i : i + 16] for part in batch(96)) for i in range(0, 96, 16)]
    task = prepare(model, data, nn.CrossEntropyLoss(), steps=5)
    running = Running(Arm(model, Lion), task).advance(5)
    optimizer = Lion(twin.parameters())
    for step, seen in enumerate(running.losses):
        x, y = task.split.batch(0, step)
        optimizer.zero_grad()
        loss = F.cross_entropy(twin(x), y)
        loss.backward()
        optimizer.step()
        assert seen == float(loss.detach())


@pytest.mark.parametrize("make", [Asking, SEARCHING])
def test_one_that_needs_a_closure_gets_it(make: Any) -> None:
    model = net()
    diagnosis = unvanish.diagnose(
        model, batch(), nn.CrossEntropyLoss(), make(model.parameters()), steps=5
    )
    assert diagnosis.healthy, [f.name for f in diagnosis.findings]
    assert diagnosis.updates
    assert not [spot for spot in diagnosis.blind_spots if "closure" in spot]


@pytest.mark.parametrize("ran", [0, 10])
def test_one_that_climbs_is_named(ran: int) -> None:
    model = net()
    optimizer = Climbing(model.parameters(), lr=0.01, momentum=0.9)
    if ran:
        first, last = trained(model, optimizer, ran)
        assert last > first
    looked = unvanish.diagnose(model, batch(), nn.CrossEntropyLoss(), optimizer)
    stepped = unvanish.diagnose(model, batch(), nn.CrossEntropyLoss(), optimizer, steps=5)
    for found in (looked, stepped):
        assert "wrong-sign" in [f.name for f in found.findings if f.severity != "note"]


class Sharpness(torch.optim.Optimizer):
    """Foret et al. 2021: steps another optimizer inside, from the gradient a little uphill."""

    def __init__(self, parameters: Any, rate: float) -> None:
        super().__init__(parameters, {"lr": rate})
        self.base = torch.optim.SGD(self.param_groups, lr=rate)
        self.param_groups = self.base.param_groups

    @torch.no_grad()
    def uphill(self) -> None:
        for parameter in self.param_groups[0]["params"]:
            self.state[parameter]["old"] = parameter.clone()
            parameter.add_(parameter.grad, alpha=0.01)
        self.zero_grad()

    @torch.no_grad()
    def downhill(self) -> None:
        for parameter in self.param_groups[0]["params"]:
            parameter.copy_(self.state[parameter]["old"])
        self.base.step()
        self.zero_grad()


def test_an_optimizer_that_steps_another_one_inside() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 24), nn.Tanh(), nn.Linear(24, 1))
    inputs = torch.randn(48, 6)
    batch = inputs, inputs[:, :1] - inputs[:, 1:2]
    optimizer = Sharpness(model.parameters(), 0.05)

    def step(model: nn.Module, optimizer: Any, batch: Any) -> None:
        nn.functional.mse_loss(model(batch[0]), batch[1]).backward()
        optimizer.uphill()
        nn.functional.mse_loss(model(batch[0]), batch[1]).backward()
        optimizer.downhill()

    before = [parameter.detach().clone() for parameter in model.parameters()]
    diagnosis = unvanish.diagnose(
        model, batch, nn.MSELoss(), optimizer=optimizer, step=step, steps=20
    )
    assert diagnosis.healthy
    assert not [spot for spot in diagnosis.blind_spots if "not possible" in spot]
    assert all(map(torch.equal, before, model.parameters()))


class Decaying(torch.optim.Optimizer):
    """Pulls all that it holds towards zero, with a gradient or without."""

    def __init__(self, parameters: Any, lr: float) -> None:
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for parameter in self.param_groups[0]["params"]:
            parameter.mul_(1 - 0.01 * self.param_groups[0]["lr"])
            if parameter.grad is not None:
                parameter.sub_(parameter.grad, alpha=self.param_groups[0]["lr"])


class Several(torch.optim.Optimizer):
    """Steps others that it keeps in a container."""

    def __init__(self, model: nn.Module, keep: Any) -> None:
        every = list(model.parameters())
        inner = [
            Decaying([p for p in every if (p.ndim > 1) is matrix], 0.1) for matrix in (False, True)
        ]
        super().__init__(every, {"lr": 0.1})
        self.param_groups = [group for one in inner for group in one.param_groups]
        self.inner = keep(inner)

    def step(self, closure: Any = None) -> None:
        for one in self.inner.values() if isinstance(self.inner, dict) else self.inner:
            one.step()


@pytest.mark.parametrize("keep", [list, tuple, lambda several: dict(enumerate(several))])
def test_optimizers_in_a_container_are_copied_with_it(keep: Any) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))
    inputs = torch.randn(64, 8)
    optimizer = Several(model, keep)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    diagnosis = unvanish.diagnose(
        model, (inputs, inputs[:, :3].argmax(1)), F.cross_entropy, optimizer, steps=20
    )
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert "step-too-large" in {item.name for item in diagnosis.ruled_out}  # the copy did move


def test_a_method_that_a_scheduler_wrapped_stays_with_the_original() -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 2)
    optimizer = Several(model, list)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 10)
    assert "step" in vars(optimizer)  # wrapped around the original
    before = model.weight.detach().clone()
    unvanish.diagnose(
        model, (torch.randn(8, 4), torch.randint(2, (8,))), F.cross_entropy, optimizer, steps=5
    )
    assert torch.equal(model.weight, before)
    assert scheduler.last_epoch == 0
