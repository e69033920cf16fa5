"""Lists as a loader collates them, mappings that name their targets: the diagnosis of the same tuple."""

from collections import UserDict
from collections.abc import Callable
from typing import Any

import pytest
import torch
from test_standing_still import digits, mlp
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import unvanish

Pair = tuple[Tensor, Tensor]
Posed = tuple[nn.Module, Pair, Callable[[Tensor, Tensor], Tensor], torch.optim.Optimizer]


def prices() -> Posed:
    """Targets of hundreds of thousands."""
    torch.manual_seed(0)
    inputs = torch.randn(64, 8)
    targets = (inputs @ torch.randn(8, 1) + 1) * 2e5
    model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 1))
    return model, (inputs, targets), F.mse_loss, torch.optim.Adam(model.parameters())


def raw() -> Posed:
    """Float inputs in thousands that saturate the units, and targets that are fine."""
    torch.manual_seed(0)
    inputs = 1000 * torch.randn(64, 8)
    targets = torch.tanh(inputs[:, :1] / 1000)
    model = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 1))
    return model, (inputs, targets), F.mse_loss, torch.optim.Adam(model.parameters())


def deep() -> Posed:
    """Steps in proportion to the gradient, which copies have to be trained for."""
    model = mlp(64, 6, 10, nn.Sigmoid)
    return model, digits(), F.cross_entropy, torch.optim.SGD(model.parameters(), 0.1)


def mislabelled() -> Posed:
    """Targets that say nothing: half of the samples are asked about."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 2))
    batch = torch.randn(64, 8), torch.randint(2, (64,))
    return model, batch, F.cross_entropy, torch.optim.Adam(model.parameters(), 0.02)


@pytest.mark.parametrize(
    ("posed", "expected"),
    [
        (prices, "unscaled-target"),
        (raw, "unscaled-input"),
        (deep, "depth-decay"),
        (mislabelled, "nothing-to-learn"),
    ],
)
def test_same_findings(posed: Callable[[], Posed], expected: str) -> None:
    model, batch, loss, optimizer = posed()
    loader = DataLoader(TensorDataset(*batch), batch_size=len(batch[0]))
    assert isinstance(next(iter(loader)), list)
    found = [
        [f.name for f in unvanish.diagnose(model, data, loss, optimizer, steps=20).findings]
        for data in (batch, loader)
    ]
    assert found[0] == found[1]
    assert found[0][0] == expected


def test_a_forward_of_the_users_own_is_tried_as_well() -> None:
    model, batch, loss, optimizer = deep()

    def forward(net: nn.Module, pair: Pair) -> Tensor:
        return loss(net(pair[0]), pair[1])

    report = unvanish.diagnose(model, batch, forward=forward, optimizer=optimizer, steps=20)
    assert report.findings[0].name == "depth-decay"


@pytest.mark.parametrize("kind", [dict, UserDict])
@pytest.mark.parametrize(
    ("posed", "expected"),
    [(prices, "unscaled-target"), (raw, "unscaled-input"), (deep, "depth-decay")],
)
def test_same_findings_of_a_mapping(
    posed: Callable[[], Posed], expected: str, kind: Callable[[dict[str, Tensor]], Any]
) -> None:
    model, (inputs, targets), loss, optimizer = posed()

    def of_pair(model: nn.Module, batch: Pair) -> Tensor:
        return loss(model(batch[0]), batch[1])

    def of_mapping(model: nn.Module, batch: Any) -> Tensor:
        return loss(model(batch["x"]), batch["labels"])

    pair = unvanish.diagnose(
        model, (inputs, targets), forward=of_pair, optimizer=optimizer, steps=20
    )
    mapping = kind({"x": inputs, "labels": targets})
    named = unvanish.diagnose(model, [mapping], forward=of_mapping, optimizer=optimizer, steps=20)
    assert [f.name for f in named.findings] == [f.name for f in pair.findings]
    assert pair.findings[0].name == expected


def test_a_mapping_of_its_own_kind_is_not_written_into() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    batch = UserDict({"x": torch.randn(16, 4), "labels": torch.randint(2, (16,))})
    before = batch["x"].clone()

    def forward(model: nn.Module, batch: Any) -> Tensor:
        batch["x"].mul_(0.5)
        return F.cross_entropy(model(batch["x"]), batch["labels"])

    unvanish.diagnose(model, [batch], forward=forward)
    assert torch.equal(batch["x"], before)
