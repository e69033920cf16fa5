"""One process of a training that several do together, started by torchrun: argv = kind, folder, ..."""

import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from distributed_end import leave
from torch import nn

import unvanish

STEPS, BATCH = 30, 8


def net(width: int = 12) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(6, width), nn.Tanh(), nn.Linear(width, 7), nn.Tanh(), nn.Linear(7, 3)
    )


def batches(world: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        (
            torch.randn(BATCH, 6, generator=generator),
            torch.randint(3, (BATCH,), generator=generator),
        )
        for _ in range(STEPS)
    ]


def train(model: nn.Module, part: slice, folder: Path, fault: Any = None, **options: Any) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    with unvanish.watch(model, optimizer, folder, strict=True, **options) as monitor:
        for number, (inputs, targets) in enumerate(batches(1)):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[part]), targets[part])
            loss.backward()
            if fault is not None:
                fault(number, model)
            optimizer.step()
            losses.append(float(loss.detach()))
    assert monitor.steps == STEPS


def main() -> None:
    kind, folder = sys.argv[1], Path(sys.argv[2])
    if kind == "alone":
        train(net(), slice(None), folder, budget=None)
        return
    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    part = slice(rank * BATCH // world, (rank + 1) * BATCH // world)
    if kind == "ddp":
        train(nn.parallel.DistributedDataParallel(net()), part, folder)
    elif kind == "fsdp":
        from torch.distributed.fsdp import fully_shard

        model = net()
        mesh = dist.device_mesh.init_device_mesh("cpu", (world,))
        for layer in model:
            if isinstance(layer, nn.Linear):
                fully_shard(layer, mesh=mesh)
        fully_shard(model, mesh=mesh)
        train(model, part, folder)
    elif kind == "parted":
        # A replica that goes its own way from step 10 on: its gradient is changed by hand.
        def fault(number: int, model: nn.Module) -> None:
            if number >= 10 and rank == 1:
                for parameter in model.parameters():
                    assert parameter.grad is not None
                    parameter.grad.mul_(1.5)

        train(nn.parallel.DistributedDataParallel(net()), part, folder, fault)
    elif kind == "stages":
        torch.manual_seed(rank)
        stage = (
            nn.Sequential(nn.Linear(6, 3))
            if rank
            else nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 3))
        )
        train(stage, slice(None), folder)
    elif kind == "killed":
        import os

        def fault(number: int, model: nn.Module) -> None:
            time.sleep(0.2)
            if number == 12 and rank == 1:
                os._exit(9)

        train(net(), part, folder, fault)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
    leave()
