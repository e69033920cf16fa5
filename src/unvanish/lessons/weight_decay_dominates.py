"""A weight decay that is stronger than the gradient."""

import torch
from torch import nn

from unvanish.lessons.data import clusters
from unvanish.lessons.lesson import Lesson, Program
from unvanish.lessons.question import Question


def program(seed: int, weight_decay: float) -> Program:
    """A classifier that is trained with this decay."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)
    )
    return {
        "model": model,
        "data": clusters(seed),
        "loss": nn.CrossEntropyLoss(),
        "optimizer": torch.optim.SGD(model.parameters(), 0.1, weight_decay=weight_decay),
        "steps": 20,
    }


def sick(seed: int = 0) -> Program:
    """The upper end of a search over decays."""
    return program(seed, weight_decay=1.0)


def well(seed: int = 0) -> Program:
    """A usual decay."""
    return program(seed, weight_decay=5e-4)


LESSON = Lesson(
    name="weight_decay_dominates",
    finding="weight-decay-dominates",
    title="Regularised to death",
    story="The model overfitted, so you turned the weight decay up until it did not. Now it does "
    "not fit at all: the loss settles at ln(10) = 2.303, a guess among ten classes, and stays. "
    "Watch the norm of the weights: it goes to zero. At every step the decay takes a tenth of each "
    "weight, and the gradient puts less than that back.",
    cure="Lower weight_decay to where the gradient outweighs it, here to 5e-4.",
    question=Question(
        asks="The decay takes a tenth of each weight at every step. What is the norm of the "
        "weights in the end?",
        choices=("as at the start", "half of it", "near zero"),
        right=2,
        because="the gradient puts back less than that, and a net of zeros guesses.",
    ),
    sick=sick,
    well=well,
)
