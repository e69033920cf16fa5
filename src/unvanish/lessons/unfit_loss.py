"""A sigmoid at the end of a regression."""

import torch
from torch import nn

from unvanish.lessons.data import curve
from unvanish.lessons.lesson import Lesson, Program
from unvanish.lessons.question import Question


def program(seed: int, last: nn.Module) -> Program:
    """A regression that ends in ``last``."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1), last
    )
    inputs, values = curve(seed)
    degrees = 3 * values  # how much warmer or colder a day was than usual
    return {"model": model, "data": (inputs, degrees), "loss": nn.MSELoss()}


def sick(seed: int = 0) -> Program:
    """Outputs between 0 and 1, for targets of several degrees."""
    return program(seed, nn.Sigmoid())


def well(seed: int = 0) -> Program:
    """Outputs of any size."""
    return program(seed, nn.Identity())


LESSON = Lesson(
    name="unfit_loss",
    finding="unfit-loss",
    title="A sigmoid at the end of a regression",
    story="A classifier became a regression; the data and the loss were changed, the last line of "
    "the model was not. The loss falls for a while and stops far too high, and every prediction "
    "lies between 0 and 1. Compare the range of the targets with the range of the outputs: targets "
    "below 0 or above 1 can never be met, and the closer an output comes to the edge, the less "
    "gradient the sigmoid lets through.",
    cure="Leave out the sigmoid.",
    question=Question(
        asks="A sigmoid at the end, targets between -3 and 3. Does a wider network help?",
        choices=("yes", "no"),
        right=1,
        because="no output can leave the range from 0 to 1, whatever stands before it.",
    ),
    sick=sick,
    well=well,
)
