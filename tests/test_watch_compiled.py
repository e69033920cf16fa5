"""torch.compile of the model and of the optimizer's step: nothing is compiled otherwise for our sake."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from trainings import batches, mlp, weights

import unvanish

pytestmark = pytest.mark.filterwarnings("ignore")  # torch's own, about its compiler

Counted = dict[str, Any]


def counted(run: Callable[[], tuple[list[float], list[Tensor]]]) -> tuple[Any, Counted]:
    from torch._dynamo.utils import counters

    torch.compiler.reset()
    counters.clear()
    result = run()
    seen = {kind: dict(counters[kind]) for kind in ("frames", "graph_break", "recompiles", "stats")}
    return result, seen


def train(watched: bool, compile_step: bool, late: bool) -> Callable[[], Any]:
    def run() -> tuple[list[float], list[Tensor]]:
        torch.manual_seed(3)
        model = mlp()
        used = torch.compile(model, backend="eager")
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        step = torch.compile(optimizer.step, backend="eager") if compile_step else optimizer.step
        losses: list[float] = []
        with contextlib.ExitStack() as stack:
            for number, (inputs, targets) in enumerate(batches((16, 8))):
                if watched and number == (3 if late else 0):
                    stack.enter_context(unvanish.watch(used, optimizer, budget=None, strict=True))
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(used(inputs), targets)
                loss.backward()
                step()
                losses.append(float(loss.detach()))
        return losses, weights(model)

    return run


@pytest.mark.parametrize("late", [False, True], ids=["from-the-start", "from-step-3"])
@pytest.mark.parametrize("compile_step", [False, True], ids=["model", "model-and-step"])
def test_as_many_graphs_and_the_same_bits(compile_step: bool, late: bool) -> None:
    (expected, final), plain = counted(train(False, compile_step, late))
    (losses, ours), seen = counted(train(True, compile_step, late))
    assert losses == expected
    assert all(map(torch.equal, ours, final))
    assert seen["graph_break"].keys() == plain["graph_break"].keys()
    if late and compile_step:
        # A step compiled without our hooks is compiled once more with them: nothing else can be told.
        assert seen["stats"]["unique_graphs"] <= 2 * plain["stats"]["unique_graphs"]
    else:
        assert seen["stats"] == plain["stats"]
        assert seen["graph_break"] == plain["graph_break"]
        assert seen["frames"]["total"] <= plain["frames"]["total"]


def test_a_compiled_step_is_read_and_its_stage_said(tmp_path: Path) -> None:
    torch.compiler.reset()
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    step = torch.compile(optimizer.step, backend="eager")
    norms, moved = [], []
    with unvanish.watch(model, optimizer, tmp_path, budget=None, strict=True) as monitor:
        for inputs, targets in batches((16, 8)):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs), targets).backward()
            norms.append(float(model[0].weight.grad.norm()))
            before = model[0].weight.detach().clone()
            nn.utils.clip_grad_norm_(model.parameters(), 0.01)
            step()
            moved.append(float((model[0].weight.detach() - before).norm() / before.norm()))
    assert monitor.steps == 6
    with unvanish.Recording.open(tmp_path) as recording:
        assert set(recording.stages) == {"unscaled before-clipping whole"}
        np.testing.assert_allclose(recording.values("gradient_l2", "0.weight")[1], norms, rtol=1e-6)
        np.testing.assert_allclose(
            recording.values("update_to_weight", "0.weight")[1], moved, rtol=1e-4
        )


def test_a_compiled_model_bears_its_own_names_and_says_what_is_not_seen() -> None:
    torch.compiler.reset()
    model = mlp()
    used = torch.compile(model, backend="eager")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with unvanish.watch(used, optimizer, strict=True) as monitor:
        for inputs, targets in batches((16, 8)):
            optimizer.zero_grad()
            nn.functional.cross_entropy(used(inputs), targets).backward()
            optimizer.step()
    assert monitor.steps == 6
    assert "compiled" in " ".join(monitor.diagnosis.blind_spots)
    assert not monitor.alarms
