"""Answers that depend on the other samples of their batch are listed; those that do not are not."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import unvanish
from unvanish.causes.cause import Expected

torch.manual_seed(0)
SERIES = torch.randn(32, 10, 8)
CLASSES = (SERIES[:, -1, 0] > 0).long()


class Reader(nn.Module):
    """A head over what ``read`` makes of a series, in features of 16."""

    def __init__(self, read: Callable[[nn.Module, Tensor], Tensor], part: nn.Module) -> None:
        super().__init__()
        self.read, self.part, self.head = read, part, nn.Linear(16, 2)

    def forward(self, series: Tensor) -> Tensor:
        return self.head(self.read(self.part, series))


def last_state(part: nn.Module, series: Tensor) -> Tensor:
    return part(series)[0][:, -1]


def last_row(part: nn.Module, series: Tensor) -> Tensor:
    return part(series)[:, -1]


def last_entry(part: nn.Module, series: Tensor) -> Tensor:
    return part(series[:, -1])


def attention(batch_first: bool) -> nn.Module:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=batch_first)
    return nn.Sequential(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), wide(8))


def wide(features: int) -> nn.Module:
    return nn.Linear(features, 16)


MIXING: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "an LSTM that reads time first": (lambda: Reader(last_state, nn.LSTM(8, 16)), "part"),
    "attention that reads time first": (
        lambda: Reader(last_row, attention(batch_first=False)),
        "part.0.layers.0.self_attn",
    ),
    "a softmax over the batch": (
        lambda: Reader(last_entry, nn.Sequential(wide(8), nn.Softmax(dim=0))),
        "part.1",
    ),
}
APART: dict[str, Callable[[], nn.Module]] = {
    "an LSTM that reads the batch first": lambda: Reader(
        last_state, nn.LSTM(8, 16, batch_first=True)
    ),
    "attention that reads the batch first": lambda: Reader(last_row, attention(batch_first=True)),
    "a softmax over features": lambda: Reader(
        last_entry, nn.Sequential(wide(8), nn.Softmax(dim=1))
    ),
    "batch norm and dropout": lambda: Reader(
        last_entry, nn.Sequential(wide(8), nn.BatchNorm1d(16), nn.Dropout())
    ),
    "a norm over the batch by choice": lambda: Reader(
        last_entry, nn.Sequential(wide(8), nn.BatchNorm1d(16, track_running_stats=False))
    ),
    "noise": lambda: Reader(lambda part, series: torch.randn(len(series), 16) * part(series[:, -1]), wide(8)),
    "chaos, which amplifies what is rounded": lambda: Reader(
        last_entry, nn.Sequential(wide(8), *(chaotic() for _ in range(40)))
    ),
}  # fmt: skip


def chaotic() -> nn.Module:
    layer = nn.Linear(16, 16)
    nn.init.normal_(layer.weight, std=2.0)
    return nn.Sequential(layer, nn.Tanh())


def listed(model: nn.Module, **how: Any) -> list[Expected]:
    found = unvanish.diagnose(model, (SERIES, CLASSES), **how)
    return [item for item in found.expected if item.name == "mixed-samples"]


def through_forward(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


@pytest.mark.parametrize("name", MIXING)
def test_answers_that_depend_on_the_batch_are_listed_where_it_begins(name: str) -> None:
    torch.manual_seed(0)
    build, place = MIXING[name]
    model = build()
    for how in ({"loss": F.cross_entropy}, {"forward": through_forward}):
        (item,) = listed(model, **how)
        assert item.where == (place,)
    # The independent truth: the same samples, answered by themselves.
    model.eval()
    with torch.no_grad():
        whole, alone = model(SERIES)[16:], model(SERIES[16:])
    assert not torch.allclose(whole, alone, rtol=1e-2)


@pytest.mark.parametrize("name", APART)
def test_samples_that_stand_apart_are_not_listed(name: str) -> None:
    torch.manual_seed(0)
    assert not listed(APART[name](), loss=F.cross_entropy)


def test_nothing_to_learn_points_there_before_it_blames_the_data() -> None:
    torch.manual_seed(0)
    model = Reader(last_state, nn.LSTM(8, 16))
    series = torch.randn(64, 20, 8)
    data = series, (series[:, 3, 0] > 0).long()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    found = unvanish.diagnose(model, data, F.cross_entropy, optimizer=optimizer, steps=20)
    (finding,) = found.findings
    assert (finding.name, finding.where) == ("nothing-to-learn", ("part",))
    assert "look first at the module" in str(found)


def test_a_graph_that_cannot_be_halved_is_no_failure() -> None:
    torch.manual_seed(0)
    nodes, edges = torch.randn(12, 8), torch.rand(12, 12).softmax(1)

    class Graph(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(8, 2)

        def forward(self, given: Tensor) -> Tensor:
            return self.head(edges @ given)

    found = unvanish.diagnose(Graph(), (nodes, (nodes[:, 0] > 0).long()), F.cross_entropy)
    assert not any("not possible" in said for said in found.blind_spots)
    assert not any(item.name == "mixed-samples" for item in found.expected)
