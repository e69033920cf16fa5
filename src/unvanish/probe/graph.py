"""The backward graph as arrays: nodes, edges, an order from the loss, who owns which leaf."""

import heapq
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from unvanish.kinds import op_kind
from unvanish.probe.spans import LEAF_NUMBER, number_of


def nodes_behind(tensor: Tensor) -> Iterator[Any]:
    """Every autograd node that the gradient of a tensor passes, each once, in no special order."""
    seen, pending = set[Any](), [tensor.grad_fn]
    while pending:
        node = pending.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        pending += [target for target, _ in node.next_functions]


def is_reentrant_checkpoint(handle: Any) -> bool:
    """Whether this node is torch's reentrant checkpoint, which recomputes inside backward."""
    return type(handle).__name__ == "CheckpointFunctionBackward"


@dataclass(slots=True)
class Node:
    """One autograd node while the graph is alive; ``handle`` keeps its Python identity."""

    handle: Any
    kind: str
    number: int
    thread: int
    edges: list[tuple[int | None, int]]
    leaf: Tensor | None = None
    inside: int | None = None
    custom: bool = False


@dataclass(slots=True)
class BackwardGraph:
    """Every node reached from the loss. ``consumers[(node, slot)]`` counts the edges into it."""

    nodes: list[Node] = field(default_factory=list["Node"])
    roots: list[int] = field(default_factory=list[int])
    consumers: dict[tuple[int, int], int] = field(default_factory=dict[tuple[int, int], int])
    index_of: dict[Any, int] = field(default_factory=dict[Any, int])
    spliced: set[int] = field(default_factory=set[int])
    """Seams of recomputed stretches: they pass the gradient on as it is."""

    def add(self, roots: list[Any], inside: int | None = None) -> list[int]:
        """Walk from these nodes; returns the indices of nodes that were not known before."""
        fresh: list[int] = []
        pending = [root for root in roots if self._register(root, inside, fresh)]
        while pending:
            handle = pending.pop()
            node = self.nodes[self.index_of[handle]]
            for target, slot in handle.next_functions:
                if target is None:
                    node.edges.append((None, slot))
                    continue
                if self._register(target, inside, fresh):
                    pending.append(target)
                index = self.index_of[target]
                node.edges.append((index, slot))
                self.consumers[index, slot] = self.consumers.get((index, slot), 0) + 1
        if inside is None:
            self.roots += [self.index_of[root] for root in roots]
        return fresh

    def _register(self, handle: Any, inside: int | None, fresh: list[int]) -> bool:
        if handle in self.index_of:
            return False
        index = self.index_of[handle] = len(self.nodes)
        number = number_of(handle)
        leaf = getattr(handle, "variable", None) if number == LEAF_NUMBER else None
        kind = op_kind(handle.name())
        thread = threading.get_ident()
        custom = isinstance(handle, torch.autograd.function.BackwardCFunction)
        self.nodes.append(Node(handle, kind, number, thread, [], leaf, inside, custom))
        fresh.append(index)
        return True

    def release(self) -> None:
        """Let go of autograd's nodes and of the leaves."""
        self.index_of.clear()
        for node in self.nodes:
            node.handle = node.leaf = None

    def order(self) -> list[int]:
        """Indices from the loss to the leaves, every node after all its consumers.

        Ties go to the node made last, as autograd's own engine does, leaves at the end.
        """
        waiting = [0] * len(self.nodes)
        for node in self.nodes:
            for target, _ in node.edges:
                if target is not None:
                    waiting[target] += 1
        ready = [self._priority(i) for i, count in enumerate(waiting) if count == 0]
        heapq.heapify(ready)
        ordered: list[int] = []
        while ready:
            index = heapq.heappop(ready)[-1]
            ordered.append(index)
            for target, _ in self.nodes[index].edges:
                if target is not None:
                    waiting[target] -= 1
                    if waiting[target] == 0:
                        heapq.heappush(ready, self._priority(target))
        return ordered

    def _priority(self, index: int) -> tuple[bool, int, int]:
        node = self.nodes[index]
        return node.number == LEAF_NUMBER, -node.number, index
