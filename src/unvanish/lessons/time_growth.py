"""A ReLU recurrence with weights a little too large."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from unvanish.lessons.data import recall
from unvanish.lessons.lesson import Lesson, Program
from unvanish.lessons.question import Question


class Reader(nn.Module):
    """Reads a sequence, answers after its last step."""

    def __init__(self, initialize: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.rnn = nn.RNN(1, 32, nonlinearity="relu", batch_first=True)
        initialize(self.rnn.get_parameter("weight_hh_l0"))
        self.head = nn.Linear(32, 1)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.rnn(x)
        return self.head(states[:, -1]).squeeze(1)


def program(seed: int, initialize: Callable[[Tensor], Tensor]) -> Program:
    """A recurrent network whose recurrent weights start by this rule."""
    torch.manual_seed(seed)
    model = Reader(initialize)
    return {"model": model, "data": recall(seed, length=50), "loss": nn.BCEWithLogitsLoss()}


def sick(seed: int = 0) -> Program:
    """Random recurrent weights."""
    return program(seed, lambda weight: nn.init.normal_(weight, std=0.5))


def well(seed: int = 0) -> Program:
    """The identity: each step starts by passing its state on."""
    return program(seed, nn.init.eye_)


LESSON = Lesson(
    name="time_growth",
    finding="time-growth",
    title="Fifty steps of growth",
    story="The loss starts at a number with ten digits and is nan one step later; clipping the "
    "gradient keeps it finite, and it still does not learn. The weights do not look large. But "
    "a recurrent network multiplies its state by the same matrix at every step, so that a "
    "factor of two becomes a factor of 2 to the power of 50. Look at the gradient over time, "
    "not over parameters: it grows at every step on its way back to the first one.",
    cure="Start the recurrent weights as the identity (or orthogonal), which neither grows nor "
    "shrinks.",
    question=Question(
        asks="A factor of two at each of fifty steps back in time. How large is the first step's gradient, "
        "beside the last one's?",
        choices=("100 times", "2,500 times", "1e15 times"),
        right=2,
        because="2 to the power of 50.",
    ),
    sick=sick,
    well=well,
)
