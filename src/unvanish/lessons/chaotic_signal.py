"""The recommended gain for tanh, sixty times in a row."""

import torch
from torch import nn

from unvanish.lessons.data import clusters
from unvanish.lessons.lesson import Lesson, Program
from unvanish.lessons.question import Question


def program(seed: int, gain: float) -> Program:
    """A deep tanh network with weights of this ``gain``."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for _ in range(60):
        linear = nn.Linear(64, 64)
        nn.init.orthogonal_(linear.weight, gain)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.Tanh()]
    model = nn.Sequential(*layers, nn.Linear(64, 10))
    return {"model": model, "data": clusters(seed), "loss": nn.CrossEntropyLoss()}


def sick(seed: int = 0) -> Program:
    """The gain that torch recommends for tanh: 5/3."""
    return program(seed, nn.init.calculate_gain("tanh"))


def well(seed: int = 0) -> Program:
    """A gain of one."""
    return program(seed, 1.0)


LESSON = Lesson(
    name="chaotic_signal",
    finding="chaotic-signal",
    title="The recommended gain, sixty times",
    story="torch.nn.init.calculate_gain('tanh') is 5/3, which is right for a few layers. With sixty "
    "the loss of the training samples creeps down and that of others does not. Change one "
    "sample by a hundredth and follow it through: the difference grows at every layer, until at "
    "the end it is as large as the signal. Two neighbours come out as strangers, so what is "
    "learned about one says nothing about the other.",
    cure="Take a gain of one, at which tanh neither shrinks nor stretches differences.",
    question=Question(
        asks="Sixty tanh layers with gain 5/3. Two samples differ by a hundredth. At the end "
        "they are ...",
        choices=("as near as they were", "nearer", "as far apart as strangers"),
        right=2,
        because="each layer stretches small differences, until they are as large as the signal.",
    ),
    sick=sick,
    well=well,
    steps=60,
)
