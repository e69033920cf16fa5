"""Weights straight from torch.randn."""

import torch
from torch import Tensor, nn

from unvanish.lessons.data import clusters
from unvanish.lessons.lesson import Lesson, Program
from unvanish.lessons.question import Question


class Network(nn.Module):
    """Eight layers written by hand, as in a first course."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.weights = nn.ParameterList(scale * torch.randn(64, 64) for _ in range(8))
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        for weight in self.weights:
            x = torch.tanh(x @ weight)
        return self.head(x)


def program(seed: int, scale: float) -> Program:
    """A tanh network whose weights start with this ``scale``."""
    torch.manual_seed(seed)
    return {"model": Network(scale), "data": clusters(seed), "loss": nn.CrossEntropyLoss()}


def sick(seed: int = 0) -> Program:
    """Standard deviation one."""
    return program(seed, scale=1.0)


def well(seed: int = 0) -> Program:
    """Standard deviation one over the root of the number of inputs."""
    return program(seed, scale=64**-0.5)


LESSON = Lesson(
    name="init_too_large",
    finding="init-too-large",
    title="Weights from torch.randn",
    story="Your own layers with weights from torch.randn, since the course said to start at "
    "random. The loss falls in small jerks if at all, and it learns its training samples without "
    "learning anything about others. Each unit adds up 64 products, so its input is about 8 where "
    "tanh wants 1: nearly all outputs are -1 or 1. Layer after layer the gradient grows, and two "
    "samples that were neighbours end as strangers.",
    cure="Divide the weights by the root of the number of inputs (Xavier's rule).",
    question=Question(
        asks="64 inputs of size 1, weights from torch.randn. How large is the input of a tanh "
        "unit?",
        choices=("about 1", "about 8", "about 64"),
        right=1,
        because="64 random terms add up to the root of 64, and at 8 tanh is flat.",
    ),
    sick=sick,
    well=well,
)
