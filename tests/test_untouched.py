"""Whatever happens while it is observed, the user's program is left as it was, bit for bit."""

import gc
import random
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from leaks import live_tensors
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules import module as torch_module
from zoo import FLAT, Checkpointed, Written, mlp, seeded

import unvanish
from unvanish import UnvanishError, observe


class Delicate(nn.Module):
    """Everything that an observation could disturb: statistics, noise, modes, frozen parts."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Linear(4, 8), nn.BatchNorm1d(8)
        self.fixed, self.last = nn.BatchNorm1d(8), nn.Linear(8, 3)
        self.frozen = nn.Linear(8, 8).requires_grad_(False)
        self.drop = nn.Dropout(0.3)
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.register_buffer("phase", torch.ones(2, dtype=torch.complex64))
        self.register_buffer("nothing", None)
        self.fixed.eval()
        self.trouble = ""

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        np.random.rand()
        random.random()
        with torch.no_grad():
            self.first.bias.add_(1)
            self.last.bias.data = self.last.bias.data * 2
        x = self.frozen(self.fixed(self.norm(self.first(x))))
        self.register_buffer("late", torch.ones(3))
        self.train(False)
        if self.trouble == "forward":
            raise RuntimeError("no way forward")
        x = self.last(self.drop(torch.relu(x)) + torch.rand(8))
        return Broken.apply(x) if self.trouble == "backward" else x


class Broken(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        raise RuntimeError("no way back")


def bits(tensor: Tensor | None) -> Any:
    return (
        None
        if tensor is None
        else (tensor.dtype, tuple(tensor.shape), tensor.detach().numpy().tobytes())
    )


def state(model: nn.Module) -> dict[str, Any]:
    """All that can be told about a model and the process around it."""
    parameters = dict(model.named_parameters())
    return {
        "values": {name: bits(p) for name, p in parameters.items()},
        "memory": {name: p.data_ptr() for name, p in parameters.items()},
        "gradients": {n: (id(p.grad), bits(p.grad)) for n, p in parameters.items()},
        "trainable": {name: p.requires_grad for name, p in parameters.items()},
        "tensor hooks": {n: list(p._backward_hooks or ()) for n, p in parameters.items()},
        "step hooks": {
            n: list(getattr(p, "_post_accumulate_grad_hooks", None) or ())
            for n, p in parameters.items()
        },
        "buffers": [
            (name, key, id(buffer), bits(buffer))
            for name, module in model.named_modules()
            for key, buffer in module._buffers.items()
        ],
        "modes": {name: module.training for name, module in model.named_modules()},
        "module hooks": {
            name: [list(getattr(module, kind)) for kind in HOOKS]
            for name, module in model.named_modules()
        },
        "global hooks": [list(getattr(torch_module, kind)) for kind in GLOBAL_HOOKS],
        "backward": torch.autograd.backward,
        "random": (random.getstate(), str(np.random.get_state()), bits(torch.get_rng_state())),
        "grad mode": torch.is_grad_enabled(),
        "function modes": torch._C._len_torch_function_stack(),
    }


HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
GLOBAL_HOOKS = tuple(f"_global{name}" for name in HOOKS if name != "_backward_pre_hooks")


def prepared(trouble: str = "") -> tuple[Delicate, list[str]]:
    model: Delicate = seeded(Delicate)
    model.trouble = trouble
    model.last.weight.grad = torch.full_like(model.last.weight, 7.0)
    fired: list[str] = []
    model.first.weight.register_post_accumulate_grad_hook(lambda _: fired.append("step"))
    return model, fired


def broken_loss(outputs: Tensor, target: Tensor) -> Tensor:
    raise RuntimeError("no loss")


@pytest.mark.parametrize("trouble", ["", "forward", "backward", "loss", "not a scalar"])
def test_everything_is_as_before(trouble: str) -> None:
    model, fired = prepared(trouble)
    loss: Callable[..., Any] = F.cross_entropy
    if trouble == "loss":
        loss = broken_loss
    elif trouble:
        loss = (lambda out, _: out) if trouble == "not a scalar" else loss
    before = state(model)
    if trouble:
        with pytest.raises(UnvanishError):
            observe(model, FLAT, loss)
    else:
        observe(model, FLAT, loss)
    after = state(model)
    for what, value in before.items():
        assert after[what] == value, what
    assert fired == []


def test_everything_is_as_before_when_we_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("unvanish.probe.attempt.assemble", fail)
    model, fired = prepared()
    before = state(model)
    with pytest.raises(ZeroDivisionError):
        observe(model, FLAT, F.cross_entropy)
    assert state(model) == before
    assert fired == []


def test_hooks_of_the_user_work_again_afterwards() -> None:
    model, fired = prepared()
    observe(model, FLAT, F.cross_entropy)
    F.cross_entropy(model(FLAT[0]), FLAT[1]).backward()
    assert fired == ["step"]


def test_untouched_buffers_keep_their_version() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)).eval()
    versions = [buffer._version for buffer in model.buffers()]
    observe(model, FLAT, F.cross_entropy)
    assert [buffer._version for buffer in model.buffers()] == versions


def test_statistics_poisoned_by_the_data_are_restored() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    with torch.no_grad():
        model[0].weight.fill_(float("inf"))
    before = bits(model[1].running_mean)
    observe(model, FLAT, F.cross_entropy)
    assert bits(model[1].running_mean) == before  # zero again, not NaN


def test_buffer_written_with_gradient_gets_no_graph() -> None:
    class Moving(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 3)
            self.register_buffer("mean", torch.zeros(3))

        def forward(self, x: Tensor) -> Tensor:
            x = self.layer(x)
            self.mean.mul_(0.9).add_(x.mean(0))
            return x - self.mean

    model = Moving()
    observe(model, FLAT, F.cross_entropy)
    assert model.mean.grad_fn is None
    assert model.mean.tolist() == [0.0] * 3


def test_weights_and_statistics_of_the_loss_are_the_users_too() -> None:
    class Judge(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(3)

        def forward(self, outputs: Tensor, target: Tensor) -> Tensor:
            return F.cross_entropy(self.norm(outputs), target)

    judge = Judge()
    judge.norm.weight.grad = torch.ones(3)
    model = mlp(nn.Tanh())
    before = state(judge)
    observe(model, FLAT, judge)
    assert state(judge) == before


def test_unregistered_tensors_keep_their_gradients() -> None:
    extra, kept = torch.ones(3, requires_grad=True), torch.ones(3)
    extra.grad = kept
    observe(Written(lambda layer, x: layer(x) * extra), FLAT, F.cross_entropy)
    assert extra.grad is kept
    assert kept.tolist() == [1.0] * 3


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.LBFGS])
def test_steps_on_a_copy_leave_the_weights_of_the_loss_alone(optimizer: Any) -> None:
    head, model = nn.Linear(3, 3), mlp(nn.Tanh())
    head.weight.grad = torch.ones(3, 3)
    before = state(head)
    unvanish.diagnose(
        model,
        FLAT,
        lambda outputs, targets: F.cross_entropy(head(outputs), targets),
        optimizer([*model.parameters(), *head.parameters()], 0.01),
        steps=5,
    )
    assert state(head) == before
    assert head.bias.grad is None


def test_the_batch_is_not_written_to() -> None:
    def call(layer: nn.Module, x: Tensor, mask: Tensor) -> Tensor:
        mask.zero_()
        return layer(x.mul_(2))

    inputs, mask = FLAT[0].clone(), torch.ones(3, dtype=torch.int64)
    leaf = torch.ones(8, 4, requires_grad=True)
    observe(Written(call), ((inputs, mask), FLAT[1]), F.cross_entropy)
    assert torch.equal(inputs, FLAT[0])
    assert mask.tolist() == [1] * 3
    observe(mlp(nn.Tanh()), (leaf, FLAT[1]), F.cross_entropy)
    assert leaf.grad is None


def test_a_shuffling_loader_draws_from_nobodys_random_state() -> None:
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(*FLAT), batch_size=4, shuffle=True
    )
    model = mlp(nn.Tanh())
    before = bits(torch.get_rng_state())
    first = observe(model, loader, F.cross_entropy)
    assert bits(torch.get_rng_state()) == before
    assert first.conditions.batch_size == 4


def test_absent_gradients_stay_absent() -> None:
    class Spare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.spare = nn.Linear(4, 3), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.used(x)

    model = Spare()
    trace = observe(model, FLAT, F.cross_entropy)
    assert all(p.grad is None for p in model.parameters())
    spare = trace.parameter("spare.weight")
    assert (spare.state, spare.gradient_norm, spare.zeros, spare.used) == (
        "none",
        None,
        None,
        False,
    )


def test_no_hook_stays_on_a_graph_that_lives_on() -> None:
    kept: list[Tensor] = []

    def loss(outputs: Tensor, target: Tensor) -> Tensor:
        kept.append(F.cross_entropy(outputs, target))
        return kept[-1]

    observe(mlp(nn.Tanh()), FLAT, loss)
    pending = [kept[-1].grad_fn]
    while pending:
        node = pending.pop()
        if node is not None:
            assert not getattr(node, "_post_hooks", ())
            pending += [target for target, _ in node.next_functions]


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_works_where_gradients_are_off(mode: Any) -> None:
    model = seeded(mlp, nn.Tanh())
    with mode():
        trace = observe(model, FLAT, F.cross_entropy)
        assert not torch.is_grad_enabled()
    assert trace.parameter("0.weight").state == "reached"


@pytest.mark.parametrize("reentrant", [None, True, False])
def test_memory_is_flat(reentrant: bool | None) -> None:
    model = seeded(Checkpointed, reentrant)
    for _ in range(3):  # caches of torch and Python fill once
        observe(model, FLAT, F.cross_entropy)
    gc.collect()
    tensors = live_tensors()
    tracemalloc.start()
    held: list[int] = []
    for _ in range(2):
        for _ in range(25):
            observe(model, FLAT, F.cross_entropy)
        gc.collect()
        held.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert live_tensors() - tensors < 25  # of 50 observations
    # In bytes, for 25 observations: one op of the ledger leaked by each would be more. The first
    # round fills the free lists of Python.
    assert held[1] - held[0] < 25 * 1000


def test_graph_is_freed_without_the_garbage_collector() -> None:
    gc.collect()
    gc.disable()
    try:
        model = seeded(mlp, nn.Tanh())
        observe(model, FLAT, F.cross_entropy)
        before = live_tensors()
        for _ in range(20):
            observe(model, FLAT, F.cross_entropy)
        assert live_tensors() - before < 10
    finally:
        gc.enable()


def test_import_alone_loads_no_torch() -> None:
    program = "import sys, unvanish; print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "False"]
    assert unvanish.observe is observe


def test_loading_a_public_name_draws_no_random_number() -> None:
    program = (
        "import random, unvanish; random.seed(3); unvanish.diagnose, unvanish.watch, unvanish.treat; "
        "drawn = random.random(); random.seed(3); assert drawn == random.random()"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
