"""A softmax in the model, and another one in the loss."""

import torch
from torch import nn

from unvanish.lessons.data import clusters
from unvanish.lessons.lesson import Lesson, Program
from unvanish.lessons.question import Question


def program(seed: int, last: nn.Module) -> Program:
    """A classifier that ends in ``last``."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10), last)
    return {"model": model, "data": clusters(seed), "loss": nn.CrossEntropyLoss()}


def sick(seed: int = 0) -> Program:
    """Gives probabilities to a loss that expects scores."""
    return program(seed, nn.Softmax(dim=1))


def well(seed: int = 0) -> Program:
    """Gives scores."""
    return program(seed, nn.Identity())


LESSON = Lesson(
    name="double_softmax",
    finding="double-softmax",
    title="Softmax twice",
    story="It learns, slowly, and the loss never gets below 1.46, though the accuracy is not bad. "
    "nn.CrossEntropyLoss applies softmax itself; given probabilities it applies it again. All its "
    "inputs then lie between 0 and 1, so that even a perfect answer comes out of the second "
    "softmax as 0.23 for the right class of ten. Look at what the model returns: if its rows add "
    "up to one, they are not the scores that the loss expects.",
    cure="Leave out the softmax at the end of the model; apply it where probabilities are read.",
    question=Question(
        asks="A perfect answer of ten classes goes through softmax twice. What comes out for the"
        " right class?",
        choices=("1", "0.5", "0.23"),
        right=2,
        because="e / (e + 9): the second softmax gets numbers between 0 and 1 only.",
    ),
    sick=sick,
    well=well,
)
