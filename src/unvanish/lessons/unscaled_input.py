"""Pixels from 0 to 255 into tanh."""

import torch
from torch import nn

from unvanish.lessons.data import clusters
from unvanish.lessons.lesson import Lesson, Program
from unvanish.lessons.question import Question


def program(seed: int, *, scaled: bool) -> Program:
    """A classifier of grey values, ``scaled`` or as they are."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 10)
    )
    inputs, labels = clusters(seed)
    inputs = 255 * torch.sigmoid(inputs)  # grey values, as an image file holds them
    if scaled:
        inputs = (inputs - inputs.mean(0)) / inputs.std(0)
    return {
        "model": model,
        "data": (inputs, labels),
        "loss": nn.CrossEntropyLoss(),
        "optimizer": torch.optim.SGD(model.parameters(), 0.1),
    }


def sick(seed: int = 0) -> Program:
    """Grey values from 0 to 255."""
    return program(seed, scaled=False)


def well(seed: int = 0) -> Program:
    """Zero mean, unit variance."""
    return program(seed, scaled=True)


LESSON = Lesson(
    name="unscaled_input",
    finding="unscaled-input",
    title="Pixels from 0 to 255",
    story="The same network learned the tutorial's data in seconds; on your own pictures it learns "
    "next to nothing. The tutorial's transform had divided by 255. Look at the outputs of the "
    "first tanh: nearly all of them are -1 or 1. Its inputs are hundreds instead of ones, so every "
    "unit sits where the curve is flat, and a flat curve lets no gradient through.",
    cure="Bring the inputs to zero mean and unit variance.",
    question=Question(
        asks="Inputs from 0 to 255 into a tanh layer. What share of its units is saturated?",
        choices=("a few", "a half", "nearly all"),
        right=2,
        because="its sums are hundreds, and tanh is flat from about 3 on.",
    ),
    sick=sick,
    well=well,
)
