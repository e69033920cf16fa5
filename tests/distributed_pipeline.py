"""Trainings in stages of torch.distributed.pipelining: argv = folder, then the kinds to run.

A kind names how the model is cut (``by_hand``, ``traced``) and the schedule. What a training came to
(losses, weights) is saved per process; without a watch where ``plain`` is the first kind.
"""

from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from distributed_sharded import BATCH, batches, with_or_without
from torch import nn

import unvanish

MICRO = 4
SCHEDULES = ("ScheduleGPipe", "Schedule1F1B")
KINDS = tuple(f"{cut}-{schedule}" for cut in ("by_hand", "traced") for schedule in SCHEDULES)


class Net(nn.Module):
    """Layers by name, of which a stage keeps its own: the tutorial's way of cutting by hand."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        widths = (6, 12, 9, 7, 3)
        self.layers = nn.ModuleDict(
            {str(i): nn.Linear(widths[i], widths[i + 1]) for i in range(len(widths) - 1)}
        )

    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        for name, layer in self.layers.items():
            signal = layer(signal)
            signal = signal if name == "3" else torch.tanh(signal)
        return signal


def alone(folder: Path) -> unvanish.Recording:
    """The same training in this one process, its micro-batches one after the other."""
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with unvanish.watch(model, optimizer, folder, strict=True, budget=None):
        for inputs, targets in batches():
            optimizer.zero_grad()
            for i, t in zip(inputs.chunk(MICRO), targets.chunk(MICRO), strict=True):
                (nn.functional.cross_entropy(model(i), t) / MICRO).backward()
            optimizer.step()
    return unvanish.Recording.open(folder)


def stage_of(cut: str) -> Any:
    """This process's stage of two."""
    from torch.distributed.pipelining import PipelineStage, SplitPoint, pipeline

    rank, model = dist.get_rank(), Net()
    if cut == "traced":
        example = torch.zeros(BATCH // MICRO, 6)
        parts = pipeline(model, (example,), split_spec={"layers.2": SplitPoint.BEGINNING})
        return parts.build_stage(rank, torch.device("cpu"))
    for name in ("2", "3") if rank == 0 else ("0", "1"):
        del model.layers[name]
    return PipelineStage(model, rank, 2, torch.device("cpu"))


def train(kind: str, folder: Path, watched: bool) -> None:
    from torch.distributed import pipelining

    cut, name = kind.split("-")
    stage = stage_of(cut)
    schedule = getattr(pipelining, name)(stage, MICRO, loss_fn=nn.functional.cross_entropy)
    optimizer = torch.optim.SGD(stage.submod.parameters(), lr=0.1)
    monitor = (
        unvanish.watch(stage.submod, optimizer, folder, strict=True, budget=None)
        if watched
        else None
    )
    losses: list[float] = []
    for inputs, targets in batches():
        optimizer.zero_grad()
        met: list[torch.Tensor] = []
        if dist.get_rank() == 0:
            schedule.step(inputs)
        else:
            schedule.step(target=targets, losses=met)
        optimizer.step()
        losses += [float(loss.detach()) for loss in met]
    if monitor is not None:
        monitor.close()
    folder.mkdir(parents=True, exist_ok=True)
    weights = {n: p.detach().clone() for n, p in stage.submod.named_parameters()}
    torch.save((losses, weights), folder / f"end-{dist.get_rank()}.pt")


if __name__ == "__main__":
    with_or_without(train)
