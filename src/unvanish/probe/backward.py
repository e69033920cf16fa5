"""Hooks on every node of the backward graph: what arrives at each op and what leaves it.

A gradient tensor that leaves one op and arrives unchanged at the next is measured once, on
arrival; only where several edges meet in one tensor are their parts measured one by one.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from unvanish.kinds import role_of
from unvanish.probe.graph import BackwardGraph
from unvanish.signals import Measure, extremes, measure, norms_along


class NodeWatch:
    """Measures while a backward pass runs. ``arrived[node][slot]``, ``left[node, edge]``."""

    def __init__(self) -> None:
        self.graph = BackwardGraph()
        self.arrived: dict[int, dict[int, Measure]] = {}
        self.left: dict[tuple[int, int], Measure] = {}
        self.along: dict[int, tuple[float, ...]] = {}
        self.first_bad: list[tuple[int, tuple[float, float] | None, int]] = []
        self._handles: list[Any] = []
        self._live = True

    def watch(self, roots: list[Any], inside: int | None = None) -> list[int]:
        """Add the graph behind these nodes and hook every node that is new."""
        fresh = self.graph.add(roots, inside)
        for index in fresh:
            handle = self.graph.nodes[index].handle
            if self.graph.nodes[index].kind == "AccumulateGrad":
                self._handles.append(handle.register_prehook(_LeafHook(self, index)))
            else:
                self._handles.append(handle.register_hook(_NodeHook(self, index)))
        return fresh

    def close(self) -> None:
        """Remove every hook. A graph that outlives us (retained) is left without a trace of us."""
        self._live = False
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def record(self, index: int, left: Sequence[Any], arrived: Sequence[Any]) -> None:
        """Called after node ``index`` ran, with the gradients that left and that arrived."""
        if not self._live:
            return
        known: list[tuple[Tensor, Measure]] = []
        slots = self.arrived.setdefault(index, {})
        for slot, gradient in enumerate(arrived):
            if isinstance(gradient, Tensor):
                slots[slot] = _once(gradient, known)
        node = self.graph.nodes[index]
        for number, gradient in enumerate(left):
            if not isinstance(gradient, Tensor) or number >= len(node.edges):
                continue
            target, slot = node.edges[number]
            # An edge to None is a gradient nobody asked for; a lone edge is measured on arrival.
            if target is not None and self.graph.consumers[target, slot] > 1:
                self.left[index, number] = _once(gradient, known)
        if node.kind == "Embedding" and isinstance(arrived[0], Tensor) and arrived[0].dim() >= 3:
            self.along[index] = norms_along(arrived[0], -2)
        self._note_nonfinite(index, left, slots)

    def _note_nonfinite(self, index: int, left: Sequence[Any], slots: dict[int, Measure]) -> None:
        if any(m.nonfinite for m in slots.values()):
            return
        for gradient in left:
            if not isinstance(gradient, Tensor) or not gradient.is_floating_point():
                continue
            # The sum of a tensor is finite only if no entry is NaN; Inf shows as Inf or NaN.
            if not bool(torch.isfinite(gradient.sum())) and measure(gradient).nonfinite:
                saved = _saved_input(self.graph.nodes[index].handle)
                limits = extremes(saved) if saved is not None else None
                zeros = int((saved == 0).sum()) if saved is not None else 0
                self.first_bad.append((index, limits, zeros))
                return


class _NodeHook:
    __slots__ = ("index", "watch")

    def __init__(self, watch: NodeWatch, index: int) -> None:
        self.watch, self.index = watch, index

    def __call__(self, left: Any, arrived: Any) -> None:
        self.watch.record(self.index, left, arrived)


class _LeafHook(_NodeHook):
    def __call__(self, arrived: Any) -> None:  # type: ignore[override]
        self.watch.record(self.index, (), arrived)


def _once(gradient: Tensor, known: list[tuple[Tensor, Measure]]) -> Measure:
    """Measure a tensor, or reuse the figure of one with the same memory and size (views)."""
    if gradient.layout == torch.strided:
        for other, figure in known:
            same_place = gradient.data_ptr() == other.data_ptr() and gradient.dtype == other.dtype
            if same_place and gradient.numel() == other.numel() and _dense(gradient, other):
                return figure
    figure = measure(gradient)
    if gradient.layout == torch.strided:
        known.append((gradient, figure))
    return figure


def _dense(left: Tensor, right: Tensor) -> bool:
    # Two tensors over the same memory hold the same values only if neither is expanded.
    return 0 not in left.stride() and 0 not in right.stride()


def _saved_input(handle: Any) -> Tensor | None:
    """The op's saved input where autograd kept one and it can be read without side effects."""
    if role_of(getattr(handle, "name", str)()) == "leaf":
        return None
    for name in ("_saved_self", "_saved_other", "_saved_result"):
        with contextlib.suppress(Exception):
            saved = getattr(handle, name, None)
            if isinstance(saved, Tensor):
                return saved
    return None


@contextlib.contextmanager
def seeing_through_checkpoints(watch: NodeWatch) -> Iterator[None]:
    """Follow reentrant checkpointing, which runs a second backward inside the first.

    Its node hides a whole stretch of the model. The recomputed graph is watched too and spliced
    in: the checkpoint op leads to the recomputed outputs, and the recomputed inputs lead on to
    what the checkpoint op led to before.
    """
    original = torch.autograd.backward

    def backward(tensors: Any, grad_tensors: Any = None, *args: Any, **kwargs: Any) -> Any:
        node = torch._C._current_autograd_node()
        if node is not None and node in watch.graph.index_of:
            listed = [tensors] if isinstance(tensors, Tensor) else list(tensors)
            _splice(watch, node, [t for t in listed if t.grad_fn is not None])
        return original(tensors, grad_tensors, *args, **kwargs)

    torch.autograd.backward = backward  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.autograd.backward = original  # type: ignore[assignment]


def _splice(watch: NodeWatch, outer: Any, outputs: list[Tensor]) -> None:
    index = watch.graph.index_of[outer]
    fresh = watch.watch([output.grad_fn for output in outputs], inside=index)
    node = watch.graph.nodes[index]
    saved = [t for t in getattr(outer, "saved_tensors", ()) if isinstance(t, Tensor)]
    places = {_place(tensor): number for number, tensor in enumerate(saved)}
    for inner in fresh:
        leaf = watch.graph.nodes[inner].leaf
        number = places.get(_place(leaf)) if leaf is not None else None
        if number is not None and number < len(node.edges):
            watch.graph.nodes[inner].kind = "CheckpointInput"
            watch.graph.nodes[inner].edges = [node.edges[number]]
    roots = [watch.graph.index_of[output.grad_fn] for output in outputs]
    node.edges = [(root, output.output_nr) for root, output in zip(roots, outputs, strict=True)]
    for root, output in zip(roots, outputs, strict=True):
        key = (root, output.output_nr)
        watch.graph.consumers[key] = watch.graph.consumers.get(key, 0) + 1


def _place(tensor: Tensor) -> tuple[int, tuple[int, ...]]:
    return tensor.data_ptr(), tuple(tensor.shape)
