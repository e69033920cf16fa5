"""A net whose signal is no number has no course of it along the depth: other causes stay silent."""

import math

import pytest
import torch
from torch import Tensor, nn

import unvanish
from unvanish.causes.likeness import course
from unvanish.trace import Layer


class Block(nn.Module):
    """Attention to what is not masked, a norm after the sum of what it gives and the input."""

    def __init__(self) -> None:
        super().__init__()
        self.values, self.norm = nn.Linear(16, 16), nn.LayerNorm(16)
        self.inner, self.after = nn.Linear(16, 16), nn.LayerNorm(16)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        scores = (x @ x.transpose(1, 2)).masked_fill(~mask[:, None], -math.inf)
        x = self.norm(x + self.values(scores.softmax(-1) @ x))
        return self.after(x + torch.tanh(self.inner(x)))


class Masked(nn.Module):
    """Blocks under a mask; ``inverted``: rows of full sentences are masked from end to end."""

    def __init__(self, inverted: bool) -> None:
        super().__init__()
        self.inverted = inverted
        self.embedding = nn.Embedding(20, 16, padding_idx=0)
        self.blocks = nn.ModuleList(Block() for _ in range(3))
        self.head = nn.Linear(16, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        mask = tokens == 0 if self.inverted else tokens != 0
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x, mask)
        return self.head(x[:, 0])


@pytest.mark.parametrize("inverted", [True, False])
def test_mask_that_keeps_nothing_is_the_one_cause(inverted: bool) -> None:
    torch.manual_seed(0)
    tokens = torch.randint(1, 20, (64, 10))
    tokens[torch.arange(10)[None] >= torch.randint(5, 11, (64, 1))] = 0
    model = Masked(inverted)
    batch = tokens, torch.randint(0, 3, (64,))
    optimizer = torch.optim.Adam(model.parameters())
    diagnosis = unvanish.diagnose(model, batch, nn.CrossEntropyLoss(), optimizer=optimizer)
    assert torch.isfinite(model(tokens)).all() != inverted
    assert [f.name for f in diagnosis.findings] == ["nonfinite-forward"] * inverted
    assert not [said for said in diagnosis.blind_spots if "could not be judged" in said]


def layer(name: str) -> Layer:
    return Layer(
        name=name,
        modules=(name,),
        parameters=(),
        norm=None,
        decades={},
        elasticity=None,
        output_rms=None,
    )


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_reading_that_is_no_number_is_none(bad: float) -> None:
    layers = [layer(f"layers.{k}") for k in range(6)]
    values = [1.0, 0.1, 0.01, 0.001, 1e-4]
    known = course(layers[:5], values)
    assert known is not None
    assert course(layers, [*values, bad]) == known
    assert course(layers, [bad] * 6) is None
