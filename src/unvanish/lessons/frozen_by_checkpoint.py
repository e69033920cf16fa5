"""Gradient checkpointing behind a frozen embedding."""

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from unvanish.lessons.data import sentences
from unvanish.lessons.lesson import Lesson, Program
from unvanish.lessons.question import Question


class Classifier(nn.Module):
    """A frozen table of word vectors, a trunk that is checkpointed to save memory, a head."""

    def __init__(self, use_reentrant: bool) -> None:
        super().__init__()
        self.words = nn.Embedding(60, 32).requires_grad_(False)
        self.trunk = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU())
        self.head = nn.Linear(32, 4)
        self.use_reentrant = use_reentrant

    def forward(self, words: Tensor) -> Tensor:
        x = checkpoint(self.trunk, self.words(words), use_reentrant=self.use_reentrant)
        assert isinstance(x, Tensor)
        return self.head(x.mean(1))


def program(seed: int, use_reentrant: bool) -> Program:
    """A text classifier, checkpointed in one or the other way."""
    torch.manual_seed(seed)
    model = Classifier(use_reentrant)
    return {"model": model, "data": sentences(seed), "loss": nn.CrossEntropyLoss()}


def sick(seed: int = 0) -> Program:
    """The old, reentrant kind of checkpointing."""
    return program(seed, use_reentrant=True)


def well(seed: int = 0) -> Program:
    """The kind that torch recommends now."""
    return program(seed, use_reentrant=False)


LESSON = Lesson(
    name="frozen_by_checkpoint",
    finding="frozen-by-checkpoint",
    title="Checkpointing behind a frozen embedding",
    story="You turned gradient checkpointing on to fit a larger batch, and fine-tuning got worse: "
    "the loss still falls, but not as far. torch warned that none of the inputs have "
    "requires_grad, as it does in many programs where it means nothing. Look at .grad of the "
    "trunk: it is None. The reentrant kind of checkpoint builds a graph only if a tensor passed to "
    "it requires grad, and what comes out of a frozen embedding does not.",
    cure="Pass use_reentrant=False to checkpoint.",
    question=Question(
        asks="A checkpointed trunk behind a frozen embedding. What is .grad of the trunk's "
        "weights?",
        choices=("None", "zero", "small"),
        right=0,
        because="the reentrant checkpoint builds no graph if no input requires grad: they are "
        "not reached.",
    ),
    sick=sick,
    well=well,
)
