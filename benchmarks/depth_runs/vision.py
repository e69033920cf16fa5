"""Plain nets on two tasks each: by depth, by activation, and convolutions beside their twins."""

import argparse
import itertools
import statistics
import time
from collections.abc import Callable, Iterator

from torch import nn

from depth_runs import nets
from depth_runs.cell import Cell, Figures, Measurement
from depth_runs.contestants import CONTESTANTS, OURS, Prepare
from depth_runs.tasks import TASKS, Task
from depth_runs.training import BATCH, descend, make_optimizer, train

TWINS = (20, 56, 110)

STEPS = {"digits": 300, "signed digits": 300, "spirals": 600}
STEPS_OF_10000_CONVOLUTIONS = 150
SECONDS_OF_A_TWIN = 375
"""Steps that 56 plain convolutions take, their initial values included, while the residual twin with
batch norm takes 300: what is measured beside the table of convolutions says so."""

NOTE = f"""Plain: no norm, no skip. The residual twin has batch norm and skips. Signed digits are the same
pictures, every other one as its negative: a linear classifier gets 20 %. Everybody takes
{STEPS["digits"]} steps, with 10,000 convolutions {STEPS_OF_10000_CONVOLUTIONS}; who has the residual
twin's seconds takes {SECONDS_OF_A_TWIN}, which with the initial values are its {STEPS["digits"]}."""


def supervised(
    name: str,
    task: str,
    depth: int,
    optimizer: str,
    build: Callable[[Task], nn.Module],
    prepare: Prepare,
    steps: int | None = None,
) -> Cell:
    """A net, who initialises it, a task and an optimizer; ``steps`` other than the task's.

    The middle of the three learning rates falls with depth, for every contestant.
    """

    def run(rate: float, seed: int, refit: bool) -> Figures:
        loaded = TASKS[task]()
        made = lambda: prepare(build(loaded), loaded)  # noqa: E731
        return train(made, loaded, optimizer, rate, steps or STEPS[task], seed, refit)

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
    for task, optimizer in itertools.product(("digits", "spirals"), ("adam", "sgd")):
        for activation, name in itertools.product(nets.ACTIVATIONS, (OURS, "torch's default")):
            build = mlp(100, activation)
            label = f"{activation}, {name}"
            yield supervised(label, task, 100, optimizer, build, CONTESTANTS[name])


def convolution_cells(options: argparse.Namespace) -> Iterator[Cell]:
    """Plain ones at any depth; at three of He et al. 2016 beside what has norms, skips or both."""
    for task in ("digits", "signed digits"):
        for depth in sorted({*TWINS, *options.depths}):
            plain = lambda task, depth=depth: nets.plain_cnn(depth, task.classes)  # noqa: E731
            for name, prepare in CONTESTANTS.items():
                steps = STEPS_OF_10000_CONVOLUTIONS if depth == 10_000 else None
                yield supervised(f"plain, {name}", task, depth, "adam", plain, prepare, steps)
        plain = lambda task: nets.plain_cnn(56, task.classes)  # noqa: E731
        label = f"plain, {OURS}, the residual twin's seconds"
        yield supervised(label, task, 56, "adam", plain, CONTESTANTS[OURS], SECONDS_OF_A_TWIN)
        for depth in TWINS:
            for label, skip, norm in (
                ("plain with batch norm", False, True),
                ("residual twin", True, True),
                ("residual without norm", True, False),
            ):
                build = lambda task, d=depth, s=skip, n=norm: nets.paired_cnn(  # noqa: E731
                    d, task.classes, s, n
                )
                default = CONTESTANTS["torch's default"]
                yield supervised(label, task, depth, "adam", build, default)


def convolution_measurements() -> Iterator[Measurement]:
    yield Measurement("56 convolutions, processor seconds of the residual twin over plain", cost)


def cost(rounds: int = 40) -> Figures:
    """Steps in turns in one process, of 56 convolutions as ours makes them and of both twins."""
    task, ours, default = TASKS["digits"](), CONTESTANTS[OURS], CONTESTANTS["torch's default"]
    batch = task.train[0][:BATCH], task.train[1][:BATCH]
    begun = time.process_time()
    nets_in_turns = [
        ours(nets.plain_cnn(56, task.classes), task),
        default(nets.paired_cnn(56, task.classes, True), task),
        default(nets.paired_cnn(56, task.classes, True, False), task),
    ]
    made = time.process_time() - begun
    steppers = [make_optimizer("adam", net, 1e-4) for net in nets_in_turns]
    taken: list[list[float]] = [[], [], []]
    for _ in range(rounds):
        for net, stepper, seconds in zip(nets_in_turns, steppers, taken, strict=True):
            begun = time.process_time()
            descend(net, lambda: batch, nn.functional.cross_entropy, stepper, [1e-4, 1e-4])
            seconds.append((time.process_time() - begun) / 2)
    plain, normed, bare = taken
    ratios = [b / a for a, b in zip(plain, normed, strict=True)]
    least, middle, most = statistics.quantiles(ratios, n=4)
    return {
        "a step": middle,
        "lower quartile": least,
        "upper quartile": most,
        "without norm": statistics.median(b / a for a, b in zip(plain, bare, strict=True)),
        "initial values in plain steps": made / statistics.median(plain),
    }
