"""AUTOTRAINER's published policy, made anew from its description.

Zhang, Zhai, Ma and Shen 2021 (ICSE, "AUTOTRAINER: An automatic DNN training problem detection and
repair system") and their extension of 2024: thresholds, the guard by accuracy, the order of repairs
and the priority of problems as published; own code. What cannot be carried over: a memory
(``nn.RNN``) knows no SELU, and its batch norm stands behind the memory; regression is judged by
explained variance where the original has accuracy.
"""

import itertools
import math
from dataclasses import dataclass, field

import torch

from repair.cure import Cure, carried_out, kept_apart, left_alone
from repair.editing import ARCHITECTURE, REMEDIES, unchanged, weighted
from repair.programs import Built, Program
from repair.training import order_of, score, step

VANISHED_RATIO, VANISHED_NORM, EXPLODED_RATIO = 1e-3, 1e-4, 70.0
DEAD_SHARE, SWING, SWINGS, SLOW = 0.7, 0.03, 0.2, 0.01
EVERY_EPOCHS, AFTER = 3, 0.3
"""Judged at every third epoch, once 30 % of the training are over ..."""
GOAL = 0.7
"""... and only while the best accuracy is not above this (the published code: 0.6 to 0.7)."""
TEMPER = ("batch 64", "momentum SGD", "noise", "he")
STRATEGIES = {
    "vanishing": ("SELU", "ReLU + He", "batch norm"),
    "exploding": ("SELU", "ReLU + He", "clip", "tanh", "batch norm"),
    "dying": ("SELU", "batch norm", "new values", "new values", "new values", "leaky ReLU"),
    "oscillating": ("Adam", "rate / 10", "rate / 100", "plateau", *TEMPER),
    "slow": ("Adam", "momentum SGD", "rate x 10", "he"),
}
"""In the order of trying; gradient problems come before the last two."""


@dataclass(slots=True)
class Watch:
    """What the monitor saw of one training run: accuracies of its epochs, the first problem."""

    accuracies: list[float] = field(default_factory=list[float])
    problem: str | None = None
    steps: int = 0

    @property
    def best(self) -> float:
        return max(self.accuracies, default=-math.inf)


def gradient_problem(built: Built) -> str | None:
    """Vanishing, exploding or dying, by the gradients that stand in the model."""
    grads = [part.weight.grad for _, _, part in weighted(built.model)]
    # A memory in front of the layers is the first layer.
    front = [p.grad for p in built.model.parameters() if p.dim() > 1][:1]
    seen = [g for g in (*front, *grads) if isinstance(g, torch.Tensor)]
    if not seen or (front and front[0] is None):
        return "vanishing"
    first, last = float(seen[0].norm()), float(seen[-1].norm())
    if not (math.isfinite(first) and math.isfinite(last)):
        return "exploding"
    ratio = first / last if last else math.inf if first else 0.0
    if ratio < VANISHED_RATIO and first < VANISHED_NORM:
        return "vanishing"
    if ratio > EXPLODED_RATIO:
        return "exploding"
    zeros = sum(int((g == 0).sum()) for g in seen) / sum(g.numel() for g in seen)
    return "dying" if zeros >= DEAD_SHARE else None


def curve_problem(accuracies: list[float]) -> str | None:
    """Oscillating, or slow: the best accuracy hardly rose since the last time of judging."""
    turns = [
        accuracies[k]
        for k in range(1, len(accuracies) - 1)
        if (accuracies[k] - accuracies[k - 1]) * (accuracies[k + 1] - accuracies[k]) < 0
    ]
    swings = sum(abs(b - a) >= SWING for a, b in itertools.pairwise(turns))
    if swings >= SWINGS * len(accuracies):
        return "oscillating"
    before = max(accuracies[:-EVERY_EPOCHS], default=min(accuracies))
    return "slow" if max(accuracies) - before < SLOW else None


def train_watched(built: Built, seed: int, goal: float) -> Watch:
    """Train until a problem is seen or the steps are over."""
    watch, count = Watch(), len(built.data)
    built.model.train()
    epochs = max(math.ceil(built.steps / count), 1)
    for number in range(built.steps):
        epoch, place = divmod(number, count)
        value = step(built, *built.data[order_of(count, seed, epoch)[place]], number)
        watch.steps = number + 1
        if not math.isfinite(value):
            watch.problem = "exploding"
            return watch
        if place == count - 1 or number == built.steps - 1:
            watch.accuracies.append(float(score(built).mean()))
            late = epoch + 1 >= AFTER * epochs and (epoch + 1) % EVERY_EPOCHS == 0
            if (late or number == built.steps - 1) and watch.best <= goal:
                watch.problem = gradient_problem(built) or curve_problem(watch.accuracies)
                if watch.problem is not None:
                    return watch
    return watch


def autotrainer(program: Program, budget: int, goal: float = GOAL) -> Cure:
    """Watch one run; where a problem is seen, the first repair under which none is seen again.

    Where none is left over, the one with the best accuracy on what was kept apart; also when the
    budget, in full training runs, is spent.
    """

    def attempt(name: str) -> Watch:
        built = kept_apart(program.build(0))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(17)
            return train_watched(REMEDIES.get(name, unchanged)(built), 0, goal)

    first = attempt("")
    spent = first.steps / program.design.steps
    if first.problem is None:
        return left_alone("no problem", spent)
    found = [(first.best, "")]
    for name in STRATEGIES[first.problem]:
        if spent >= budget:
            break
        watch = attempt(name)
        spent += watch.steps / program.design.steps
        found.append((watch.best, name))
        if watch.problem is None:
            found = found[-1:]
            break
    chosen = max(found)[1]
    said = f"{first.problem}: {chosen or 'nothing helps'}"
    if not chosen:
        return left_alone(said, spent)
    return Cure(said, carried_out(chosen), True, chosen in ARCHITECTURE, spent)
