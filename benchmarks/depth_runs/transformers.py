"""Transformers of any depth on the rows of pictures, without warm-up: where the norm stands.

Eight tokens, 32 features, blocks of attention and a feed-forward part: pre-norm, post-norm,
post-norm with DeepNorm's factors set by hand (Wang et al. 2022, arXiv:2203.00555), and neither
skip nor norm.
"""

import argparse
import itertools
import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from depth_runs.cell import Cell, Figures, Trial
from depth_runs.contestants import OURS, Prepare, critical, default
from depth_runs.tasks import TASKS, Task
from depth_runs.training import train

DEPTHS = (6, 24, 100)
PICTURES = ("digits", "signed digits")
STEPS, BATCH = 200, 32
WIDTH, TOKENS = 32, 8
NOTE = f"""Depth counts blocks. {STEPS} steps of {BATCH} samples, Adam, no warm-up. The middle rate is
0.005 over the root of the number of blocks; without skips 0.03 over the number of weighted layers in
a row, four a block."""


class Block(nn.Module):
    """Attention, then two linear layers; ``kind`` says where skips and norms are."""

    def __init__(self, kind: str, alpha: float) -> None:
        super().__init__()
        self.kind, self.alpha = kind, alpha
        self.attention = nn.MultiheadAttention(WIDTH, 4, batch_first=True)
        self.up, self.down = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)
        self.relu = nn.ReLU()
        if kind != "skip-free":
            self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)

    def attend(self, x: Tensor) -> Tensor:
        return self.attention(x, x, x, need_weights=False)[0]

    def feed(self, x: Tensor) -> Tensor:
        return self.down(self.relu(self.up(x)))

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "skip-free":
            return self.feed(self.attend(x))
        if self.kind == "pre-norm":
            x = x + self.attend(self.norm1(x))
            return x + self.feed(self.norm2(x))
        x = self.norm1(self.alpha * x + self.attend(x))
        return self.norm2(self.alpha * x + self.feed(x))


class Tokens(nn.Module):
    """A row of 64 pixels as eight tokens of 32 features that know their place."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(8, WIDTH)
        self.place = nn.Parameter(0.02 * torch.randn(TOKENS, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return self.embed(x.unflatten(1, (TOKENS, -1))) + self.place


class MeanToken(nn.Module):
    """The average over the tokens."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)


def transformer(kind: str, blocks: int, classes: int, alpha: float = 1.0) -> nn.Sequential:
    middle: list[nn.Module] = [Block(kind, alpha) for _ in range(blocks)]
    if kind == "pre-norm":
        middle.append(nn.LayerNorm(WIDTH))
    return nn.Sequential(Tokens(), *middle, MeanToken(), nn.Linear(WIDTH, classes))


def deep_norm(model: nn.Module, task: Task) -> nn.Module:
    """DeepNorm's beta for an encoder, (8 N)^(-1/4), on values, outputs and feed-forward weights."""
    blocks = [module for module in model.modules() if isinstance(module, Block)]
    beta = (8 * len(blocks)) ** -0.25
    for block in blocks:
        query, key, value = block.attention.in_proj_weight.detach().chunk(3)
        nn.init.xavier_normal_(query)
        nn.init.xavier_normal_(key)
        for weight in (value, block.attention.out_proj.weight, block.up.weight, block.down.weight):
            nn.init.xavier_normal_(weight, gain=beta)
        nn.init.zeros_(block.up.bias)
        nn.init.zeros_(block.down.bias)
    return model


CONTESTANTS: dict[str, tuple[str, Prepare]] = {
    "pre-norm, torch's default": ("pre-norm", default),
    f"pre-norm, {OURS}": ("pre-norm", critical),
    "post-norm, torch's default": ("post-norm", default),
    "post-norm, DeepNorm by hand": ("post-norm", deep_norm),
    f"post-norm, {OURS}": ("post-norm", critical),
    "no skip, no norm, torch's default": ("skip-free", default),
    f"no skip, no norm, {OURS}": ("skip-free", critical),
}


def trial(pictures: str, kind: str, blocks: int, prepare: Prepare) -> Trial:
    alpha = (2 * blocks) ** 0.25 if prepare is deep_norm else 1.0

    def run(rate: float, seed: int, refit: bool) -> Figures:
        task = TASKS[pictures]()
        made = lambda: prepare(transformer(kind, blocks, task.classes, alpha), task)  # noqa: E731
        return train(made, task, "adam", rate, STEPS, seed, refit, batch=BATCH, warm_up=0)

    return run


def transformer_cells(options: argparse.Namespace) -> Iterator[Cell]:
    for pictures, blocks in itertools.product(PICTURES, DEPTHS):
        for name, (kind, prepare) in CONTESTANTS.items():
            center = 0.03 / (4 * blocks) if kind == "skip-free" else 5e-3 / math.sqrt(blocks)
            once = trial(pictures, kind, blocks, prepare)
            yield Cell(name, pictures, blocks, "adam", center, once)
