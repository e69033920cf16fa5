"""A softmax over one output: always one, whatever the network says."""

import torch
from torch import nn

from unvanish.lessons.data import rings
from unvanish.lessons.lesson import Lesson, Program
from unvanish.lessons.question import Question


def program(seed: int, last: nn.Module) -> Program:
    """A yes-or-no classifier that ends in ``last``."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1), last
    )
    points, inner = rings(seed)
    return {"model": model, "data": (points, inner[:, None].float()), "loss": nn.BCELoss()}


def sick(seed: int = 0) -> Program:
    """Ends in a softmax."""
    return program(seed, nn.Softmax(dim=1))


def well(seed: int = 0) -> Program:
    """Ends in a sigmoid."""
    return program(seed, nn.Sigmoid())


LESSON = Lesson(
    name="single_unit_softmax",
    finding="single-unit-softmax",
    title="A softmax over one output",
    story="Yes or no, one output, and for probabilities a softmax at the end. The loss does not "
    "move by a single digit, and the accuracy is exactly the share of one class. Print the "
    "outputs: they are all 1.0. A softmax makes its entries add up to one, and here there is only "
    "one entry, so it is one whatever the network says, and its gradient is exactly zero.",
    cure="For one output use a sigmoid (better: none at all, and BCEWithLogitsLoss).",
    question=Question(
        asks="A softmax over one single output. What is the output for a sample that is clearly "
        "a no?",
        choices=("near 0", "0.5", "1"),
        right=2,
        because="its entries add up to one, and there is only one entry.",
    ),
    sick=sick,
    well=well,
)
