"""An activation that knows how deep the net is."""

from collections.abc import Callable

import torch
from torch import nn

from unvanish.lessons.data import clusters
from unvanish.lessons.lesson import Lesson, Program
from unvanish.lessons.question import Question
from unvanish.nn import TailoredActivation

DEPTH = 40


def program(seed: int, activation: Callable[[], nn.Module]) -> Program:
    """Forty layers with this ``activation`` and orthogonal weights."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for _ in range(DEPTH):
        linear = nn.Linear(64, 64)
        nn.init.orthogonal_(linear.weight)
        nn.init.zeros_(linear.bias)
        layers += [linear, activation()]
    model = nn.Sequential(*layers, nn.Linear(64, 10))
    return {"model": model, "data": clusters(seed), "loss": nn.CrossEntropyLoss()}


def sick(seed: int = 0) -> Program:
    """SiLU as it is."""
    return program(seed, nn.SiLU)


def well(seed: int = 0) -> Program:
    """SiLU with scale and shift solved from the depth."""
    return program(seed, lambda: TailoredActivation(nn.SiLU(), DEPTH))


LESSON = Lesson(
    name="adaptive",
    finding="init-too-small",
    title="An activation that knows the depth",
    story="Forty layers of SiLU with orthogonal weights, which lose nothing by themselves, and the "
    "first layers hear nothing. At scale one the slope of SiLU is about a half, and each layer "
    "makes it worse, since the signal shrinks too. Around any activation there is room for two "
    "numbers, a scale and a shift of what goes in, that bring its mean slope to one and its bend "
    "to what this depth can bear. They are solved, not learned: learning the shape of the "
    "activation brought nothing where we measured it.",
    cure="Wrap the activation: unvanish.nn.TailoredActivation(nn.SiLU(), depth).",
    question=Question(
        asks="SiLU passes on about six tenths at each of forty layers. A scale and a shift are put around"
        " it. Must they be learned?",
        choices=(
            "yes, by gradient descent",
            "no: they follow from the depth",
            "no: any scale above one will do",
        ),
        right=1,
        because="two conditions (mean slope one, bend small enough for this depth) give two "
        "numbers; too large a scale would explode or saturate.",
    ),
    sick=sick,
    well=well,
    steps=60,
)
