"""A hundred ReLU layers, rightly initialised."""

import torch
from torch import Tensor, nn

from unvanish.lessons.data import clusters
from unvanish.lessons.lesson import Lesson, Program
from unvanish.lessons.question import Question


class Layer(nn.Module):
    """A ReLU and a linear layer, alone or as a small change of what came in."""

    def __init__(self, width: int, skip: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        nn.init.kaiming_normal_(self.linear.weight, nonlinearity="relu")
        nn.init.zeros_(self.linear.bias)
        self.skip = skip

    def forward(self, x: Tensor) -> Tensor:
        new = self.linear(torch.relu(x))
        return x + 0.1 * new if self.skip else new


def program(seed: int, *, skip: bool) -> Program:
    """A hundred layers, with a ``skip`` around each or without."""
    torch.manual_seed(seed)
    layers = [Layer(32, skip) for _ in range(100)]
    model = nn.Sequential(*layers, nn.ReLU(), nn.Linear(32, 10))
    return {
        "model": model,
        "data": clusters(seed, features=32),
        "loss": nn.CrossEntropyLoss(),
    }


def sick(seed: int = 0) -> Program:
    """A plain stack of layers."""
    return program(seed, skip=False)


def well(seed: int = 0) -> Program:
    """The same layers with a skip around each."""
    return program(seed, skip=True)


LESSON = Lesson(
    name="collapsed_signal",
    finding="collapsed-signal",
    title="A hundred layers by the book",
    story="He's initialisation, ReLU, a hundred layers: the norms of signal and gradient are about "
    "the same from end to end, as the book promises, and next to nothing is learned. Do not "
    "look at norms but at two samples: every layer turns them a little towards each other, and "
    "what comes out is nearly the same vector for every sample. A gradient about that vector "
    "arrives everywhere; there is next to none about what tells samples apart.",
    cure="Put a skip around each layer, which carries the differences past it.",
    question=Question(
        asks="He's start, a hundred ReLU layers: norms are kept. What is the cosine between two samples at "
        "the end?",
        choices=("0", "0.5", "1, to two figures"),
        right=2,
        because="every ReLU layer turns two directions a little towards each other.",
    ),
    sick=sick,
    well=well,
    steps=30,
)
