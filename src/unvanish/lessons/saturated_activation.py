"""The bias of the last layer, set in every layer."""

import math

import torch
from torch import nn

from unvanish.lessons.data import clusters
from unvanish.lessons.lesson import Lesson, Program
from unvanish.lessons.question import Question

PRIOR = 0.001  # how rare the thing is that the detector looks for


def program(seed: int, *, everywhere: bool) -> Program:
    """A detector of ten rare things."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Linear(64, 64), nn.Sigmoid(), nn.Linear(64, 64), nn.Sigmoid(), nn.Linear(64, 10)
    )
    for module in model.modules() if everywhere else [model[-1]]:
        if isinstance(module, nn.Linear):
            nn.init.constant_(module.bias, math.log(PRIOR / (1 - PRIOR)))
    inputs, labels = clusters(seed)
    present = nn.functional.one_hot(labels, 10).float()
    return {"model": model, "data": (inputs, present), "loss": nn.BCEWithLogitsLoss()}


def sick(seed: int = 0) -> Program:
    """A bias of -6.9 in every layer."""
    return program(seed, everywhere=True)


def well(seed: int = 0) -> Program:
    """A bias of -6.9 in the last layer, which the paper is about."""
    return program(seed, everywhere=False)


LESSON = Lesson(
    name="saturated_activation",
    finding="saturated-activation",
    title="A bias meant for the last layer",
    story="A detector of rare things should start by saying no, so the biases start at "
    "log(p / (1 - p)), here -6.9: a good recipe. The loop over the modules set it in every layer, "
    "not only in the last one. The loss falls to what a guess reaches, and the hidden layers stay "
    "as they are. Look at the inputs of the sigmoids: at -6.9 the curve is flat, every unit says "
    "0.001 whatever it sees, and a thousandth of the gradient gets through at each layer.",
    cure="Set that bias in the last layer only.",
    question=Question(
        asks="A sigmoid whose input is -6.9. What share of the gradient does it let through?",
        choices=("a quarter", "a tenth", "a thousandth"),
        right=2,
        because="its slope is s (1 - s) with s = 0.001.",
    ),
    sick=sick,
    well=well,
    steps=200,
)
