"""One training run of a built program and its held-out scores."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from repair.programs import Built

PATIENCE = 3


@dataclass(frozen=True, slots=True)
class Run:
    """One score for each held-out sample; the training loss of each step."""

    scores: Tensor
    losses: tuple[float, ...]

    @property
    def metric(self) -> float:
        return float(self.scores.mean())


def order_of(count: int, seed: int, epoch: int) -> list[int]:
    """The batches of an epoch, shuffled: the same for every judge."""
    source = torch.Generator().manual_seed(1_000_003 * (seed + 1) + epoch)
    return torch.randperm(count, generator=source).tolist()


def step(built: Built, inputs: Tensor, targets: Tensor, number: int = 0) -> float:
    """One step; the loss before it."""
    built.optimizer.zero_grad()
    loss = built.loss(built.model(inputs), targets)
    value = float(loss.detach())
    if not math.isfinite(value) or not loss.requires_grad:
        return value
    if built.controls is not None:
        loss = built.controls.before_backward(loss, built.optimizer)
    loss.backward()
    if built.clip is not None:
        nn.utils.clip_grad_value_(built.model.parameters(), built.clip)
    controls = built.controls
    if controls is None or controls.before_step(built.model, built.optimizer, number):
        built.optimizer.step()
    return value


def slow_down(built: Built, losses: list[float]) -> None:
    """Half the rate where the last epochs are no better than the best before them."""
    count = len(built.data)
    means = [math.fsum(losses[k : k + count]) for k in range(0, len(losses), count)]
    if len(means) <= PATIENCE or len(means) % PATIENCE:
        return
    if min(means[-PATIENCE:]) >= min(means[:-PATIENCE]):
        for group in built.optimizer.param_groups:
            group["lr"] *= 0.5


def run(built: Built, seed: int, steps: int | None = None) -> Run:
    """Train for the program's steps and score what was held out; ends where the loss is not finite."""
    losses: list[float] = []
    count = len(built.data)
    built.model.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for number in range(built.steps if steps is None else steps):
            epoch, place = divmod(number, count)
            batch = built.data[order_of(count, seed, epoch)[place]]
            losses.append(step(built, *batch, number))
            if not math.isfinite(losses[-1]):
                break
            if built.plateau and place == count - 1:
                slow_down(built, losses)
    return Run(score(built), tuple(losses))


def score(built: Built) -> Tensor:
    """Held-out scores in eval mode."""
    built.model.eval()
    with torch.no_grad():
        outputs = built.model(built.held_out)
    built.model.train()
    return built.task.scores(outputs)
