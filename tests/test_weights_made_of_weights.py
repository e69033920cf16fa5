"""Weights that are made of weights by many steps of their own: each step is walked once."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import unvanish
from unvanish.layers import parameters_behind
from unvanish.trace import Edge, Op

ITERATIONS = 20


class Sorted(nn.Module):
    """A learned soft permutation of eight features: Sinkhorn's iterations on a weight matrix.

    Each of them reads what came before it twice: there are 2 ** 40 ways through twenty.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scores, self.head = nn.Parameter(0.1 * torch.randn(8, 8)), nn.Linear(8, 3)

    def permutation(self) -> Tensor:
        logarithm = self.scores
        for _ in range(ITERATIONS):
            logarithm = logarithm - logarithm.logsumexp(1, keepdim=True)
            logarithm = logarithm - logarithm.logsumexp(0, keepdim=True)
        return logarithm.exp()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(x @ self.permutation()))


def test_a_learned_permutation_is_diagnosed_and_is_well() -> None:
    torch.manual_seed(0)
    model, x = Sorted(), torch.randn(64, 8)
    labels = x[:, :3].argmax(1)
    sums = model.permutation().sum(0), model.permutation().sum(1)
    assert all(torch.allclose(s, torch.ones(8), atol=1e-4) for s in sums)
    diagnosis = unvanish.diagnose(model, (x, labels), nn.CrossEntropyLoss())
    assert diagnosis.healthy, [f.name for f in diagnosis.findings]
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    begun = float(F.cross_entropy(model(x), labels).detach())
    for _ in range(100):
        optimizer.zero_grad()
        F.cross_entropy(model(x), labels).backward()
        optimizer.step()
    assert float(F.cross_entropy(model(x), labels).detach()) < 0.8 * begun


def test_the_permutation_is_seen_behind_its_layer() -> None:
    torch.manual_seed(0)
    batch = torch.randn(64, 8), torch.arange(64) % 3
    ops = unvanish.diagnose(Sorted(), batch, F.cross_entropy).trace.ops
    behind = [
        parameters_behind(ops, edge) for op in ops for edge in op.edges if edge.side == "parameter"
    ]
    assert ["scores"] in behind
    assert all(len(names) == len(set(names)) for names in behind)


def edge(target: int | None) -> Edge:
    return Edge(target=target, slot=0, side="parameter")


def op(index: int, *targets: int, parameter: str | None = None) -> Op:
    """An op that reads others, all of them on the side of the parameters."""
    return Op(
        index=index,
        kind="AccumulateGrad" if parameter else "Sub",
        role="",
        module="",
        call=0,
        parameter=parameter,
        edges=tuple(edge(target) for target in targets),
    )


def test_each_parameter_is_named_once() -> None:
    """A ladder in which each op reads both of the next rung, down to two parameters."""
    rungs = 60
    ladder = [op(i, i // 2 * 2 + 2, i // 2 * 2 + 3) for i in range(2 * rungs)]
    ends = [op(2 * rungs + i, parameter=name) for i, name in enumerate(("left", "right"))]
    assert sorted(parameters_behind([*ladder, *ends], edge(0))) == ["left", "right"]
    assert parameters_behind([*ladder, *ends], edge(None)) == []
