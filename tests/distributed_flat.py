"""Trainings under FSDP1 (FullyShardedDataParallel): argv = folder, then the kinds to run.

``each`` keeps the parameters one by one (``use_orig_params``), ``flat`` does not, ``whole`` shards
nothing; ``guarded`` is ``each`` with a policy that may act. ``plain`` as the first: no watch.
"""

from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from distributed_end import leave
from distributed_sharded import STEPS, Dense, loss_of, own_part, with_or_without
from torch import nn

import unvanish


def sharded(kind: str) -> Any:
    from torch.distributed.fsdp import FullyShardedDataParallel, ShardingStrategy
    from torch.distributed.fsdp.wrap import ModuleWrapPolicy

    return FullyShardedDataParallel(
        Dense(),
        auto_wrap_policy=ModuleWrapPolicy({nn.Linear}),
        sharding_strategy=ShardingStrategy.NO_SHARD if kind == "whole" else None,
        use_orig_params=kind != "flat",
        device_id=torch.device("cpu"),
    )


def train(kind: str, folder: Path, watched: bool) -> None:
    model = sharded(kind)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor = None
    if watched:
        guard = "zclip" if kind == "guarded" else None
        monitor = unvanish.watch(model, optimizer, folder, guard, strict=True, budget=None)
    losses: list[float] = []
    for number in range(STEPS):
        optimizer.zero_grad()
        loss = loss_of(model, number, own_part())
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    if monitor is not None:
        monitor.close()
    folder.mkdir(parents=True, exist_ok=True)
    weights = [parameter.detach().clone() for parameter in model.parameters()]
    torch.save((losses, weights), folder / f"end-{dist.get_rank()}.pt")


if __name__ == "__main__":
    with_or_without(train)
    leave()
