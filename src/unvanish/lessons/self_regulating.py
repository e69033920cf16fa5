"""Layers that hold their own scale while they learn."""

import torch
from torch import Tensor, nn

from unvanish.lessons.data import clusters
from unvanish.lessons.lesson import Lesson, Program
from unvanish.lessons.question import Question
from unvanish.nn import Homeostatic, TailoredLeakyReLU, regulate_

DEPTH = 30


def program(seed: int, *, regulated: bool) -> Program:
    """Thirty layers from torch's own initial values, held by themselves or not."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for _ in range(DEPTH):
        linear, activation = nn.Linear(64, 64), TailoredLeakyReLU(DEPTH)
        layers += [Homeostatic(linear, activation)] if regulated else [linear, activation]
    model = nn.Sequential(*layers, nn.Linear(64, 10))
    loss = nn.CrossEntropyLoss()

    def step(
        model: nn.Module, optimizer: torch.optim.Optimizer, batch: tuple[Tensor, Tensor]
    ) -> None:
        optimizer.zero_grad()
        loss(model(batch[0]), batch[1]).backward()
        optimizer.step()
        if regulated:
            regulate_(model)

    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    return {
        "model": model,
        "data": clusters(seed),
        "loss": loss,
        "optimizer": optimizer,
        "step": step,
    }


def sick(seed: int = 0) -> Program:
    """Nobody holds the weights."""
    return program(seed, regulated=False)


def well(seed: int = 0) -> Program:
    """After every step each weight matrix is pulled back towards a rotation."""
    return program(seed, regulated=True)


LESSON = Lesson(
    name="self_regulating",
    finding="init-too-small",
    title="Layers that regulate themselves",
    story="Thirty layers from torch's own initial values; each passes on about six tenths, and the first "
    "ones hear nothing. One can choose better values once, and hope that training keeps them. "
    "Or the layer sees to it: after every step its weight matrix is pulled back to one that "
    "neither stretches nor shrinks, which costs two products of matrices. What holds the "
    "signal's scale holds the gradient's too. To scale the gradient alone, by a valve on its way "
    "back, did not help where we measured it: that changes the step and not the net.",
    cure="Make each layer an unvanish.nn.Homeostatic and call regulate_ after each step.",
    question=Question(
        asks="After each step the weight matrices are pulled back to rotations. What can such a "
        "layer not do?",
        choices=("learn", "make a direction of its input larger than another", "be trained by SGD"),
        right=1,
        because="it turns and keeps lengths; that is why the last layer is left free.",
    ),
    sick=sick,
    well=well,
    steps=60,
)
