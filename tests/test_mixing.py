"""Nets whose depth holds what no weight makes: graphs that mix their nodes, factors in forward."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import unvanish
from unvanish.diagnosis import Diagnosis

SEEDS = (0, 1, 2)
NODES, CLASSES = 100, 4


def graph(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """A graph of four communities by its normalised adjacency; features and labels of its nodes."""
    source = torch.Generator().manual_seed(seed)
    labels = torch.arange(NODES) % CLASSES
    chance = torch.where(labels[:, None] == labels[None], 0.15, 0.01)
    edges = (torch.rand(NODES, NODES, generator=source) < chance).float()
    edges = ((edges + edges.T) > 0).float().fill_diagonal_(1.0)
    degree = edges.sum(1).sqrt()
    features = torch.randn(NODES, 16, generator=source) + F.one_hot(labels, 16).float()
    return edges / degree[:, None] / degree[None], features, labels


class GraphNet(nn.Module):
    """x = relu(A W x) so many times, from torch's own initial values or from He's (zero biases)."""

    def __init__(self, adjacency: Tensor, depth: int, he: bool, skips: bool = False) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(16, 32), nn.Linear(32, CLASSES)
        self.layers = nn.ModuleList(nn.Linear(32, 32) for _ in range(depth))
        self.adjacency, self.skips = adjacency, skips
        for layer in self.layers if he else ():
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = F.relu(self.stem(inputs))
        for layer in self.layers:
            mixed = F.relu(self.adjacency @ layer(hidden))
            hidden = hidden + 0.2 * mixed if self.skips else mixed
        return self.head(hidden)


def diagnosed(depth: int, he: bool, seed: int, skips: bool = False) -> Diagnosis:
    adjacency, features, labels = graph(seed)
    torch.manual_seed(seed)
    model = GraphNet(adjacency, depth, he, skips)
    return unvanish.diagnose(model, (features, labels), F.cross_entropy)


def likeness(depth: int, he: bool, seed: int) -> float:
    """One minus the mean cosine between the nodes behind the last layer, in float64."""
    adjacency, features, _ = graph(seed)
    torch.manual_seed(seed)
    model = GraphNet(adjacency, depth, he).double()
    model.adjacency = adjacency.double()
    seen: list[Tensor] = []
    model.head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    model(features.double())
    units = F.normalize(seen[0], dim=1)
    return 1 - float((units @ units.T).mean())


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("depth", [16, 24, 32])
@pytest.mark.parametrize("he", [False, True])
def test_alike_nodes_are_never_ruled_out(he: bool, depth: int, seed: int) -> None:
    """All depths end with nodes that differ in less than a hundredth of their energy."""
    assert likeness(depth, he, seed) < 1e-2
    diagnosis = diagnosed(depth, he, seed)
    assert "collapsed-signal" not in [item.name for item in diagnosis.ruled_out]


@pytest.mark.parametrize("seed", SEEDS)
def test_skips_keep_nodes_apart(seed: int) -> None:
    """What is named at the right scale of the weights, and gone with the remedy named first."""
    worst = diagnosed(48, True, seed).findings[0]
    assert (worst.name, worst.remedies[0]) == ("collapsed-signal", "gated-residual")
    assert "collapsed-signal" not in [
        f.name for f in diagnosed(48, True, seed, skips=True).findings
    ]


class Faded(nn.Module):
    """He's weights, and a factor below one that the forward pass puts behind each layer."""

    def __init__(self, factor: float, skips: bool = False) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(32, 32) for _ in range(24))
        self.head = nn.Linear(32, 4)
        self.factor, self.skips = factor, skips
        for layer in self.layers:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")

    def forward(self, inputs: Tensor) -> Tensor:
        for layer in self.layers:
            made = self.factor * F.relu(layer(inputs))
            inputs = inputs + made / 4 if self.skips else made
        return self.head(inputs)


@pytest.mark.parametrize("seed", SEEDS)
def test_remedy_acts_where_the_decades_go(seed: int) -> None:
    """No initialisation in use makes up for a constant: the skips that are named first do."""
    torch.manual_seed(seed)
    data = torch.randn(64, 32), torch.randint(4, (64,))
    diagnosis = unvanish.diagnose(Faded(0.4), data, F.cross_entropy)
    worst = next(f for f in diagnosis.findings if f.name == "depth-decay")
    assert worst.because is None
    assert worst.remedies[0] == "gated-residual"
    again = unvanish.diagnose(Faded(0.4), data, F.cross_entropy)  # fresh weights of He
    assert "depth-decay" in [f.name for f in again.findings]
    mended = unvanish.diagnose(Faded(0.4, skips=True), data, F.cross_entropy)
    assert "depth-decay" not in [f.name for f in mended.findings]
