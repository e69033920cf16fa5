"""A sparse autoencoder whose biases start far below zero."""

import torch
from torch import nn

from unvanish.lessons.data import clusters
from unvanish.lessons.lesson import Lesson, Program
from unvanish.lessons.question import Question


def program(seed: int, bias: float) -> Program:
    """An autoencoder whose features start with this ``bias``."""
    torch.manual_seed(seed)
    encoder, decoder = nn.Linear(64, 256), nn.Linear(256, 64)
    nn.init.constant_(encoder.bias, bias)
    inputs, _ = clusters(seed)
    return {
        "model": nn.Sequential(encoder, nn.ReLU(), decoder),
        "data": (inputs, inputs),
        "loss": nn.MSELoss(),
    }


def sick(seed: int = 0) -> Program:
    """A bias that keeps every feature silent."""
    return program(seed, bias=-4.0)


def well(seed: int = 0) -> Program:
    """A bias of zero: half of the features speak for a sample."""
    return program(seed, bias=0.0)


LESSON = Lesson(
    name="dead_units",
    finding="dead-units",
    title="Features that never speak",
    story="A sparse autoencoder: 256 features, of which few should be active for a sample, so "
    "their biases start at -4. The reconstruction ends at the mean of the data and no feature is "
    "ever active. A ReLU whose input is negative for every sample gives zero and has slope zero, "
    "so nothing can bring it back. Count the units that are zero for all samples: half zero for "
    "one sample is normal, always zero is dead. A step that was too large leaves the same "
    "picture.",
    cure="Start the biases at zero and ask for sparsity in the loss.",
    question=Question(
        asks="ReLU units whose input is negative for every sample. How many steps wake them up?",
        choices=("one", "some hundreds", "none ever, by their own gradient"),
        right=2,
        because="their slope is zero for all samples: no sample asks them to change.",
    ),
    sick=sick,
    well=well,
)
