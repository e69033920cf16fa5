"""A hundred ReLU layers, and the initial values that make them linear at first."""

import torch
from torch import nn

from unvanish.init import critical_
from unvanish.lessons.data import clusters
from unvanish.lessons.lesson import Lesson, Program
from unvanish.lessons.question import Question


def program(seed: int, *, critical: bool) -> Program:
    """A hundred ReLU layers by He's rule, or by ``critical_``; not a module differs."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for _ in range(100):
        linear = nn.Linear(32, 32)
        nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(32, 10))
    data, loss = clusters(seed, features=32), nn.CrossEntropyLoss()
    if critical:
        critical_(model, data, loss, seed=seed)
    optimizer = torch.optim.Adam(model.parameters(), 0.03 / 100)
    return {"model": model, "data": data, "loss": loss, "optimizer": optimizer}


def sick(seed: int = 0) -> Program:
    """He's rule."""
    return program(seed, critical=False)


def well(seed: int = 0) -> Program:
    """Mirrored: every number goes in twice, as u and as -u."""
    return program(seed, critical=True)


LESSON = Lesson(
    name="mirrored",
    finding="collapsed-signal",
    title="Mirrored weights",
    story="A hundred ReLU layers by He's rule: signal and gradient keep their size, all samples end "
    "up in one direction, and next to nothing is learned. What bends them together is the kink "
    "of ReLU. Send every number through twice, as u and as -u, and read back the difference: "
    "relu(u) - relu(-u) is u. The net then starts as one long rotation that keeps all angles, "
    "the kinks are there as soon as training moves the weights, and not a single module was "
    "changed. The step must fall with the depth, here Adam with 0.03 / 100.",
    cure="Fill the same weights by unvanish.init.critical_, which mirrors them.",
    question=Question(
        asks="A hundred ReLU layers, of which only the numbers in the weights may be changed. "
        "Can all angles between samples be kept?",
        choices=(
            "no: every ReLU bends them together",
            "yes: relu(u) - relu(-u) = u",
            "yes, with weights that are larger",
        ),
        right=1,
        because="each number goes through twice with opposite signs, so that the layer starts "
        "linear; what is lost is half of the width.",
    ),
    sick=sick,
    well=well,
    steps=60,
)
