"""A thousand layers, and ten thousand, without a norm, a skip or any other help."""

import torch
from torch import nn

from unvanish.init import critical_
from unvanish.lessons.data import clusters
from unvanish.lessons.lesson import Lesson, Program
from unvanish.lessons.question import Question


def program(seed: int, depth: int, *, critical: bool) -> Program:
    """A plain ReLU net of this ``depth``, from torch's own initial values or ``critical_``'s."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(16, 16), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(16, 4))
    data, loss = clusters(seed, features=16, classes=4, samples=64), nn.CrossEntropyLoss()
    if critical:
        critical_(model, data, loss, seed=seed)
    optimizer = torch.optim.Adam(model.parameters(), 0.03 / depth)
    return {"model": model, "data": data, "loss": loss, "optimizer": optimizer}


def sick(seed: int = 0) -> Program:
    """A thousand layers from torch's own initial values."""
    return program(seed, 1000, critical=False)


def well(seed: int = 0) -> Program:
    """Other numbers in the same weights, and nothing else."""
    return program(seed, 1000, critical=True)


def deepest(seed: int = 0) -> Program:
    """The same with ten thousand layers; to diagnose it takes minutes."""
    return program(seed, 10_000, critical=True)


LESSON = Lesson(
    name="ten_thousand",
    finding="init-too-small",
    title="Ten thousand layers",
    story="How deep can a plain net be, with no norm, no skip and no other activation than ReLU? From "
    "torch's own initial values each layer passes on 0.41, and of these thousand the gradient reaches "
    "the last hundred before float32 ends. By He's rule its size is kept, and all samples come "
    "to look the same. With mirrored orthogonal weights the depth is no obstacle: here it is a "
    "thousand layers, and ten thousand are trained in the same way (the program deepest). Nothing "
    "but the numbers in the weights differs.",
    cure="Fill the same weights by unvanish.init.critical_ and let the step fall with the depth.",
    question=Question(
        asks="A plain ReLU net of a thousand layers. What is needed so that it learns?",
        choices=(
            "skips and norms",
            "another activation",
            "other numbers in its weights, and small steps",
        ),
        right=2,
        because="as long as each layer starts as a rotation, a thousand of them are one "
        "rotation; ten thousand are, too.",
    ),
    sick=sick,
    well=well,
    steps=10,
)
