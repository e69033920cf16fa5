"""A deep transformer that normalises after each sum."""

import torch
from torch import Tensor, nn

from unvanish.lessons.data import sentences
from unvanish.lessons.lesson import Lesson, Program
from unvanish.lessons.question import Question


class Encoder(nn.Module):
    """Word vectors, many transformer blocks, a head on their mean."""

    def __init__(self, blocks: int, norm_first: bool) -> None:
        super().__init__()
        self.words = nn.Embedding(60, 32)
        block = nn.TransformerEncoderLayer(
            32, 4, 64, dropout=0.0, batch_first=True, norm_first=norm_first
        )
        self.blocks = nn.TransformerEncoder(block, blocks, enable_nested_tensor=False)
        for parameter in self.blocks.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
        self.head = nn.Linear(32, 4)

    def forward(self, words: Tensor) -> Tensor:
        return self.head(self.blocks(self.words(words)).mean(1))


def program(seed: int, *, norm_first: bool) -> Program:
    """A transformer that normalises before its branches or after its sums."""
    torch.manual_seed(seed)
    model = Encoder(40, norm_first)
    return {
        "model": model,
        "data": sentences(seed, length=6, samples=16),
        "loss": nn.CrossEntropyLoss(),
    }


def sick(seed: int = 0) -> Program:
    """X = norm(x + branch(x)), torch's default."""
    return program(seed, norm_first=False)


def well(seed: int = 0) -> Program:
    """X = x + branch(norm(x))."""
    return program(seed, norm_first=True)


LESSON = Lesson(
    name="post_norm_depth",
    finding="post-norm-depth",
    title="Forty blocks of the original transformer",
    story="Six blocks learned well, so you took forty, and the loss stands on a plateau. The "
    "gradient norms are flat from the last block to the first: nothing seems to vanish. But the "
    "original transformer normalises after each residual sum, and every norm divides what came "
    "along the skip by the size of the sum. Multiply these factors: of the path that should carry "
    "the gradient past all blocks, next to nothing is left. Papers that train such models warm "
    "the learning rate up over thousands of steps.",
    cure="Normalise before each branch instead of after the sum: norm_first=True.",
    question=Question(
        asks="Forty post-norm blocks. Where are the norms of the weights' gradients smallest?",
        choices=(
            "in the first blocks, by many decades",
            "in the last blocks",
            "they are about the same",
        ),
        right=2,
        because="the norms bring every gradient to scale; what is lost is the part that comes by"
        " the skips.",
    ),
    sick=sick,
    well=well,
    steps=20,
)
