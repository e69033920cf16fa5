"""An LSTM that forgets: remember the first of a hundred steps."""

import torch
from torch import Tensor, nn

from unvanish.lessons.data import recall
from unvanish.lessons.lesson import Lesson, Program
from unvanish.lessons.question import Question


class Reader(nn.Module):
    """Reads a sequence, answers after its last step."""

    def __init__(self, forget_bias: float) -> None:
        super().__init__()
        self.lstm = nn.LSTM(1, 32, batch_first=True)
        biases = self.lstm.get_parameter("bias_ih_l0")
        with torch.no_grad():
            biases[32:64] = forget_bias  # the gates' order is input, forget, cell, output
        self.head = nn.Linear(32, 1)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.lstm(x)
        return self.head(states[:, -1]).squeeze(1)


def program(seed: int, forget_bias: float) -> Program:
    """An LSTM that should remember, its forget gate's bias started here."""
    torch.manual_seed(seed)
    return {
        "model": Reader(forget_bias),
        "data": recall(seed, length=100),
        "loss": nn.BCEWithLogitsLoss(),
    }


def sick(seed: int = 0) -> Program:
    """A forget gate that starts half open."""
    return program(seed, forget_bias=0.0)


def well(seed: int = 0) -> Program:
    """A forget gate that starts as long as the sequence is: about log(100)."""
    return program(seed, forget_bias=5.0)


LESSON = Lesson(
    name="time_decay",
    finding="time-decay",
    title="An LSTM that forgets",
    story="Everybody says that an LSTM remembers, and yours cannot say after a hundred steps how the "
    "sequence began: on fresh sequences its loss stays at ln(2) = 0.693, a guess. The gradients "
    "of all weights look normal, because the last steps fill them. Look at the gradient over "
    "time: each step back loses a third of it or more, since a forget gate starts half open, "
    "and after a hundred steps nothing is left.",
    cure="Start the forget gate's bias at about the logarithm of the sequence's length, so that it "
    "starts almost open.",
    question=Question(
        asks="An LSTM with a forget gate half open, a hundred steps. What share of the gradient arrives at "
        "the first one?",
        choices=("a half", "a hundredth", "nothing that float32 would notice"),
        right=2,
        because="a half to the power of a hundred is 1e-30; the cell path is the only one that "
        "could keep more.",
    ),
    sick=sick,
    well=well,
)
