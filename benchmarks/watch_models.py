"""The three trainings that watchers are measured on; each is made the same every time."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from models import BasicBlock
from torch import Tensor, nn


@dataclass
class Training:
    """A model, its optimizer, and one loss; ``step`` lets a watcher work before the update."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    loss: Callable[[], Tensor]

    def backward(self) -> None:
        self.optimizer.zero_grad()
        self.loss().backward()


def _training(model: nn.Module, inputs: Tensor, targets: Tensor) -> Training:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def loss() -> Tensor:
        return F.cross_entropy(model(inputs).flatten(0, -2), targets.flatten())

    return Training(model, optimizer, loss)


def mlp() -> Training:
    """50 layers of width 256, batch 256: many gradients, little arithmetic; the worst case."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for _ in range(50):
        layer = nn.Linear(256, 256)
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        layers += [layer, nn.ReLU()]
    return _training(
        nn.Sequential(*layers, nn.Linear(256, 10)), torch.randn(256, 256), torch.randint(10, (256,))
    )


def cnn() -> Training:
    """A ResNet-18 for 32 x 32 images, batch 32."""
    torch.manual_seed(0)
    widths = ((64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1))
    blocks: list[nn.Module] = [
        nn.Conv2d(3, 64, 3, 1, 1, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
    ]
    inside = 64
    for outside, stride in widths:
        blocks.append(BasicBlock(inside, outside, stride))
        inside = outside
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))
    return _training(
        nn.Sequential(*blocks, *head), torch.randn(32, 3, 32, 32), torch.randint(10, (32,))
    )


class Block(nn.Module):
    """A pre-norm transformer block with causal attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attend, self.mix = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        parts = self.attend(self.norm1(x)).view(batch, length, 3, self.heads, -1)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.mix(mixed.transpose(1, 2).reshape(batch, length, width))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Gpt(nn.Module):
    """6 layers, width 256, 4 heads, 4,096 tokens, context 128."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(4096, 256), nn.Embedding(128, 256)
        self.blocks = nn.Sequential(*(Block(256, 4) for _ in range(6)))
        self.norm, self.head = nn.LayerNorm(256), nn.Linear(256, 4096, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.tokens(tokens) + self.places.weight[: tokens.shape[1]]
        return self.head(self.norm(self.blocks(x)))


def gpt() -> Training:
    """The small GPT on batches of 8 x 128 tokens."""
    torch.manual_seed(0)
    tokens = torch.randint(4096, (8, 128))
    return _training(Gpt(), tokens, tokens.roll(-1, 1))


TRAININGS: dict[str, Callable[[], Training]] = {"mlp": mlp, "gpt": gpt, "cnn": cnn}
