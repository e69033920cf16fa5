"""Twenty sigmoids in a row."""

from collections.abc import Callable

import torch
from torch import nn

from unvanish.lessons.data import clusters
from unvanish.lessons.lesson import Lesson, Program
from unvanish.lessons.question import Question


def program(seed: int, activation: Callable[[], nn.Module]) -> Program:
    """Twenty layers with this ``activation``, initialised by He's rule."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for _ in range(20):
        linear = nn.Linear(64, 64)
        nn.init.kaiming_normal_(linear.weight)
        layers += [linear, activation()]
    model = nn.Sequential(*layers, nn.Linear(64, 10))
    return {"model": model, "data": clusters(seed), "loss": nn.CrossEntropyLoss()}


def sick(seed: int = 0) -> Program:
    """Sigmoids, whose slope is at most a quarter."""
    return program(seed, nn.Sigmoid)


def well(seed: int = 0) -> Program:
    """ReLUs, whose slope is one where they are on."""
    return program(seed, nn.ReLU)


LESSON = Lesson(
    name="depth_decay",
    finding="depth-decay",
    title="Twenty sigmoids",
    story="Three layers learned, so twenty should learn more. The loss stands at ln(10) = 2.303, "
    "a guess among ten classes. Plot the gradient of each layer on a logarithmic axis: it is a "
    "straight line that falls towards the input, at every layer by the same factor. The slope of a "
    "sigmoid is at most a quarter, the weights cannot make up for it without saturating it, and "
    "twenty such factors leave nothing for the first layers.",
    cure="Use an activation that passes the gradient on, such as ReLU.",
    question=Question(
        asks="Twenty sigmoids. On a logarithmic axis, the gradient over depth is ...",
        choices=(
            "flat, with a drop at the input",
            "a straight line that falls",
            "a curve that levels off",
        ),
        right=1,
        because="every layer takes the same factor, so every layer takes the same number of "
        "decades.",
    ),
    sick=sick,
    well=well,
)
