"""A detach left over from the time when the encoder was not trained."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from unvanish.lessons.data import clusters
from unvanish.lessons.lesson import Lesson, Program
from unvanish.lessons.question import Question


class Classifier(nn.Module):
    """An encoder and a head; ``hand_over`` is what happens to the features between them."""

    def __init__(self, hand_over: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 16), nn.ReLU())
        self.head = nn.Linear(16, 10)
        self.hand_over = hand_over

    def forward(self, x: Tensor) -> Tensor:
        features = self.hand_over(self.encoder(x))
        return self.head(features)


def program(seed: int, hand_over: Callable[[Tensor], Tensor]) -> Program:
    """An encoder that hands its features over to a head."""
    torch.manual_seed(seed)
    model = Classifier(hand_over)
    return {"model": model, "data": clusters(seed), "loss": nn.CrossEntropyLoss()}


def sick(seed: int = 0) -> Program:
    """The features leave the graph."""
    return program(seed, lambda features: features.detach())


def well(seed: int = 0) -> Program:
    """The features stay in the graph."""
    return program(seed, lambda features: features)


LESSON = Lesson(
    name="detached",
    finding="detached",
    title="The detach that stayed",
    story="At first the encoder was only a source of features; now it should learn too, and the "
    "result is exactly as good as before. The loss falls, since the head learns. Look at .grad of "
    "the encoder's weights: it is None, which is not the same as zero. Their values flow into the "
    "loss, but a .detach() from earlier days still stands between them and it; .data, .numpy(), "
    ".item() and torch.no_grad() cut in the same way.",
    cure="Remove the .detach().",
    question=Question(
        asks="The encoder's output is detached before the head. What is .grad of the encoder's weights, and "
        "does the loss fall?",
        choices=("zero, and it stands", "None, and it falls", "None, and it stands"),
        right=1,
        because="the cut leaves no gradient at all behind it, and the head in front of it learns.",
    ),
    sick=sick,
    well=well,
)
