"""A log likelihood given to an optimizer that makes things smaller."""

import torch
from torch import Tensor, nn

from unvanish.lessons.data import clusters
from unvanish.lessons.lesson import Lesson, Program


def program(seed: int, sign: float) -> Program:
    """A classifier whose loss is the log likelihood times ``sign``."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

    def loss(outputs: Tensor, labels: Tensor) -> Tensor:
        likelihood = torch.log_softmax(outputs, 1).gather(1, labels[:, None])
        return sign * likelihood.mean()

    return {"model": model, "data": clusters(seed), "loss": loss}


def sick(seed: int = 0) -> Program:
    """The log likelihood: the larger, the better."""
    return program(seed, sign=1.0)


def well(seed: int = 0) -> Program:
    """The negative log likelihood: the smaller, the better."""
    return program(seed, sign=-1.0)


LESSON = Lesson(
    name="wrong_sign",
    finding="wrong-sign",
    title="The minus sign that was lost",
    story="The loss is negative from the start and falls beautifully, on and on, and the accuracy "
    "falls below that of a guess. The book maximises the log likelihood; an optimizer minimises "
    "what it is given. Ask what the loss of a perfect model would be: if it is the largest "
    "value there is and not the smallest, a minus sign is missing.",
    cure="Put the minus sign before the log likelihood.",
    sick=sick,
    well=well,
)
