"""The distance of two equal points: a root whose slope is infinite."""

import torch
from torch import Tensor, nn

from unvanish.lessons.data import clusters
from unvanish.lessons.lesson import Lesson, Program
from unvanish.lessons.question import Question


class Siamese(nn.Module):
    """How far apart the two points of each pair are, after the same small network."""

    def __init__(self, epsilon: float) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 16))
        self.epsilon = epsilon

    def forward(self, pairs: Tensor) -> Tensor:
        first, second = self.encoder(pairs[:, 0]), self.encoder(pairs[:, 1])
        return torch.sqrt(((first - second) ** 2).sum(1) + self.epsilon)


def contrastive(distances: Tensor, same: Tensor) -> Tensor:
    """Pull pairs of one class together, push others apart up to a distance of one."""
    return (same * distances**2 + (1 - same) * torch.relu(1 - distances) ** 2).mean()


def program(seed: int, epsilon: float) -> Program:
    """A network that learns distances, with ``epsilon`` under their root."""
    torch.manual_seed(seed)
    points, labels = clusters(seed)
    partners = torch.randint(len(points), (len(points),))
    partners[0] = 0  # drawn at random, a sample is now and then paired with itself
    pairs = torch.stack([points, points[partners]], dim=1)
    same = (labels == labels[partners]).float()
    return {"model": Siamese(epsilon), "data": (pairs, same), "loss": contrastive}


def sick(seed: int = 0) -> Program:
    """The root of the sum of squares."""
    return program(seed, epsilon=0.0)


def well(seed: int = 0) -> Program:
    """The same with a little under the root."""
    return program(seed, epsilon=1e-12)


LESSON = Lesson(
    name="nonfinite_backward",
    finding="nonfinite-backward",
    title="A sample paired with itself",
    story="The first loss is a perfectly good number, the second is nan. Sometimes training runs "
    "for an hour before it happens. So the forward pass is fine and a gradient is not: look for "
    "the operation that gets a good gradient and returns a bad one. It is the root in the "
    "distance: where a sample is compared with itself the distance is zero, the slope of the root "
    "is infinite there, and zero times infinity is nan in every weight.",
    cure="Add a tiny number under the root, which keeps its slope finite.",
    question=Question(
        asks="Distances between samples, each a root. What is the slope of the root where the distance is "
        "zero?",
        choices=("0", "1", "infinite"),
        right=2,
        because="1 / (2 root(x)) at x = 0; what it is multiplied by is zero there, and the "
        "product is NaN.",
    ),
    sick=sick,
    well=well,
)
