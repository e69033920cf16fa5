"""A minus sign from the time when a score was maximised."""

import torch
from torch import Tensor, nn

from unvanish.lessons.data import clusters
from unvanish.lessons.lesson import Lesson, Program
from unvanish.lessons.question import Question


def program(seed: int, sign: float) -> Program:
    """A classifier whose loss is the cross entropy times ``sign``."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

    def loss(outputs: Tensor, labels: Tensor) -> Tensor:
        return sign * nn.functional.cross_entropy(outputs, labels)

    return {"model": model, "data": clusters(seed), "loss": loss}


def sick(seed: int = 0) -> Program:
    """The loss with the minus sign of the score that it replaced."""
    return program(seed, sign=-1.0)


def well(seed: int = 0) -> Program:
    """The loss as it is."""
    return program(seed, sign=1.0)


LESSON = Lesson(
    name="wrong_sign",
    finding="wrong-sign",
    title="The minus sign that stayed",
    story="The loop once maximised a score, so it said loss = -score. The score was replaced by the "
    "cross entropy, and the minus sign stayed. The loss is negative from the start and falls "
    "beautifully, on and on, while the accuracy falls below that of a guess. Ask what the loss of a "
    "perfect model would be: if it is the largest value there is and not the smallest, the steps "
    "go the wrong way.",
    cure="Take the minus sign away.",
    question=Question(
        asks="The loss has a minus sign too many. What does the loss curve look like?",
        choices=("it rises", "it falls and falls", "it stands still"),
        right=1,
        because="the optimizer does what it is told, and the accuracy falls below that of a guess.",
    ),
    sick=sick,
    well=well,
)
