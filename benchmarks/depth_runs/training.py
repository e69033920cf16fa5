"""One training run: fixed budget, warm-up and cosine, accuracy on a part that it did not see."""

import math
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from depth_runs.tasks import Task

BATCH = 64
WARM_UP = 20


def rate_at(step: int, steps: int, rate: float) -> float:
    """Linear warm-up over 20 steps, then half a cosine to zero."""
    if step < WARM_UP:
        return rate * (step + 1) / WARM_UP
    return rate * 0.5 * (1 + math.cos(math.pi * (step - WARM_UP) / max(steps - WARM_UP, 1)))


def make_optimizer(name: str, model: nn.Module, rate: float) -> torch.optim.Optimizer:
    if name == "sgd":
        return torch.optim.SGD(model.parameters(), rate, momentum=0.9, fused=True)
    return torch.optim.Adam(model.parameters(), rate, fused=True)


def train(
    build: Callable[[], nn.Module],
    task: Task,
    optimizer: str,
    rate: float,
    steps: int,
    seed: int,
    refit: bool = False,
) -> dict[str, float]:
    """Accuracy on both held-out parts, last loss and seconds. ``build`` makes and initialises.

    ``refit``: the rate is chosen, so that the validation part is trained on too.
    """
    torch.manual_seed(seed)
    started, worked = time.perf_counter(), time.process_time()
    model = build()
    built = time.perf_counter() - started
    order = torch.Generator().manual_seed(1000 + seed)
    stepper = make_optimizer(optimizer, model, rate)
    parts = [task.train, task.validation] if refit else [task.train]
    inputs, labels = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    last = math.nan
    for step in range(steps):
        chosen = torch.randint(len(labels), (BATCH,), generator=order)
        for group in stepper.param_groups:
            group["lr"] = rate_at(step, steps, rate)
        stepper.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs[chosen]), labels[chosen])
        last = float(loss.detach())
        if not math.isfinite(last):
            break
        loss.backward()
        stepper.step()
    model.eval()
    return {
        "validation": accuracy(model, task.validation),
        "test": accuracy(model, task.test),
        "loss": last,
        "seconds": time.perf_counter() - started,
        "processor_seconds": time.process_time() - worked,
        "init_seconds": built,
    }


def accuracy(model: nn.Module, part: tuple[Tensor, Tensor]) -> float:
    with torch.no_grad():
        return float((model(part[0]).argmax(1) == part[1]).float().mean())
