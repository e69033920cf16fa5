"""The textbook's classics: He's 30 layers, batch norm's explosion, Nielsen's learning speeds."""

import argparse
import itertools
import math
import statistics
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from depth_runs import nets
from depth_runs.cell import Cell, Figures, Measurement
from depth_runs.contestants import CONTESTANTS, OURS, Prepare
from depth_runs.tasks import TASKS, Task
from depth_runs.vision import mlp, supervised
from unvanish import theory

DRAWS = 20
NOTE = """He-30: He et al. 2015, a plain ReLU net of 30 layers. Batch norm before ReLU: Yang et al. 2019.
Nielsen: Neural Networks and Deep Learning, chapter 5."""


def xavier(model: nn.Module, task: Task) -> nn.Module:
    """Glorot and Bengio 2010, biases zero."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    return model


def normed_mlp(inputs: int, depth: int, classes: int) -> nn.Sequential:
    """``depth`` layers of width 64 with batch norm before each ReLU."""
    layers: list[nn.Module] = []
    for level in range(depth):
        layers.append(nn.Linear(inputs if level == 0 else nets.WIDTH, nets.WIDTH))
        layers += [nn.BatchNorm1d(nets.WIDTH), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(nets.WIDTH, classes))


def textbook_cells(options: argparse.Namespace) -> Iterator[Cell]:
    textbook: dict[str, Prepare] = {
        "Xavier": xavier,
        "He": CONTESTANTS["He"],
        OURS: CONTESTANTS[OURS],
    }
    for optimizer in ("sgd", "adam"):
        for task in ("digits", "spirals"):
            for name, prepare in textbook.items():
                label = f"He-30, {name}"
                yield supervised(label, task, 30, optimizer, mlp(30, "relu"), prepare)
    for depth, task in itertools.product((30, 100), ("digits", "spirals")):
        normed = lambda t, d=depth: normed_mlp(t.train[0].shape[1], d, t.classes)  # noqa: E731
        for name in ("torch's default", OURS):
            label = f"batch norm, {name}"
            yield supervised(label, task, depth, "adam", normed, CONTESTANTS[name])
        label = f"the norm left out, {OURS}"
        yield supervised(label, task, depth, "adam", mlp(depth, "relu"), CONTESTANTS[OURS])


def textbook_measurements() -> Iterator[Measurement]:
    for depth in (30, 100):
        for name in ("torch's default", OURS):
            label = f"batch norm and ReLU, {depth} layers, {name}: gradient, first over last"
            yield Measurement(label, explosion(depth, CONTESTANTS[name]))
    yield Measurement(
        "Nielsen's speed of learning, a hidden layer over the next one", learning_speed
    )


def explosion(depth: int, prepare: Prepare) -> Callable[[], Figures]:
    """Norm of the gradient at the first linear layer's output over that at the last's."""

    def read() -> Figures:
        found = [math.log10(one_explosion(depth, prepare, seed)) for seed in range(DRAWS)]
        factor = math.sqrt(theory.batch_norm_factor("relu", 128))
        return {
            "draws": DRAWS,
            "measured_decades": statistics.median(found),
            "least": min(found),
            "largest": max(found),
            "theory_decades": (depth - 1) * math.log10(factor),
            "measured_a_layer": 10 ** (statistics.median(found) / (depth - 1)),
            "theory_a_layer": factor,
            "theory_a_layer_large_batch": math.sqrt(theory.batch_norm_factor("relu")),
        }

    return read


def one_explosion(depth: int, prepare: Prepare, seed: int) -> float:
    torch.manual_seed(seed)
    task = TASKS["digits"]()
    model = prepare(normed_mlp(task.train[0].shape[1], depth, task.classes), task)
    norms = gradient_norms(model, task.train[0][:128], task.train[1][:128])
    return norms[0] / norms[-1]


def gradient_norms(model: nn.Module, inputs: Tensor, labels: Tensor) -> list[float]:
    """Norms of the loss's gradient at the outputs of the hidden linear layers, in order."""
    assert isinstance(model, nn.Sequential)
    outputs: list[Tensor] = []
    signal = inputs
    for part in model:
        signal = part(signal)
        if isinstance(part, nn.Linear):
            outputs.append(signal)
    loss = nn.functional.cross_entropy(signal, labels)
    gradients = torch.autograd.grad(loss, outputs[:-1])
    return [float(gradient.norm()) for gradient in gradients]


def learning_speed() -> Figures:
    """Ratio of neighbouring hidden layers' bias-gradient norms, four layers of 30 sigmoids."""
    speeds = [one_speed(seed) for seed in range(DRAWS)]
    ratios: Figures = {"draws": DRAWS}
    for level in range(3):
        found = [one[level] / one[level + 1] for one in speeds]
        ratios[f"layer {level + 1} over {level + 2}"] = statistics.median(found)
    settled = theory.MeanField(activation="sigmoid", weight=1.0, bias=1.0)
    return {**ratios, "theory": math.sqrt(settled.gradient_factor())}


def one_speed(seed: int) -> list[float]:
    """Norm of the quadratic cost's gradient for each hidden bias, on 1,000 samples."""
    torch.manual_seed(seed)
    task = TASKS["digits"]()
    sizes = (task.train[0].shape[1], 30, 30, 30, 30, task.classes)
    model = nn.Sequential()
    for inside, outside in itertools.pairwise(sizes):
        layer = nn.Linear(inside, outside)
        nn.init.normal_(layer.weight, std=inside**-0.5)
        nn.init.normal_(layer.bias)
        model.extend([layer, nn.Sigmoid()])
    targets = nn.functional.one_hot(task.train[1][:1000], task.classes).float()
    cost = 0.5 * (model(task.train[0][:1000]) - targets).square().sum(1).mean()
    biases = [part.bias for part in model if isinstance(part, nn.Linear)][:-1]
    return [float(gradient.norm()) for gradient in torch.autograd.grad(cost, biases)]
