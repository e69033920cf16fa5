"""Whether watching breaks compiled code: graphs, breaks and recompilations with and without."""

import tempfile
from typing import Any

import torch
from torch._dynamo.utils import counters
from watch_models import TRAININGS

from unvanish.watching.watch import watch

STEPS = 4


def counted(model: str, compiled: str, watched: bool) -> dict[str, int]:
    """Graphs and breaks of a few steps; ``compiled`` is ``model``, or ``model and step``."""
    torch._dynamo.reset()
    counters.clear()
    training = TRAININGS[model]()
    forward = torch.compile(training.model, backend="aot_eager")
    inputs: Any = training.loss
    update = training.optimizer.step
    if compiled == "model and step":
        update = torch.compile(training.optimizer.step, backend="aot_eager")
    monitor = None
    if watched:
        monitor = watch(forward, training.optimizer, to=tempfile.mkdtemp(), budget=None)
    cells = inputs.__closure__ or ()
    names = inputs.__code__.co_freevars
    held = dict(zip(names, (cell.cell_contents for cell in cells), strict=True))
    for _ in range(STEPS):
        training.optimizer.zero_grad()
        logits = forward(held["inputs"])
        torch.nn.functional.cross_entropy(
            logits.flatten(0, -2), held["targets"].flatten()
        ).backward()
        update()
    if monitor is not None:
        monitor.close()
    return {
        "graphs": counters["stats"]["unique_graphs"],
        "breaks": sum(counters["graph_break"].values()),
        "recompile_limit": sum(counters["recompile_limit"].values()),
    }


def graphs(model: str) -> dict[str, Any]:
    """Both ways of compiling, each without and with a watcher."""
    return {
        compiled: {
            "unwatched": counted(model, compiled, False),
            "watched": counted(model, compiled, True),
        }
        for compiled in ("model", "model and step")
    }
