"""The truth by other means: autograd on the tensors themselves, and dominators by search."""

from collections.abc import Callable, Sequence
from typing import Any

import networkx
import torch
from torch import Tensor

from unvanish.trace import Op

Stage = Callable[[Tensor], Tensor]


def arriving_norms(stages: Sequence[Stage], source: Tensor) -> list[float]:
    """|dL/dh| for the input and the output of every stage; the last stage gives the loss."""
    values = [source.detach().clone().requires_grad_()]
    for stage in stages:
        values.append(stage(values[-1]))
    gradients = torch.autograd.grad(values[-1], values)
    return [float(g.detach().double().norm()) for g in gradients]


def jacobian_norms(stages: Sequence[Stage], source: Tensor) -> list[float]:
    """The same without reverse mode: each stage's Jacobian by forward mode, multiplied up."""
    values = [source]
    for stage in stages:
        values.append(stage(values[-1]))
    gradient = torch.ones_like(values[-1]).reshape(1, -1)
    norms = [float(gradient.norm())]
    for stage, value in zip(reversed(stages), reversed(values[:-1]), strict=True):
        jacobian = torch.func.jacfwd(stage)(value)
        gradient = gradient @ jacobian.reshape(gradient.shape[1], -1)
        norms.append(float(gradient.detach().norm()))
    return norms[::-1]


def data_graph(ops: Sequence[Op]) -> Any:
    """The data side of the ledger as a graph from the loss to the leaves."""
    graph = networkx.MultiDiGraph()
    graph.add_nodes_from(op.index for op in ops)
    for op in ops:
        graph.add_edges_from(
            (op.index, edge.target)
            for edge in op.edges
            if edge.target is not None and edge.side == "data"
        )
    return graph


def dominators(ops: Sequence[Op], root: int, sink: int) -> list[int]:
    """Every op without which the sink is out of reach of the root, by taking each away in turn."""
    graph = data_graph(ops)
    on_path = (networkx.descendants(graph, root) | {root}) & (
        networkx.ancestors(graph, sink) | {sink}
    )
    found: list[int] = []
    for node in sorted(on_path):
        rest = networkx.restricted_view(graph, [node], []) if node not in (root, sink) else None
        if rest is None or not networkx.has_path(rest, root, sink):
            found.append(node)
    return found
