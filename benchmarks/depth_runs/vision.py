"""Plain nets on both tasks: by depth, by activation, and convolutions beside their residual twins."""

import argparse
from collections.abc import Callable, Iterator

from torch import nn

from depth_runs import nets
from depth_runs.cell import Cell, Figures
from depth_runs.contestants import CONTESTANTS, OURS, Prepare
from depth_runs.tasks import TASKS, Task
from depth_runs.training import train

STEPS = {"digits": 300, "spirals": 600}


def supervised(
    name: str,
    task: str,
    depth: int,
    optimizer: str,
    build: Callable[[Task], nn.Module],
    prepare: Prepare,
) -> Cell:
    """A net, who initialises it, a task and an optimizer.

    The middle of the three learning rates falls with depth, for every contestant.
    """

    def run(rate: float, seed: int, refit: bool) -> Figures:
        loaded = TASKS[task]()
        made = lambda: prepare(build(loaded), loaded)  # noqa: E731
        return train(made, loaded, optimizer, rate, STEPS[task], seed, refit)

    center = (0.1 if optimizer == "sgd" else 0.03) / depth
    return Cell(name, task, depth, optimizer, center, run)


def mlp(depth: int, activation: str) -> Callable[[Task], nn.Module]:
    return lambda task: nets.mlp(task.train[0].shape[1], depth, task.classes, activation)


def depth_cells(options: argparse.Namespace) -> Iterator[Cell]:
    for depth in options.depths:
        for task in ("digits", "spirals"):
            for name, prepare in CONTESTANTS.items():
                yield supervised(name, task, depth, "adam", mlp(depth, "relu"), prepare)


def activation_cells(options: argparse.Namespace) -> Iterator[Cell]:
    for optimizer in ("adam", "sgd"):
        for activation in nets.ACTIVATIONS:
            for name in (OURS, "torch's default"):
                build = mlp(100, activation)
                label = f"{activation}, {name}"
                yield supervised(label, "digits", 100, optimizer, build, CONTESTANTS[name])


def convolution_cells(options: argparse.Namespace) -> Iterator[Cell]:
    for depth in (20, 56, 110):
        plain = lambda task, depth=depth: nets.plain_cnn(depth, task.classes)  # noqa: E731
        for name in ("torch's default", "He", OURS) if depth < 110 else (OURS,):
            yield supervised(f"plain, {name}", "digits", depth, "adam", plain, CONTESTANTS[name])
        for label, skip, norm in (
            ("plain with batch norm", False, True),
            ("residual twin", True, True),
            ("residual without norm", True, False),
        ):
            build = lambda task, d=depth, s=skip, n=norm: nets.paired_cnn(d, task.classes, s, n)  # noqa: E731
            default = CONTESTANTS["torch's default"]
            yield supervised(label, "digits", depth, "adam", build, default)
