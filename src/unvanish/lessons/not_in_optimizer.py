"""A new head, and an optimizer that was made before it."""

import torch
from torch import nn

from unvanish.lessons.data import clusters
from unvanish.lessons.lesson import Lesson, Program
from unvanish.lessons.question import Question


def program(seed: int, *, head_first: bool) -> Program:
    """A pretrained network with a new head, made before or after the optimizer."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1000))
    if head_first:
        model[2] = nn.Linear(64, 10)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    if not head_first:
        model[2] = nn.Linear(64, 10)
    return {
        "model": model,
        "data": clusters(seed),
        "loss": nn.CrossEntropyLoss(),
        "optimizer": optimizer,
    }


def sick(seed: int = 0) -> Program:
    """The head is replaced when the optimizer is already there."""
    return program(seed, head_first=False)


def well(seed: int = 0) -> Program:
    """The optimizer is made when the model is complete."""
    return program(seed, head_first=True)


LESSON = Lesson(
    name="not_in_optimizer",
    finding="not-in-optimizer",
    title="The head that came after the optimizer",
    story="A pretrained network, its head replaced for your ten classes. It trains, but badly, and "
    "the gradients look healthy everywhere; those of the head even grow, as zero_grad passes them "
    "by. So the gradient arrives and is not used: compare the tensors in optimizer.param_groups "
    "with model.parameters(). The optimizer still holds the old head, which is in no model any "
    "more, and has never heard of the new one.",
    cure="Make the optimizer after the model is complete: swap the two lines.",
    question=Question(
        asks="The head is not among the optimizer's parameters. How large are its gradients "
        "after some steps?",
        choices=("zero", "as at the start", "larger and larger"),
        right=2,
        because="optimizer.zero_grad passes them by as well, so that they add up.",
    ),
    sick=sick,
    well=well,
)
