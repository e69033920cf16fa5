"""Inputs and labels that were shuffled apart."""

import torch
from torch import nn

from unvanish.lessons.data import clusters
from unvanish.lessons.lesson import Lesson, Program
from unvanish.lessons.question import Question


def program(seed: int, *, together: bool) -> Program:
    """A classifier of samples in random order."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4))
    inputs, labels = clusters(seed, classes=4)
    order = torch.randperm(len(inputs))
    inputs = inputs[order]
    labels = labels[order if together else torch.randperm(len(labels))]
    return {
        "model": model,
        "data": (inputs, labels),
        "loss": nn.CrossEntropyLoss(),
        "optimizer": torch.optim.Adam(model.parameters(), 3e-3),
        "steps": 20,
    }


def sick(seed: int = 0) -> Program:
    """Inputs and labels are shuffled, each for itself."""
    return program(seed, together=False)


def well(seed: int = 0) -> Program:
    """Both are shuffled in the same order."""
    return program(seed, together=True)


LESSON = Lesson(
    name="nothing_to_learn",
    finding="nothing-to-learn",
    title="Shuffled apart",
    story="The training loss goes down as it should; on fresh samples the network guesses. The "
    "gradient is in order, the step size is in order, more dropout does not help. So it is not the "
    "network: learn one half of a batch and ask about the other half. What was learned says no "
    "more about it than shuffled labels would. Here that is what they are: inputs and labels were "
    "put in random order one after the other, and not together.",
    cure="Shuffle inputs and labels by the same order.",
    question=Question(
        asks="The labels are shuffled. What does the training loss do?",
        choices=("it stays at a guess", "it falls as it should"),
        right=1,
        because="a net with enough weights learns any labels by heart; only unseen samples tell.",
    ),
    sick=sick,
    well=well,
)
