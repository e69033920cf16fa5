"""One weight, several calls: side by side the stretch is written as if for one; in a row it is not."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unvanish import init


class Siamese(nn.Module):
    """Two inputs through one tower; what came of both is read together."""

    def __init__(self, activation: Callable[[], nn.Module], depth: int = 20) -> None:
        super().__init__()
        layers = [part for _ in range(depth) for part in (nn.Linear(16, 16), activation())]
        self.tower = nn.Sequential(*layers)
        self.head = nn.Linear(32, 2)

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        return self.head(torch.cat([self.tower(one), self.tower(other)], 1))


class Returning(nn.Module):
    """Its own output comes back to the layer, time and again."""

    def __init__(self, rounds: int = 20) -> None:
        super().__init__()
        self.layer, self.head, self.rounds = nn.Linear(16, 16), nn.Linear(16, 2), rounds

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(self.rounds):
            x = torch.relu(self.layer(x))
        return self.head(x)


class Unlike(Siamese):
    """The second call of the last layer is given the raw input, in which no two entries pair."""

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        last = self.tower[-2]
        return self.head(torch.cat([self.tower(one), torch.relu(last(other))], 1))


def pictures() -> tuple[tuple[Tensor, Tensor], Tensor]:
    generator = torch.Generator().manual_seed(0)
    one, other = torch.randn(2, 256, 16, generator=generator)
    return (one, other), (one[:, 0] + other[:, 0] > 0).long()


@pytest.mark.parametrize("activation", [nn.Sigmoid, nn.ReLU, nn.GELU])
def test_a_tower_of_two_calls_is_an_isometry_of_each(activation: type[nn.Module]) -> None:
    torch.manual_seed(0)
    net, data = Siamese(activation), pictures()
    report = init.critical_(net, data, F.cross_entropy)
    assert not report.after.faults, str(report)
    methods = {change.method for change in report.changes if change.module != "head"}
    assert methods <= {"shaped orthogonal", "mirrored orthogonal"}, methods


def test_the_tower_learns_what_it_did_not() -> None:
    torch.manual_seed(0)
    net, ((one, other), labels) = Siamese(nn.Sigmoid), pictures()
    before, after = net, Siamese(nn.Sigmoid)
    init.critical_(after, pictures(), F.cross_entropy)
    losses = [_trained(each, one, other, labels) for each in (before, after)]
    assert losses[0] > 0.6, losses
    assert losses[1] < 0.2, losses


def _trained(net: nn.Module, one: Tensor, other: Tensor, labels: Tensor) -> float:
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for _ in range(100):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(one, other), labels)
        loss.backward()
        optimizer.step()
    return float(loss.detach())


def test_a_layer_that_its_own_output_comes_back_to_is_not_paired() -> None:
    torch.manual_seed(0)
    report = init.critical_(Returning(), (pictures()[0][0], pictures()[1]), F.cross_entropy)
    assert {c.method for c in report.changes if c.module == "layer"} == {"orthogonal"}


def test_pairs_are_taken_back_where_another_call_reads_no_pairs() -> None:
    torch.manual_seed(0)
    net = Unlike(nn.ReLU)
    report = init.critical_(net, pictures(), F.cross_entropy)
    said = {change.module: change.method for change in report.changes}
    assert said["tower.36"] == "last of a stretch orthogonal", said
    weight = net.tower[38].weight.detach().double()
    assert torch.linalg.matrix_rank(weight) == 16, "it reads every entry as a number of its own"
