"""Steps that are too large without a rise of the loss: smaller ones teach what these never do."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import unvanish
from unvanish.experiments.bench import Bench

Pair = tuple[Tensor, Tensor]


class Reader(nn.Module):
    """Transformer blocks with the norm behind the sum, over words."""

    def __init__(self, blocks: int, std: float, width: int = 16) -> None:
        super().__init__()
        self.embedding = nn.Embedding(12, width)
        self.position = nn.Parameter(0.02 * torch.randn(1, 16, width))
        self.blocks = nn.Sequential(*(self.block(width) for _ in range(blocks)))
        self.head = nn.Linear(width, 3)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=std)

    @staticmethod
    def block(width: int) -> nn.Module:
        return nn.TransformerEncoderLayer(width, 4, 2 * width, 0.0, batch_first=True)

    def forward(self, words: Tensor) -> Tensor:
        return self.head(self.blocks(self.embedding(words) + self.position).mean(1))


def batches(count: int) -> list[Pair]:
    generator = torch.Generator().manual_seed(4)
    words = [torch.randint(1, 12, (64, 16), generator=generator) for _ in range(count)]
    return [(each, each[:, 1] % 3) for each in words]


def share_right(model: nn.Module, data: list[Pair], rate: float, steps: int) -> float:
    """Of the batches it is trained on, by plain training of a copy."""
    model = copy.deepcopy(model)
    optimizer = torch.optim.Adam(model.parameters(), rate)
    for step in range(steps):
        words, classes = data[step % len(data)]
        optimizer.zero_grad()
        F.cross_entropy(model(words), classes).backward()
        optimizer.step()
    with torch.no_grad():
        right = [(model(words).argmax(1) == classes).float().mean() for words, classes in data]
    return float(torch.stack(right).mean())


@pytest.mark.parametrize(("rate", "learns"), [(3e-2, False), (3e-3, True)])
def test_named_where_only_smaller_steps_teach(rate: float, learns: bool) -> None:
    torch.manual_seed(4)
    model, data = Reader(6, 0.02), batches(8)
    optimizer = torch.optim.Adam(model.parameters(), rate)
    found = unvanish.diagnose(model, data, F.cross_entropy, optimizer, steps=20)
    # Guessing is a third.
    assert (share_right(model, data, rate, 300) > 0.6) == learns
    if learns:
        assert found.healthy
        return
    (finding,) = found.findings
    assert finding.name == "step-too-large"
    assert finding.evidence["better_rate"] < 1
    assert "The step is too large: in" in str(found)
    assert share_right(model, data, rate * finding.evidence["better_rate"], 300) > 0.6


def test_large_weights_between_norms_that_learn_are_a_note() -> None:
    """The skip path alone passes on next to nothing; the branches carry the gradient."""
    torch.manual_seed(6)
    model, data = Reader(8, 0.3, width=32), batches(8)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    found = unvanish.diagnose(model, data, F.cross_entropy, optimizer, steps=20)
    assert share_right(model, data, 1e-3, 300) > 0.6
    assert [(f.name, f.severity) for f in found.findings] == [("post-norm-depth", "note")]


def test_of_a_likelihood_that_falls_below_zero_nothing_is_said() -> None:
    """No share of such a loss is gone, so that it does not say that its net knows nothing."""
    torch.manual_seed(0)
    inputs = torch.randn(64, 4)
    last = nn.Linear(32, 2)
    nn.init.constant_(last.bias, 2.0)  # wide at first: the loss is above zero
    model = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), last)

    def density(outputs: Tensor, wanted: Tensor) -> Tensor:
        mean, spread = outputs[:, :1], F.softplus(outputs[:, 1:])
        return (((wanted - mean) / spread) ** 2 / 2 + spread.log()).mean()

    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    batch = inputs, 0.02 * inputs[:, :1]
    bench = Bench(model, batch, density, None, optimizer, 0, 20)
    assert bench.shuffled_ratio() is not None
    assert bench.steps_to_know(1.0, 400) is None
