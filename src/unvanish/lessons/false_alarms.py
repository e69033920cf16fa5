"""Zeros that are as they should be, and one that is not."""

import torch
from torch import Tensor, nn

from unvanish.lessons.data import sentences
from unvanish.lessons.lesson import Lesson, Program
from unvanish.lessons.question import Question


class Tagger(nn.Module):
    """Word vectors of a large vocabulary, attention, batch norm behind a bias, ReLUs."""

    def __init__(self, bias: float) -> None:
        super().__init__()
        self.words = nn.Embedding(5000, 32)
        self.attention = nn.MultiheadAttention(32, 4, batch_first=True)
        self.hidden, self.norm = nn.Linear(32, 64), nn.BatchNorm1d(64)
        self.last, self.head = nn.Linear(64, 64), nn.Linear(64, 4)
        nn.init.constant_(self.last.bias, bias)

    def forward(self, words: Tensor) -> Tensor:
        x = self.words(words)
        x = (x + self.attention(x, x, x, need_weights=False)[0]).mean(1)
        x = torch.relu(self.norm(self.hidden(x)))
        return self.head(torch.relu(self.last(x)))


def program(seed: int, bias: float) -> Program:
    """A classifier of sentences, the last hidden layer's bias started here."""
    torch.manual_seed(seed)
    model = Tagger(bias)
    return {"model": model, "data": sentences(seed), "loss": nn.CrossEntropyLoss()}


def sick(seed: int = 0) -> Program:
    """Among many zeros one that is a fault: a layer whose units are off for every sample."""
    return program(seed, bias=-10.0)


def well(seed: int = 0) -> Program:
    """The same zeros without that one."""
    return program(seed, bias=0.0)


LESSON = Lesson(
    name="false_alarms",
    finding="dead-units",
    title="Zeros that are none of your business, and one that is",
    story="Nearly all gradient entries in this net are zero, and nearly all of these zeros are right. "
    "Words that no sample uses get none. The bias in front of a batch norm gets none, since the "
    "norm subtracts it again; the bias of attention's keys gets none, since a softmax does not "
    "see what all its entries share. Half of the ReLUs are off for a sample, as they should be. One "
    "zero is a fault: a layer whose units are off for every sample. Its size is the same as that "
    "of the others; what differs is the reason, and that stands in the structure.",
    cure="Start that layer's bias at zero; leave all the other zeros alone.",
    question=Question(
        asks="In a healthy net, which of these has a gradient of zero: the bias before a batch "
        "norm, the bias of attention's keys, the vector of a word that is not in the batch?",
        choices=("only the word's", "the word's and the bias before the norm", "all three"),
        right=2,
        because="the norm subtracts the first, the softmax does not see the second, nobody asked"
        " for the third; only rounding is left of them.",
    ),
    sick=sick,
    well=well,
    steps=60,
)
