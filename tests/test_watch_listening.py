"""Listening to torch's training functions: heard once, wherever the name was imported, and put back."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_  # the way scripts import them

from unvanish.watching.listening import LISTENING


class Ear:
    def __init__(self) -> None:
        self.heard: list[Any] = []

    def before_backward(self, loss: Tensor, roots: Any, scale: Any, given: Any) -> None:
        self.heard.append(
            ("backward", float(loss.detach().sum()), None if scale is None else float(scale))
        )

    def after_backward(self, failed: bool) -> None:
        self.heard.append(("done", failed))

    def clipped(self, parameters: list[Tensor], factor: Any, limit: float, kind: str) -> None:
        self.heard.append((kind, len(parameters), None if factor is None else float(factor), limit))

    def before_scaler_step(self, scaler: Any, optimizer: Any) -> None:
        self.heard.append("scaler")

    def after_scaler_step(self, scaler: Any, optimizer: Any) -> None:
        self.heard.append("scaled")

    def scale_updated(self, scaler: Any) -> None:
        self.heard.append("updated")


@pytest.fixture
def ear() -> Any:
    one = Ear()
    LISTENING.add(one)
    yield one
    LISTENING.remove(one)


def net() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(3, 1)


def test_a_backward_call_is_heard_with_its_loss(ear: Ear) -> None:
    loss = net()(torch.ones(2, 3)).square().mean()
    loss.backward()
    assert ear.heard == [("backward", float(loss.detach()), None), ("done", False)]


def test_a_failed_backward_call_is_heard_as_failed(ear: Ear) -> None:
    with pytest.raises(RuntimeError):
        net()(torch.ones(2, 3)).backward()  # no scalar
    assert ear.heard[-1] == ("done", True)


def test_a_checkpoint_inside_of_backward_is_no_call_of_its_own(ear: Ear) -> None:
    from torch.utils.checkpoint import checkpoint

    layer = net()
    x = torch.ones(2, 3, requires_grad=True)
    checkpoint(layer, x, use_reentrant=True).sum().backward()
    assert [one for one in ear.heard if one[0] == "backward"] == ear.heard[:1]


def test_the_factor_of_clipping_is_what_gradients_were_multiplied_by(ear: Ear) -> None:
    layer = net()
    (1000 * layer(torch.ones(2, 3))).square().mean().backward()
    before = layer.weight.grad.clone()
    clip_grad_norm_(layer.parameters(), 0.5)
    kind, count, factor, limit = ear.heard[-1]
    assert (kind, count, limit) == ("norm", 2, 0.5)
    torch.testing.assert_close(layer.weight.grad, before * factor)


def test_clipping_by_value_is_heard_and_works_with_a_generator(ear: Ear) -> None:
    layer = net()
    (1000 * layer(torch.ones(2, 3))).sum().backward()
    clip_grad_value_((p for p in layer.parameters()), clip_value=1.0)
    assert ear.heard[-1] == ("value", 2, None, 1.0)
    assert float(layer.weight.grad.abs().max()) == 1.0


def test_the_loss_behind_a_scaler_is_heard_without_its_scale(ear: Ear) -> None:
    layer = net()
    sgd = torch.optim.SGD(layer.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=256.0)
    loss = layer(torch.ones(2, 3)).square().mean()
    scaler.scale(loss).backward()
    scaler.step(sgd)
    scaler.update()
    assert ear.heard[0] == ("backward", float(loss.detach()), 256.0)
    assert ear.heard[-3:] == ["scaler", "scaled", "updated"]


def test_torch_is_as_before_when_the_last_listener_goes() -> None:
    before = torch.autograd.backward, torch.amp.GradScaler.step, clip_grad_norm_.__closure__
    inner = [cell.cell_contents for cell in before[2] or ()]
    one, two = Ear(), Ear()
    LISTENING.add(one)
    LISTENING.add(two)
    assert torch.autograd.backward is not before[0]
    LISTENING.remove(one)  # not in the order they came
    net()(torch.ones(1, 3)).sum().backward()
    assert len(two.heard) == 2
    assert not one.heard
    LISTENING.remove(two)
    assert torch.autograd.backward is before[0]
    assert torch.amp.GradScaler.step is before[1]
    assert [cell.cell_contents for cell in clip_grad_norm_.__closure__ or ()] == inner


def test_somebody_elses_exchange_on_top_survives() -> None:
    original, ear = torch.autograd.backward, Ear()
    LISTENING.add(ear)
    ours = torch.autograd.backward

    def theirs(*arguments: Any, **options: Any) -> Any:
        return ours(*arguments, **options)

    torch.autograd.backward = theirs
    try:
        LISTENING.remove(ear)
        assert torch.autograd.backward is theirs
        net()(torch.ones(1, 3)).sum().backward()  # ours hands the call on
        assert not ear.heard
        LISTENING.add(ear)
        net()(torch.ones(1, 3)).sum().backward()
        assert len(ear.heard) == 2
    finally:
        torch.autograd.backward = ours
        LISTENING.remove(ear)
    assert torch.autograd.backward is original


def test_a_step_is_diagnosed_while_somebody_watches() -> None:
    import unvanish

    model = net()
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)

    def step(layer: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
        optimizer.zero_grad()
        layer(batch[0]).square().mean().backward()
        clip_grad_norm_(layer.parameters(), 1.0)
        optimizer.step()

    data = [(torch.randn(4, 3), torch.zeros(4))]
    zero_grad = torch.optim.Optimizer.zero_grad
    with unvanish.watch(model, sgd, strict=True):
        diagnosis = unvanish.diagnose(model, data, optimizer=sgd, step=step)
    assert not [said for said in diagnosis.blind_spots if "cannot be listened to" in said]
    assert torch.optim.Optimizer.zero_grad is zero_grad
