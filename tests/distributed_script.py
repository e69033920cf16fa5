"""A user's own script under torchrun, without a word of unvanish: argv = what happens on rank 1."""

import os
import sys

import torch
import torch.distributed as dist
from torch import nn

STEPS = 40


def main() -> None:
    what, at = sys.argv[1], int(sys.argv[2])
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 3))
    model = nn.parallel.DistributedDataParallel(net)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    generator = torch.Generator().manual_seed(rank)
    for number in range(STEPS):
        inputs = torch.randn(8, 6, generator=generator)
        targets = torch.randint(3, (8,), generator=generator)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), targets).backward()
        if number == at and rank == 1:
            if what == "raises":
                raise ValueError("this rank gives up")
            if what == "killed":
                os._exit(9)
        if what == "sick-last" and rank == 1 and number == STEPS - 1:
            next(net.parameters()).grad[0, 0] = float("nan")  # nobody else gets to see it
        optimizer.step()
    print(f"end of rank {rank}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
