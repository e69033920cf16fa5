"""Layers kept in a plain Python list."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from unvanish.lessons.data import clusters
from unvanish.lessons.lesson import Lesson, Program
from unvanish.lessons.question import Question


class Network(nn.Module):
    """A configurable stack: one layer for each entry of ``widths``."""

    def __init__(self, widths: list[int], container: Callable[[list[nn.Module]], Any]) -> None:
        super().__init__()
        sizes = zip([64, *widths], widths, strict=False)
        self.layers = container([nn.Linear(inside, outside) for inside, outside in sizes])
        self.head = nn.Linear(widths[-1], 10)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.relu(layer(x))
        return self.head(x)


def program(seed: int, container: Callable[[list[nn.Module]], Any]) -> Program:
    """A classifier that keeps its layers in this ``container``."""
    torch.manual_seed(seed)
    model = Network([64, 64, 64], container)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    return {
        "model": model,
        "data": clusters(seed),
        "loss": nn.CrossEntropyLoss(),
        "optimizer": optimizer,
    }


def sick(seed: int = 0) -> Program:
    """The layers are in a list: the model does not know that it has them."""
    return program(seed, list)


def well(seed: int = 0) -> Program:
    """The layers are in an nn.ModuleList."""
    return program(seed, nn.ModuleList)


LESSON = Lesson(
    name="unregistered_module",
    finding="unregistered-module",
    title="Layers in a Python list",
    story="Your network has as many layers as the configuration says, and it is poor whatever the "
    "configuration says; a checkpoint of it is strangely small. Count "
    "sum(p.numel() for p in model.parameters()): only the head is there. A module finds its parts "
    "among its attributes, and does not look inside lists and dicts: the hidden layers get "
    "gradients, but no optimizer built from model.parameters() will ever step them.",
    cure="Keep the layers in an nn.ModuleList instead of a list.",
    question=Question(
        asks="The hidden layers are in a Python list. Do they get gradients?",
        choices=("yes, and they are trained", "yes, and no optimizer steps them", "no"),
        right=1,
        because="autograd follows the computation and does not care who registered what; "
        "model.parameters() does.",
    ),
    sick=sick,
    well=well,
)
