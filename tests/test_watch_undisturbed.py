"""Watched and unwatched trainings are equal to the bit, and nothing stays behind."""

import contextlib
import gc
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from leaks import live_tensors
from torch import nn
from trainings import TRAININGS, Around, Result, mlp

import unvanish

TOGETHER = [pytest.param(training, id=training.__name__) for training in TRAININGS]


def nobody(model: nn.Module, optimizers: Any) -> contextlib.AbstractContextManager[Any]:
    return contextlib.nullcontext()


def run(training: Callable[[Around], Result], around: Around) -> Result:
    torch.manual_seed(11)
    random.seed(11)
    np.random.seed(11)
    losses, final = training(around)
    # What the random generators give next is part of the result.
    return [*losses, float(torch.rand(())), random.random(), float(np.random.rand())], final


@pytest.mark.parametrize("budget", [0.02, None], ids=["budget", "everything"])
@pytest.mark.parametrize("training", TOGETHER)
def test_losses_and_weights_are_equal_to_the_bit(
    training: Callable[[Around], Result], budget: float | None, tmp_path: Path
) -> None:
    met: list[Any] = []

    def watched(model: nn.Module, optimizers: Any) -> Any:
        monitor = unvanish.watch(
            model, optimizers, tmp_path / str(len(met)), budget=budget, strict=True
        )
        met.append(monitor)
        return monitor

    expected = run(training, nobody)
    found = run(training, watched)
    assert found[0] == expected[0]
    assert all(torch.equal(one, other) for one, other in zip(found[1], expected[1], strict=True))
    assert all(monitor.steps == 6 for monitor in met)


def test_every_hook_is_gone_afterwards() -> None:
    from torch.nn.modules import module as global_hooks

    before = torch.autograd.backward, torch.amp.GradScaler.__dict__["step"]
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for fail in (False, True):
        with contextlib.suppress(RuntimeError), unvanish.watch(model, optimizer):
            model(torch.ones(2, 8)).sum().backward()
            optimizer.step()
            model(torch.ones(2, 8))
            if fail:
                raise RuntimeError("out of patience")
        assert not optimizer._optimizer_step_pre_hooks
        assert not optimizer._optimizer_step_post_hooks
        assert not global_hooks._global_forward_pre_hooks
        assert not global_hooks._global_forward_hooks
        for part in model.modules():
            assert not part._forward_hooks
            assert not part._forward_pre_hooks
            assert not part._backward_hooks
        for parameter in model.parameters():
            assert not parameter._backward_hooks
        assert (torch.autograd.backward, torch.amp.GradScaler.__dict__["step"]) == before


def test_memory_is_flat_over_many_steps() -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    def step() -> None:
        optimizer.zero_grad()
        inputs = torch.randn(4, 8, requires_grad=True)
        loss = model(inputs).square().mean()
        (slope,) = torch.autograd.grad(loss, inputs, create_graph=True)
        (loss + slope.square().sum()).backward()
        optimizer.step()

    with unvanish.watch(model, optimizer, budget=None):
        for _ in range(20):
            step()
        gc.collect()
        before = live_tensors()
        for _ in range(200):
            step()
        gc.collect()
        # What a step leaves behind is left 200 times. A few come otherwise: the last steps wait to
        # be judged together, and a module that is first needed here brings its constants.
        assert live_tensors() - before < 100


def test_the_same_cell_run_twice_watches_once(tmp_path: Path) -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitors = []
    for _ in range(2):  # a notebook cell: nobody closes the first one
        monitors.append(unvanish.watch(model, optimizer, tmp_path))
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.ones(2, 8)).square().sum().backward()
            optimizer.step()
    first, second = monitors
    assert first.closed
    assert (first.steps, second.steps) == (3, 3)
    second.close()
    assert first.path != second.path
