"""Adding and copying over T steps: what a recurrent net can carry, by its initial values.

Adding (Hochreiter and Schmidhuber 1997): the sum of the two marked numbers out of T; a constant
guess leaves a mean square error of 1/6. Copying: five symbols out of eight, T steps of silence,
then the same five again; a guess is right one time in eight. Every batch is drawn anew; validation
and test are 512 sequences each that no batch contains.
"""

import argparse
import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import unvanish
from depth_runs.cell import Cell, Figures, Trial
from depth_runs.contestants import OURS
from depth_runs.training import Pair, descend, make_optimizer, rate_at

HIDDEN, BATCH, CLIP = 32, 32, 1.0
RECALLED, SYMBOLS = 5, 8
STEPS = {50: 1000, 200: 600, 1000: 800}
NOTE = f"""Depth counts time steps. Hidden size {HIDDEN}, batches of {BATCH}, Adam, gradients
clipped at norm {CLIP:g} for every contestant; steps by T: {STEPS}. Adding shows the share of the
variance that is explained (0 where a run diverges or does worse than a constant), copying the share
of right symbols (a guess: 12.5)."""


@dataclass(frozen=True, slots=True)
class SequenceTask:
    """How sequences are drawn, what is read out of the hidden states, and how it is judged."""

    name: str
    inputs: int
    outputs: int
    read_last: int
    draw: Callable[[int, int, torch.Generator], Pair]
    loss: Callable[[Tensor, Tensor], Tensor]
    judge: Callable[[Tensor, Tensor], float]


def draw_adding(steps: int, count: int, generator: torch.Generator) -> Pair:
    """Numbers in 0..1 and two marks, one in each half."""
    values = torch.rand(count, steps, generator=generator)
    marks = torch.zeros(count, steps)
    every, half = torch.arange(count), steps // 2
    marks[every, torch.randint(half, (count,), generator=generator)] = 1
    marks[every, torch.randint(half, steps, (count,), generator=generator)] = 1
    return torch.stack((values, marks), 2), (values * marks).sum(1)


def draw_copy(steps: int, count: int, generator: torch.Generator) -> Pair:
    """Symbols one-hot, silence, and a ninth channel that asks for them."""
    symbols = torch.randint(SYMBOLS, (count, RECALLED), generator=generator)
    inputs = torch.zeros(count, steps + 2 * RECALLED, SYMBOLS + 1)
    inputs[:, :RECALLED, :SYMBOLS] = nn.functional.one_hot(symbols, SYMBOLS).float()
    inputs[:, -RECALLED:, SYMBOLS] = 1
    return inputs, symbols


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs[:, 0, 0] - targets).square().mean()


def symbol_error(outputs: Tensor, targets: Tensor) -> Tensor:
    return nn.functional.cross_entropy(outputs.flatten(0, 1), targets.flatten())


def explained(outputs: Tensor, targets: Tensor) -> float:
    share = 1 - float(squared_error(outputs, targets) / targets.var(correction=0))
    return max(share, 0.0) if math.isfinite(share) else 0.0


def recalled(outputs: Tensor, targets: Tensor) -> float:
    return float((outputs.argmax(2) == targets).float().mean())


ADDING = SequenceTask("adding", 2, 1, 1, draw_adding, squared_error, explained)
COPY = SequenceTask(
    "copy", SYMBOLS + 1, SYMBOLS, RECALLED, draw_copy, symbol_error, recalled
)  # fmt: skip


class Reader(nn.Module):
    """A recurrent module and a linear layer that reads its last states."""

    def __init__(self, kind: type[nn.RNNBase], task: SequenceTask) -> None:
        super().__init__()
        self.memory = kind(task.inputs, HIDDEN, batch_first=True)
        self.head = nn.Linear(HIDDEN, task.outputs)
        self.read_last = task.read_last

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.memory(x)[0][:, -self.read_last :])


Prepare = Callable[[Reader, SequenceTask, int], None]


def as_made(model: Reader, task: SequenceTask, steps: int) -> None:
    """As torch made it."""


@torch.no_grad()
def forget_one(model: Reader, task: SequenceTask, steps: int) -> None:
    """Forget bias one (Jozefowicz et al. 2015)."""
    model.memory.bias_hh_l0[HIDDEN : 2 * HIDDEN].zero_()
    model.memory.bias_ih_l0[HIDDEN : 2 * HIDDEN].fill_(1.0)


@torch.no_grad()
def chrono(model: Reader, task: SequenceTask, steps: int) -> None:
    """Forget bias log U(1, T - 1), input bias its negative (Tallec and Ollivier 2018)."""
    keep = torch.empty(HIDDEN).uniform_(1, steps - 1).log()
    model.memory.bias_hh_l0[: 2 * HIDDEN].zero_()
    model.memory.bias_ih_l0[: 2 * HIDDEN].copy_(torch.cat((-keep, keep)))


def critical(model: Reader, task: SequenceTask, steps: int) -> None:
    """Ours: initial values alone, from one batch of other sequences."""
    batch = task.draw(steps, 128, torch.Generator().manual_seed(77))
    unvanish.init.critical_(model, batch, task.loss, seed=torch.initial_seed())


CONTESTANTS: dict[str, tuple[type[nn.RNNBase], Prepare]] = {
    "tanh RNN, torch's default": (nn.RNN, as_made),
    f"tanh RNN, {OURS}": (nn.RNN, critical),
    "LSTM, torch's default": (nn.LSTM, as_made),
    "LSTM, forget bias 1": (nn.LSTM, forget_one),
    "LSTM, chrono": (nn.LSTM, chrono),
    f"LSTM, {OURS}": (nn.LSTM, critical),
    "GRU, torch's default": (nn.GRU, as_made),
    f"GRU, {OURS}": (nn.GRU, critical),
}
PLAN = tuple(itertools.product(STEPS, (ADDING, COPY)))


def trial(task: SequenceTask, steps: int, kind: type[nn.RNNBase], prepare: Prepare) -> Trial:
    def run(rate: float, seed: int, refit: bool) -> Figures:
        torch.manual_seed(seed)
        started, worked = time.perf_counter(), time.process_time()
        model = Reader(kind, task)
        prepare(model, task, steps)
        built = time.perf_counter() - started
        order = torch.Generator().manual_seed(1000 + seed)
        rates = [rate_at(step, STEPS[steps], rate) for step in range(STEPS[steps])]
        stepper = make_optimizer("adam", model, rate)
        last = descend(
            model, lambda: task.draw(steps, BATCH, order), task.loss, stepper, rates, CLIP
        )
        figures: Figures = {}
        for part, number in (("validation", 10), ("test", 11)):
            held_out = task.draw(steps, 512, torch.Generator().manual_seed(number))
            with torch.no_grad():
                figures[part] = task.judge(model(held_out[0]), held_out[1])
        return {
            **figures,
            "loss": last,
            "seconds": time.perf_counter() - started,
            "processor_seconds": time.process_time() - worked,
            "init_seconds": built,
        }

    return run


def recurrence_cells(options: argparse.Namespace) -> Iterator[Cell]:
    for steps, task in PLAN:
        for name, contestant in CONTESTANTS.items():
            once = trial(task, steps, *contestant)
            yield Cell(name, task.name, steps, "adam", 3e-3, once)
