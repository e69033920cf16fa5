"""A LoRA pair whose both factors start at zero."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from unvanish.lessons.data import clusters
from unvanish.lessons.lesson import Lesson, Program
from unvanish.lessons.question import Question


class Adapted(nn.Module):
    """A frozen layer with a low-rank correction B A beside it."""

    def __init__(self, initialize_a: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.base = nn.Linear(64, 64).requires_grad_(False)
        self.lora_a = nn.Linear(64, 8, bias=False)
        self.lora_b = nn.Linear(8, 64, bias=False)
        initialize_a(self.lora_a.weight)
        nn.init.zeros_(self.lora_b.weight)
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.base(x) + self.lora_b(self.lora_a(x))))


def program(seed: int, initialize_a: Callable[[Tensor], Tensor]) -> Program:
    """A model with an adapter whose first factor starts by this rule."""
    torch.manual_seed(seed)
    model = Adapted(initialize_a)
    return {"model": model, "data": clusters(seed), "loss": nn.CrossEntropyLoss()}


def sick(seed: int = 0) -> Program:
    """A = 0 and B = 0."""
    return program(seed, nn.init.zeros_)


def well(seed: int = 0) -> Program:
    """A at random, B = 0."""
    return program(seed, nn.init.kaiming_uniform_)


LESSON = Lesson(
    name="stuck_saddle",
    finding="stuck-saddle",
    title="Both factors zero",
    story="An adapter should start by changing nothing, so both of its matrices were set to zero. "
    "It changes nothing for ever: the loss falls with the head alone, and the adapter's gradient "
    "is exactly 0.0, at step one and at step one thousand. The gradient of each factor of a "
    "product is multiplied by the other one. One zero is good practice and wakes up at the first "
    "step; two hold each other down.",
    cure="Start one of the two factors at random and leave the other one at zero.",
    question=Question(
        asks="Both factors of an adapter start at zero. At which step does its gradient become "
        "non-zero?",
        choices=("the first", "the second", "never"),
        right=2,
        because="the gradient of each factor is multiplied by the other one, and both stay zero.",
    ),
    sick=sick,
    well=well,
)
