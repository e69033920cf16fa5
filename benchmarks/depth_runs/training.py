"""One training run: fixed budget, warm-up and cosine, accuracy on a part that it did not see."""

import math
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from depth_runs.tasks import Task

BATCH = 64
WARM_UP = 20

Pair = tuple[Tensor, Tensor]


def rate_at(step: int, steps: int, rate: float, warm_up: int = WARM_UP) -> float:
    """Linear warm-up, then half a cosine to zero."""
    if step < warm_up:
        return rate * (step + 1) / warm_up
    return rate * 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(steps - warm_up, 1)))


def make_optimizer(name: str, model: nn.Module, rate: float) -> torch.optim.Optimizer:
    if name == "sgd":
        return torch.optim.SGD(model.parameters(), rate, momentum=0.9, fused=True)
    return torch.optim.Adam(model.parameters(), rate, fused=True)


def descend(
    model: nn.Module,
    draw: Callable[[], Pair],
    loss_of: Callable[[Tensor, Tensor], Tensor],
    stepper: torch.optim.Optimizer,
    rates: list[float],
    clip: float = math.inf,
) -> float:
    """One step for each rate; the last loss.

    Ends early where the loss is no longer finite, and where at three tenths of the steps in a row
    all samples of a batch get the same answer but for rounding: what tells them apart does not
    arrive at the loss.
    """
    last = math.nan
    tenth, constant = max(len(rates) // 10, 1), 0
    for step, rate in enumerate(rates):
        inputs, targets = draw()
        for group in stepper.param_groups:
            group["lr"] = rate
        stepper.zero_grad()
        outputs = model(inputs)
        loss = loss_of(outputs, targets)
        last = float(loss.detach())
        if step % tenth == 0:
            constant = constant + 1 if same_for_all(outputs.detach()) else 0
        if not math.isfinite(last) or constant == 3:
            break
        loss.backward()
        if clip < math.inf:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        stepper.step()
    return last


def same_for_all(outputs: Tensor) -> bool:
    """The first sample's answer for each one, but for eight units of rounding."""
    unit = torch.finfo(outputs.dtype).eps * outputs.abs().max()
    return bool((outputs - outputs[:1]).abs().max() <= 8 * unit)


def train(
    build: Callable[[], nn.Module],
    task: Task,
    optimizer: str,
    rate: float,
    steps: int,
    seed: int,
    refit: bool = False,
    batch: int = BATCH,
    warm_up: int = WARM_UP,
) -> dict[str, float]:
    """Accuracy on both held-out parts, last loss and seconds. ``build`` makes and initialises.

    ``refit``: the rate is chosen, so that the validation part is trained on too.
    """
    torch.manual_seed(seed)
    started, worked = time.perf_counter(), time.process_time()
    model = build()
    built = time.perf_counter() - started
    order = torch.Generator().manual_seed(1000 + seed)
    parts = [task.train, task.validation] if refit else [task.train]
    inputs, labels = (torch.cat(tensors) for tensors in zip(*parts, strict=True))

    def draw() -> Pair:
        chosen = torch.randint(len(labels), (batch,), generator=order)
        return inputs[chosen], labels[chosen]

    rates = [rate_at(step, steps, rate, warm_up) for step in range(steps)]
    stepper = make_optimizer(optimizer, model, rate)
    last = descend(model, draw, nn.functional.cross_entropy, stepper, rates)
    model.eval()
    return {
        "validation": accuracy(model, task.validation),
        "test": accuracy(model, task.test),
        "loss": last,
        "seconds": time.perf_counter() - started,
        "processor_seconds": time.process_time() - worked,
        "init_seconds": built,
    }


def accuracy(model: nn.Module, part: Pair) -> float:
    with torch.no_grad():
        return float((model(part[0]).argmax(1) == part[1]).float().mean())
