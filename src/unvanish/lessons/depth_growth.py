"""Eighty residual sums that nobody scaled."""

import torch
from torch import Tensor, nn

from unvanish.lessons.data import clusters
from unvanish.lessons.lesson import Lesson, Program
from unvanish.lessons.question import Question


class Block(nn.Module):
    """x + scale * linear(relu(x))."""

    def __init__(self, width: int, scale: float) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        nn.init.kaiming_normal_(self.linear.weight, nonlinearity="relu")
        nn.init.zeros_(self.linear.bias)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale * self.linear(torch.relu(x))


def program(seed: int, scale: float) -> Program:
    """Eighty residual blocks whose branches have this ``scale``."""
    torch.manual_seed(seed)
    blocks = [Block(32, scale) for _ in range(80)]
    model = nn.Sequential(*blocks, nn.Linear(32, 10))
    return {
        "model": model,
        "data": clusters(seed, features=32),
        "loss": nn.CrossEntropyLoss(),
    }


def sick(seed: int = 0) -> Program:
    """Branches as large as what they are added to."""
    return program(seed, scale=1.0)


def well(seed: int = 0) -> Program:
    """Branches divided by the root of their number."""
    return program(seed, scale=80**-0.5)


LESSON = Lesson(
    name="depth_growth",
    finding="depth-growth",
    title="Eighty sums",
    story="Skip connections cure deep networks, so you added them, and now the first loss is a number "
    "with many digits and the second is nan. Each block adds a branch that is as large as what "
    "it is added to, so the energy doubles: after eighty blocks the signal has grown by 2 to "
    "the power of 40, and so has the gradient on its way back. Clipping hides it; the layers "
    "still want steps of very different size.",
    cure="Divide each branch by the root of the number of blocks.",
    question=Question(
        asks="Eighty blocks x + f(x), each branch as large as x. By how much does the signal grow?",
        choices=("80 times", "the root of 80", "2 to the power of 40"),
        right=2,
        because="each sum doubles the energy, so the size grows by the root of two a block.",
    ),
    sick=sick,
    well=well,
)
