"""Three towers of one net: one is cut off, one is silent, one is far away."""

import torch
from torch import Tensor, nn

from unvanish.lessons.data import clusters
from unvanish.lessons.lesson import Lesson, Program
from unvanish.lessons.question import Question


class Towers(nn.Module):
    """Three towers that read the same input, and a head that reads all of them."""

    def __init__(self, *, broken: bool) -> None:
        super().__init__()
        self.cut = nn.Sequential(nn.Linear(64, 32), nn.ReLU())
        low = nn.Linear(64, 32)
        if broken:
            nn.init.constant_(low.bias, -20.0)
        self.silent = nn.Sequential(low, nn.ReLU())
        activation = nn.Sigmoid if broken else nn.ReLU
        self.far = nn.Sequential(nn.Linear(64, 32), *_tower(12, activation))
        self.head = nn.Linear(96, 10)
        self.broken = broken

    def forward(self, x: Tensor) -> Tensor:
        cut = self.cut(x).detach() if self.broken else self.cut(x)
        return self.head(torch.cat([cut, self.silent(x), self.far(x)], 1))


def _tower(layers: int, activation: type[nn.Module]) -> list[nn.Module]:
    parts: list[nn.Module] = []
    for _ in range(layers):
        linear = nn.Linear(32, 32)
        nn.init.kaiming_normal_(linear.weight)
        parts += [activation(), linear]
    return parts


def program(seed: int, *, broken: bool) -> Program:
    """A classifier of three towers."""
    torch.manual_seed(seed)
    model = Towers(broken=broken)
    return {"model": model, "data": clusters(seed), "loss": nn.CrossEntropyLoss()}


def sick(seed: int = 0) -> Program:
    """A detach, biases of -20, sigmoids: gradients None, zero and tiny."""
    return program(seed, broken=True)


def well(seed: int = 0) -> Program:
    """The same three towers without them."""
    return program(seed, broken=False)


LESSON = Lesson(
    name="wiring",
    finding="detached",
    title="None, zero and tiny",
    story="A net of three towers learns worse than it should, and a look at the gradients' norms "
    "shows next to nothing in each of them. It is three different things. Of the first tower "
    ".grad is None: a detach cut it off, nothing was computed. Of the second it is a tensor of "
    "exact zeros: the path is there, and units that are off for every sample multiply by zero. "
    "Of the third it is 5e-7: twelve sigmoids multiplied it down. The first is a line of code, "
    "the second is in the state of the units, the third in the design; no learning rate cures "
    "any.",
    cure="Remove the detach, start the biases at zero, replace the sigmoids by ReLUs.",
    question=Question(
        asks="Three towers with next to no gradient: None, zero, 5e-7. For which of them does a "
        "learning rate a million times larger help?",
        choices=(
            "all three",
            "the second and the third",
            "the third, and it would break the head",
            "none is large enough",
        ),
        right=2,
        because="None is no number and zero stays zero; what is tiny could be multiplied up, and"
        " the head with its ordinary gradient would be thrown away.",
    ),
    sick=sick,
    well=well,
    steps=60,
)
