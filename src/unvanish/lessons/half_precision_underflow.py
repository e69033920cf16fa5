"""A small loss in float16: its gradients round to zero on the way back."""

import torch
from torch import Tensor, nn

from unvanish.lessons.data import clusters
from unvanish.lessons.lesson import Lesson, Program
from unvanish.lessons.question import Question

WEIGHT = 1e-5  # this term's share of a larger loss
SCALE = 65536.0  # what torch.amp.GradScaler starts with


def program(seed: int, scale: float) -> Program:
    """Six layers under autocast, their loss multiplied by ``scale``."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for _ in range(5):
        layers += [nn.Linear(64, 64), nn.Tanh()]
    model = nn.Sequential(*layers, nn.Linear(64, 10))

    def step(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        inputs, labels = batch
        with torch.autocast("cpu", dtype=torch.float16):
            outputs = model(inputs)
        loss = WEIGHT * nn.functional.cross_entropy(outputs.float(), labels)
        return scale * loss

    return {"model": model, "data": clusters(seed), "forward": step}


def sick(seed: int = 0) -> Program:
    """The loss as it is."""
    return program(seed, scale=1.0)


def well(seed: int = 0) -> Program:
    """The loss multiplied before the backward pass, as GradScaler does it."""
    return program(seed, scale=SCALE)


LESSON = Lesson(
    name="half_precision_underflow",
    finding="half-precision-underflow",
    title="A small loss in float16",
    story="You switched to float16 to save memory, and the part of the network that hangs on a "
    "small auxiliary loss stopped learning; in float32 it learns. Nothing is nan. Count the exact "
    "zeros in the gradients of the first layers: nearly all entries are zero, because float16 ends "
    "at 6e-8 and they would be smaller. Multiply the loss by 65536 and they are back: they were "
    "never zero, only too small to be written down.",
    cure="Multiply the loss before backward and divide the gradients again before the step, which "
    "is what torch.amp.GradScaler does.",
    question=Question(
        asks="Gradients below 6e-8 are written in float16. What is stored?",
        choices=("the number, less precisely", "zero", "NaN"),
        right=1,
        because="6e-8 is the smallest number that float16 has; half of it and less is rounded to"
        " zero.",
    ),
    sick=sick,
    well=well,
)
