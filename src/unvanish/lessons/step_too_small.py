"""A fine-tuning learning rate for a network that starts from nothing."""

import torch
from torch import nn

from unvanish.lessons.data import clusters
from unvanish.lessons.lesson import Lesson, Program
from unvanish.lessons.question import Question


def program(seed: int, learning_rate: float) -> Program:
    """A classifier that is trained at this rate."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)
    )
    return {
        "model": model,
        "data": clusters(seed),
        "loss": nn.CrossEntropyLoss(),
        "optimizer": torch.optim.SGD(model.parameters(), learning_rate),
        "steps": 20,
    }


def sick(seed: int = 0) -> Program:
    """A rate for fine-tuning BERT with Adam."""
    return program(seed, learning_rate=2e-5)


def well(seed: int = 0) -> Program:
    """A rate for SGD from a random start."""
    return program(seed, learning_rate=0.1)


LESSON = Lesson(
    name="step_too_small",
    finding="step-too-small",
    title="A rate from another recipe",
    story="2e-5 is a fine learning rate for fine-tuning BERT with Adam. Here it is given to SGD, "
    "on a network that starts from nothing. The loss is flat, the gradients look healthy, the "
    "weights seem not to move. They do: by a millionth of their size a step. Compare the size of "
    "an update with the size of the weight; a thousandth is usual.",
    cure="Raise the learning rate to one that suits SGD, here 0.1.",
    question=Question(
        asks="A step changes a weight by a millionth of its size. How many steps until it has changed by its "
        "own size, if all go the same way?",
        choices=("a thousand", "a million"),
        right=1,
        because="a million; at the usual thousandth it is a thousand.",
    ),
    sick=sick,
    well=well,
)
