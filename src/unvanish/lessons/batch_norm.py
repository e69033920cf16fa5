"""A norm behind every layer, and nothing around any of them."""

import torch
from torch import Tensor, nn

from unvanish.lessons.data import clusters
from unvanish.lessons.lesson import Lesson, Program
from unvanish.lessons.question import Question


class Block(nn.Module):
    """A linear layer, batch norm and ReLU, alone or with a skip around it."""

    def __init__(self, width: int, skip: bool) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(width, width), nn.BatchNorm1d(width)
        self.skip = skip

    def forward(self, x: Tensor) -> Tensor:
        new = torch.relu(self.norm(self.linear(x)))
        return x + new if self.skip else new


def program(seed: int, *, skip: bool) -> Program:
    """Eighty layers with batch norm, with a ``skip`` around each or without."""
    torch.manual_seed(seed)
    blocks = [Block(32, skip) for _ in range(80)]
    model = nn.Sequential(*blocks, nn.Linear(32, 10))
    return {
        "model": model,
        "data": clusters(seed, features=32),
        "loss": nn.CrossEntropyLoss(),
    }


def sick(seed: int = 0) -> Program:
    """Norms alone."""
    return program(seed, skip=False)


def well(seed: int = 0) -> Program:
    """Norms, and a skip around each layer."""
    return program(seed, skip=True)


LESSON = Lesson(
    name="batch_norm",
    finding="depth-growth",
    title="A norm in every layer",
    story="Eighty layers did not learn, so each of them got a batch norm, and they still do not. "
    "The signal is at scale one in every layer, as the norm promises. Look at the gradient: it "
    "grows on its way down by the same factor in every layer, about 1.2. A norm divides by the "
    "spread of what comes in, and ReLU had just made that spread smaller; what keeps the signal "
    "in bounds blows the gradient up, whatever the weights are.",
    cure="Put a skip around each layer, x + f(x): norm and skip together are what works.",
    question=Question(
        asks="Eighty ReLU layers with a batch norm in each and nothing around them. The signal "
        "has scale one everywhere. What does the gradient do on its way to the input?",
        choices=(
            "it has scale one as well",
            "it grows by a factor of about 1.2 a layer",
            "it vanishes",
        ),
        right=1,
        because="ReLU takes away spread and the norm puts it back; backwards only the second is "
        "left, the root of pi / (pi - 1).",
    ),
    sick=sick,
    well=well,
    steps=60,
)
