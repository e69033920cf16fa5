"""Update to weight is the relative size of the real step, for any optimizer."""

import copy
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import unvanish

Make = Callable[[Iterable[Tensor]], torch.optim.Optimizer]

OPTIMIZERS: dict[str, Make] = {
    "SGD": lambda p: torch.optim.SGD(p, 0.05),
    "SGD, momentum, decay": lambda p: torch.optim.SGD(p, 0.05, 0.9, weight_decay=0.1),
    "SGD, Nesterov": lambda p: torch.optim.SGD(p, 0.05, 0.9, nesterov=True),
    "Adam": lambda p: torch.optim.Adam(p, 1e-3),
    "Adam, decay": lambda p: torch.optim.Adam(p, 1e-3, weight_decay=0.1),
    "AdamW": lambda p: torch.optim.AdamW(p, 1e-3, weight_decay=0.5),
    "Adafactor": lambda p: torch.optim.Adafactor(p, 1e-2),
    "RMSprop": lambda p: torch.optim.RMSprop(p, 1e-3, momentum=0.5),
    "Adagrad": lambda p: torch.optim.Adagrad(p, 1e-2),
    "Adadelta": lambda p: torch.optim.Adadelta(p),
    "NAdam": lambda p: torch.optim.NAdam(p, 1e-3),
    "LBFGS": lambda p: torch.optim.LBFGS(p, 0.1, max_iter=3),
}
if hasattr(torch.optim, "Muon"):
    OPTIMIZERS["Muon"] = lambda p: torch.optim.Muon([t for t in p if t.dim() == 2], 1e-2)


class Own(torch.optim.Optimizer):
    """An optimizer of the user's: steps of the sign, half a percent of each weight's norm."""

    def __init__(self, params: Iterable[Tensor], lr: float) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                sign = parameter.grad.sign()
                parameter -= group["lr"] * parameter.norm() * sign / sign.norm()


OPTIMIZERS["the user's own"] = lambda p: Own(p, 0.005)


def net() -> tuple[nn.Sequential, tuple[Tensor, Tensor]]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 3))
    return model, (torch.randn(32, 6), torch.randint(3, (32,)))


def hand_step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> dict[str, float]:
    """One step without unvanish; the relative change of each tensor."""

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        return loss

    closure()
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    needs = isinstance(optimizer, torch.optim.LBFGS)
    optimizer.step(closure) if needs else optimizer.step()  # type: ignore[call-overload]
    return {
        n: float((p.detach() - before[n]).norm() / before[n].norm())
        for n, p in model.named_parameters()
    }


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("trained", [0, 3])
def test_update_to_weight_is_that_of_a_step_by_hand(name: str, trained: int) -> None:
    model, batch = net()
    optimizer = OPTIMIZERS[name](model.parameters())
    for _ in range(trained):
        hand_step(model, optimizer, batch)
    diagnosis = unvanish.diagnose(model, batch, nn.CrossEntropyLoss(), optimizer)
    twin = copy.deepcopy((model, optimizer))
    if name == "LBFGS":  # torch's copy of it loses what is neither state nor options
        twin[1]._params = list(twin[0].parameters())  # type: ignore[attr-defined]
        twin[1]._numel_cache = None  # type: ignore[attr-defined]
    truth = hand_step(*twin, batch)
    seen = {update.name: update.update_to_weight for update in diagnosis.updates}
    assert seen == pytest.approx({n: truth[n] for n in seen}, rel=1e-5)
    stepped = [n for n, value in truth.items() if value > 0]
    assert set(stepped) <= set(seen)


def test_without_decay_and_without_momentum_are_the_formula() -> None:
    model, batch = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.05, 0.9, weight_decay=0.5)
    for _ in range(4):
        hand_step(model, optimizer, batch)
    diagnosis = unvanish.diagnose(model, batch, nn.CrossEntropyLoss(), optimizer, steps=2)
    loss = nn.functional.cross_entropy(model(batch[0]), batch[1])
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    for (name, weight), gradient in zip(model.named_parameters(), gradients, strict=True):
        (seen,) = [update for update in diagnosis.updates if update.name == name]
        buffer = optimizer.state[weight]["momentum_buffer"]
        weight = weight.detach()
        norm = weight.norm()
        decayed = gradient + 0.5 * weight
        full = 0.05 * (0.9 * buffer + decayed).norm() / norm
        assert seen.update_to_weight == pytest.approx(float(full), rel=1e-5)
        free = 0.05 * (0.9 * buffer + gradient).norm() / norm
        assert seen.without_decay == pytest.approx(float(free), rel=1e-5)
        fresh = 0.05 * decayed.norm() / norm
        assert seen.without_momentum == pytest.approx(float(fresh), rel=1e-5)


def test_without_steps_only_the_real_step_is_tried() -> None:
    model, batch = net()
    optimizer = torch.optim.Adam(model.parameters())
    seen = unvanish.diagnose(model, batch, nn.CrossEntropyLoss(), optimizer).updates
    assert len(seen) == 4
    assert all(u.without_decay is None and u.without_momentum is None for u in seen)
    assert unvanish.diagnose(model, batch, nn.CrossEntropyLoss()).updates == ()
