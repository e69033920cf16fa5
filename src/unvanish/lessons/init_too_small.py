"""Weights with a standard deviation of 0.01."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from unvanish.lessons.data import clusters
from unvanish.lessons.lesson import Lesson, Program
from unvanish.lessons.question import Question


def program(seed: int, initialize: Callable[[Tensor], Tensor]) -> Program:
    """Nine layers whose weights start by this rule."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for _ in range(8):
        layers += [nn.Linear(64, 64), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(64, 10))
    for module in model:
        if isinstance(module, nn.Linear):
            initialize(module.weight)
            nn.init.zeros_(module.bias)
    return {
        "model": model,
        "data": clusters(seed),
        "loss": nn.CrossEntropyLoss(),
        "optimizer": torch.optim.SGD(model.parameters(), 0.1),
    }


def sick(seed: int = 0) -> Program:
    """A standard deviation of 0.01, whatever the width."""
    return program(seed, lambda weight: nn.init.normal_(weight, std=0.01))


def well(seed: int = 0) -> Program:
    """He's rule: the root of two over the number of inputs."""
    return program(seed, lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="relu"))


LESSON = Lesson(
    name="init_too_small",
    finding="init-too-small",
    title="Small random numbers",
    story="'Initialise with small random numbers', says the tutorial, and takes 0.01. With two layers "
    "that works; with nine, SGD leaves the loss at ln(10) = 2.303, a guess among ten classes. "
    "Each layer multiplies the signal by about 0.06 on its way forward, and the gradient by "
    "about 0.06 on its way back: the output does not depend on the input any more, and the "
    "first layers hear nothing. Every layer loses the same factor, and it is the weights that "
    "take it.",
    cure="Initialise by the width and the activation: He's rule for ReLU.",
    question=Question(
        asks="Each of nine layers multiplies the signal by 0.06. What does the output depend on?",
        choices=("the input", "the last layer's bias alone"),
        right=1,
        because="0.06 to the power of nine is 1e-11, below what float32 adds to a bias.",
    ),
    sick=sick,
    well=well,
)
