"""All weights start at zero."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from unvanish.lessons.data import clusters
from unvanish.lessons.lesson import Lesson, Program
from unvanish.lessons.question import Question


def program(seed: int, initialize: Callable[[Tensor], Tensor]) -> Program:
    """A classifier whose weights start by this rule."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 10)
    )
    for module in model:
        if isinstance(module, nn.Linear):
            initialize(module.weight)
            nn.init.zeros_(module.bias)
    return {"model": model, "data": clusters(seed), "loss": nn.CrossEntropyLoss()}


def sick(seed: int = 0) -> Program:
    """Zero, as for a linear regression."""
    return program(seed, nn.init.zeros_)


def well(seed: int = 0) -> Program:
    """At random, with the scale that tanh wants."""
    return program(seed, nn.init.xavier_normal_)


LESSON = Lesson(
    name="symmetric_init",
    finding="symmetric-init",
    title="All weights zero",
    story="For the logistic regression in the chapter before, starting at zero was fine. With "
    "hidden layers the loss stays at ln(10) = 2.303, the value of a guess among ten classes. Look "
    "at one weight matrix, now and after some steps: all of its rows are equal. Units that start "
    "equal compute the same, get the same gradient and stay equal; with zeros all through they do "
    "not even get that.",
    cure="Start the weights at random; the biases may stay zero.",
    question=Question(
        asks="All weights start at zero. How many different rows has the first weight matrix after "
        "training?",
        choices=("as many as units", "two", "one"),
        right=2,
        because="units that start equal get equal gradients and stay equal.",
    ),
    sick=sick,
    well=well,
)
