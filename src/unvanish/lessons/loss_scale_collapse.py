"""One pair of twins in eight batches."""

from typing import Any

import torch
from torch import Tensor, nn

from unvanish.lessons.data import clusters
from unvanish.lessons.lesson import Lesson, Program
from unvanish.lessons.question import Question


class Distance(nn.Module):
    """How far two things are apart, by what an encoder makes of them."""

    def __init__(self, epsilon: float) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 16))
        self.epsilon = epsilon

    def forward(self, pairs: Tensor) -> Tensor:
        left, right = self.encoder(pairs[:, 0]), self.encoder(pairs[:, 1])
        return ((left - right).square().sum(1) + self.epsilon).sqrt()


def contrastive(distance: Tensor, same: Tensor) -> Tensor:
    """Pairs of one class should be near, others at least one apart."""
    return (same * distance**2 + (1 - same) * (1 - distance).relu() ** 2).mean()


def pairs(seed: int, batches: int = 8) -> list[tuple[Tensor, Tensor]]:
    """Batches of pairs; one pair of the last but one is the same thing twice."""
    made: list[tuple[Tensor, Tensor]] = []
    for number in range(batches):
        points, labels = clusters(100 * seed + number)
        paired = points.unflatten(0, (-1, 2))
        if number == batches - 2:
            paired[0, 1] = paired[0, 0]
        same = labels[0::2] == labels[1::2]
        made.append((paired, same.float()))
    return made


def program(seed: int, epsilon: float) -> Program:
    """The pairs, told apart under a loss scaler."""
    torch.manual_seed(seed)
    model = Distance(epsilon)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
        optimizer.zero_grad()
        scaler.scale(contrastive(model(batch[0]), batch[1])).backward()
        scaler.step(optimizer)
        scaler.update()

    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    return {
        "model": model,
        "data": pairs(seed),
        "loss": contrastive,
        "optimizer": optimizer,
        "step": step,
        "steps": 8,
    }


def sick(seed: int = 0) -> Program:
    """The root of a squared distance, which is zero for the twins."""
    return program(seed, epsilon=0.0)


def well(seed: int = 0) -> Program:
    """The same root, kept off zero."""
    return program(seed, epsilon=1e-12)


LESSON = Lesson(
    name="loss_scale_collapse",
    finding="loss-scale-collapse",
    title="Twins in the data",
    story="The run begins well. Hours later the log says that the loss scale is 1e-30, and the weights "
    "have stood still since it passed one. The scaler does what it is made for: it halves its scale "
    "whenever a gradient is not finite, and doubles it after two thousand good steps. But one batch "
    "in eight makes NaN whatever the scale, since two of its samples are the same and the root of "
    "their distance, zero, has no slope. Try the batches with a scale of one: what is still skipped "
    "is not the scaler's fault.",
    cure="Add a tiny constant under the root.",
    question=Question(
        asks="One batch in eight gives NaN at any scale. The scaler halves its scale at each of them and "
        "doubles it after 2,000 good steps. Where does the scale go?",
        choices=("it settles", "towards zero", "up and down for ever"),
        right=1,
        because="it is halved far more often than it is doubled.",
    ),
    sick=sick,
    well=well,
)
