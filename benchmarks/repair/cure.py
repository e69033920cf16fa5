"""Cure: what a judge hands back, so that it can be carried out on any seed of the program."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from repair.editing import REMEDIES
from repair.programs import Built, Program

Perform = Callable[[Program, int], Built]


@dataclass(frozen=True, slots=True)
class Cure:
    """``perform(program, seed)`` builds the treated program for a seed.

    ``said`` names it, ``changed`` is false where the program was left alone, ``architecture`` says
    whether the functions that the model computes with were changed, ``runs`` counts the full
    training runs that were spent on finding it, ``failed`` holds the error of a judge that crashed.
    """

    said: str
    perform: Perform
    changed: bool = True
    architecture: bool = False
    runs: float = 0.0
    failed: str | None = None


def left_alone(said: str, runs: float = 0.0, failed: str | None = None) -> Cure:
    return Cure(said, lambda program, seed: program.build(seed), False, runs=runs, failed=failed)


def kept_apart(built: Built) -> Built:
    """The program with its last quarter of minibatches as what it is scored on.

    What a judge chooses by: the held-out part is for the verdict alone.
    """
    if len(built.data) == 1:
        inputs, targets = built.data[0]
        size = len(targets) // 4
        built.data = list(zip(inputs.split(size), targets.split(size), strict=True))
    cut = len(built.data) - max(1, len(built.data) // 4)
    rest = built.data[cut:]
    built.data = built.data[:cut]
    inputs, targets = (torch.cat(parts) for parts in zip(*rest, strict=True))
    built.held_out = inputs
    built.task = replace(built.task, held_out=(inputs, targets))
    return built


def carried_out(name: str) -> Perform:
    """One global remedy on the program of any seed."""

    def perform(program: Program, seed: int) -> Built:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + 900)
            return REMEDIES[name](program.build(seed))

    return perform
