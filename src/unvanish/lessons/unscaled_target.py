"""House prices in dollars."""

import torch
from torch import nn

from unvanish.lessons.data import curve
from unvanish.lessons.lesson import Lesson, Program
from unvanish.lessons.question import Question


def program(seed: int, *, scaled: bool) -> Program:
    """A regression of prices, ``scaled`` or as they are."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1)
    )
    features, value = curve(seed)
    prices = 300_000 + 80_000 * value
    if scaled:
        prices = (prices - prices.mean()) / prices.std()
    return {
        "model": model,
        "data": (features, prices),
        "loss": nn.MSELoss(),
        "optimizer": torch.optim.Adam(model.parameters(), 1e-3),
        "steps": 20,
    }


def sick(seed: int = 0) -> Program:
    """Prices in dollars."""
    return program(seed, scaled=False)


def well(seed: int = 0) -> Program:
    """Prices in standard deviations from their mean."""
    return program(seed, scaled=True)


LESSON = Lesson(
    name="unscaled_target",
    finding="unscaled-target",
    title="House prices in dollars",
    story="The loss starts at 96,000,000,000, and a hundred steps later it is still 96,000,000,000. "
    "With SGD it ran away at once; with Adam nothing seems to happen. Compare the targets with "
    "the outputs: the prices are about 300,000, the outputs about 0.1, and weights that move by "
    "a thousandth at a step take many thousands of steps to get there. The gradient is not to "
    "blame, the unit is.",
    cure="Bring the targets to zero mean and unit variance, and undo it on the predictions.",
    question=Question(
        asks="Targets about 300,000; Adam moves the last bias by 0.001 at each step. After how many steps is "
        "it there by itself?",
        choices=("3,000", "300,000", "300,000,000"),
        right=2,
        because="300,000 / 0.001. The other weights help, and it still takes far longer than "
        "anybody waits.",
    ),
    sick=sick,
    well=well,
)
