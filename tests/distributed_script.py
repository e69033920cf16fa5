"""A user's own script under torchrun, without a word of unvanish: argv = what happens on rank 1."""

import os
import signal
import subprocess
import sys
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import nn

STEPS = 40
SOON = timedelta(seconds=4)
"""How long gloo waits where a link goes down: nothing else tells a process of that."""


def main() -> None:
    what, at = sys.argv[1], int(sys.argv[2])
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 3))
    # Processes may begin far apart; from here on they are together.
    group = dist.new_group(timeout=SOON) if what == "link" else None
    model = nn.parallel.DistributedDataParallel(net, process_group=group)
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
            if what == "kill -9":
                os.kill(os.getpid(), signal.SIGKILL)
            if what == "link":
                subprocess.run(["ip", "link", "set", "eth0", "down"], check=True)
        if what == "sick-last" and rank == 1 and number == STEPS - 1:
            next(net.parameters()).grad[0, 0] = float("nan")  # nobody else gets to see it
        optimizer.step()
    print(f"end of rank {rank}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
