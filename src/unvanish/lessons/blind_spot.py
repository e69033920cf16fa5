"""A custom autograd function: nobody sees what happens inside."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from unvanish.lessons.data import clusters
from unvanish.lessons.lesson import Lesson, Program
from unvanish.lessons.question import Question


class Swish(torch.autograd.Function):
    """x times sigmoid(x), with a backward written by hand to save memory."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        gate = torch.sigmoid(x)
        return gradients[0] * gate * (1 + x * (1 - gate))


class Network(nn.Module):
    """Two hidden layers with this activation."""

    def __init__(self, swish: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(64, 64), nn.Linear(64, 64)
        self.head = nn.Linear(64, 10)
        self.swish = swish

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.swish(self.second(self.swish(self.first(x)))))


def program(seed: int, swish: Callable[[Tensor], Tensor]) -> Program:
    """A classifier with one or the other ``swish``."""
    torch.manual_seed(seed)
    return {"model": Network(swish), "data": clusters(seed), "loss": nn.CrossEntropyLoss()}


def sick(seed: int = 0) -> Program:
    """The function written by hand."""
    return program(seed, Swish.apply)


def well(seed: int = 0) -> Program:
    """Torch's own function, which is the same."""
    return program(seed, nn.functional.silu)


LESSON = Lesson(
    name="blind_spot",
    finding="blind-spot",
    title="A backward pass written by hand",
    story="Some copied code brings its own backward pass, to save memory. The gradient that goes "
    "in and the gradient that comes out can be seen, what happens between them cannot: whether it "
    "is right is for its author to know. This is a note and no alarm, and here it would even be "
    "harmless: the two programs give the same numbers. But what was not seen is not called "
    "healthy.",
    cure="Use torch's own function (here silu), or check the hand-written one with "
    "torch.autograd.gradcheck.",
    question=Question(
        asks="One net runs a backward pass written by hand, the other torch's own, which is the "
        "same. What does a report say of the first?",
        choices=(
            "healthy, as of the second",
            "broken: the gradient is wrong",
            "that it could not see inside",
        ),
        right=2,
        because="what goes in and what comes out was seen, what happens between was not; that is"
        " no alarm, and no clean bill either.",
    ),
    sick=sick,
    well=well,
)
