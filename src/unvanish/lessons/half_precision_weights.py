"""Weights stored in float16: usual steps round to nothing."""

import torch
from torch import nn

from unvanish.lessons.data import clusters
from unvanish.lessons.lesson import Lesson, Program
from unvanish.lessons.question import Question


def program(seed: int, dtype: torch.dtype) -> Program:
    """A classifier whose weights are stored in this ``dtype``."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)
    )
    inputs, labels = clusters(seed)
    return {
        "model": model.to(dtype),
        "data": (inputs.to(dtype), labels),
        "loss": nn.CrossEntropyLoss(),
    }


def sick(seed: int = 0) -> Program:
    """model.half()."""
    return program(seed, torch.float16)


def well(seed: int = 0) -> Program:
    """Weights as torch makes them."""
    return program(seed, torch.float32)


LESSON = Lesson(
    name="half_precision_weights",
    finding="half-precision-weights",
    title="model.half()",
    story="model.half() made it fit into memory, and it stopped learning; or GradScaler refused with "
    "'Attempting to unscale FP16 gradients'; or Adam made it nan within a few steps. float16 "
    "keeps eleven bits: a change of less than a four-thousandth of a weight rounds to nothing, "
    "and usual steps are that small. And Adam's epsilon of 1e-8 is zero in float16, so that "
    "where the gradient is zero it divides zero by zero. Look at the dtype of the weights, not "
    "at the loss.",
    cure="Keep the weights in float32 (and compute in half precision under torch.autocast).",
    question=Question(
        asks="A weight of 1 in float16, an update of 0.0001. What is the weight afterwards?",
        choices=("0.9999", "1", "0.999"),
        right=1,
        because="between 0.5 and 1 float16 has steps of 0.0005; a fifth of one rounds to nothing.",
    ),
    sick=sick,
    well=well,
)
