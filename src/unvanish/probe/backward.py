"""Hooks on every node of the backward graph: what arrives at each op and what leaves it.

A gradient tensor that leaves one op and arrives unchanged at the next is measured once, on
arrival; only where several edges meet in one tensor are their parts measured one by one.
"""

import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from unvanish.errors import BadInput
from unvanish.kinds import role_of
from unvanish.probe.graph import BackwardGraph, is_reentrant_checkpoint
from unvanish.probe.inputs import Leaves
from unvanish.probe.known_figures import known_figure, once
from unvanish.signals import Measure, extremes, measure, norms_along

Own = Callable[[], contextlib.AbstractContextManager[Any]]
"""What our own work is done inside of: its time may be taken, and what it raises be caught."""


class NodeWatch:
    """Measures while a backward pass runs. ``arrived[node][slot]``, ``left[node, edge]``.

    ``repeated`` holds nodes that ran more than once (a parameter used in several checkpoints):
    their last arrival is not the whole. With ``locating`` every op is asked whether it was the
    first to make NaN or Inf, and what it got; that costs another pass over every gradient, so it
    is a second look. ``keep_leaf`` is told about every leaf whose ``.grad`` this will write,
    ``on_leaf`` of every gradient as it arrives at its leaf. Our own work is done inside ``own``.
    """

    def __init__(
        self,
        leaves: Leaves,
        keep_leaf: Callable[[Tensor], None] | None,
        locating: bool = False,
        on_leaf: Callable[[Tensor, Tensor], None] | None = None,
        own: Own = contextlib.nullcontext,
    ) -> None:
        self._leaves, self._keep_leaf, self._on_leaf = leaves, keep_leaf, on_leaf
        self.own = own
        self.locating = locating
        self.has_custom_functions = False
        self.again: TorchFunctionMode | None = None
        """Entered while a custom function runs its backward: it may recompute the forward pass."""
        self.repeated: set[int] = set()
        self._handed: dict[tuple[int, int], tuple[int, int, Measure]] = {}
        self.graph = BackwardGraph()
        self.arrived: dict[int, dict[int, Measure]] = {}
        self.left: dict[tuple[int, int], Measure] = {}
        self.along: dict[int, tuple[float, ...]] = {}
        self.first_bad: list[tuple[int, tuple[float, float] | None, int]] = []
        self._handles: list[Any] = []
        self._live = True

    def thread_of(self, handle: Any) -> int | None:
        """The thread that made this node; ``None`` for a node that is not watched."""
        index = self.graph.index_of.get(handle)
        return None if index is None else self.graph.nodes[index].thread

    def watch_loss(self, roots: list[Any]) -> None:
        """Watch the graph of the loss: all that is behind these nodes."""
        fresh = self.watch(roots)
        self.has_custom_functions = any(node.custom for node in self.graph.nodes)
        self.keep(fresh)

    def keep(self, fresh: Iterable[int]) -> None:
        """Tell the guard about leaves, and refuse checkpoints that only we gave a gradient to.

        Raises:
            BadInput: without our gradient at the inputs nothing inside a checkpoint would train.
        """
        for index in fresh:
            leaf = self.graph.nodes[index].leaf
            if leaf is not None and self._keep_leaf is not None:
                self._keep_leaf(leaf)
            if is_reentrant_checkpoint(self.graph.nodes[index].handle) and self._only_ours(index):
                raise BadInput(
                    "a reentrant checkpoint gets no input that requires grad of its own, so that "
                    "nothing inside it would train: pass use_reentrant=False to the checkpoint."
                )

    def _only_ours(self, start: int) -> bool:
        """Whether every leaf behind this node requires grad only because of the observation."""
        pending, seen = [start], {start}
        while pending:
            node = self.graph.nodes[pending.pop()]
            if node.leaf is not None and not node.edges and not self._leaves.only_ours(node.leaf):
                return False
            for target, _ in node.edges:
                if target is not None and target not in seen:
                    seen.add(target)
                    pending.append(target)
        return True

    def watch(self, roots: list[Any], inside: int | None = None) -> list[int]:
        """Add the graph behind these nodes and hook every node that is new."""
        fresh = self.graph.add(roots, inside)
        for index in fresh:
            handle = self.graph.nodes[index].handle
            if self.graph.nodes[index].kind == "AccumulateGrad":
                self._handles.append(handle.register_prehook(_LeafHook(self, index)))
            else:
                if self.graph.nodes[index].custom and self.again is not None:
                    # The engine gives every op the thread state of the start of the backward pass,
                    # so that a mode entered around the whole of it would not be seen.
                    self._handles.append(handle.register_prehook(_Enter(self.again)))
                    self._handles.append(handle.register_hook(_Leave(self.again)))
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
        if index in self.arrived:
            self.repeated.add(index)
        known: list[tuple[Tensor, Measure]] = []
        slots = self.arrived.setdefault(index, {})
        for slot, gradient in enumerate(arrived):
            if isinstance(gradient, Tensor):
                slots[slot] = self._arrival(index, slot, gradient, known)
        node = self.graph.nodes[index]
        # The edges of a checkpoint lead into its recomputed stretch by now, what leaves it does not.
        if index not in self.graph.spliced:
            for number, gradient in enumerate(left[: len(node.edges)]):
                if isinstance(gradient, Tensor):
                    self._departure(index, number, gradient, known)
        if node.kind == "Embedding" and isinstance(arrived[0], Tensor) and arrived[0].dim() >= 3:
            self.along[index] = norms_along(arrived[0], -2)
        if self.locating:
            self._note_nonfinite(index, left, slots)

    def reached(self, index: int, arrived: Sequence[Any]) -> None:
        """Called before a leaf takes in its gradient."""
        leaf = self.graph.nodes[index].leaf
        if not self._live or self._on_leaf is None or leaf is None:
            return
        with self.own(), torch._C.DisableTorchFunction():
            for gradient in arrived:
                if isinstance(gradient, Tensor):
                    self._on_leaf(leaf, gradient)

    def _arrival(
        self, index: int, slot: int, gradient: Tensor, known: list[tuple[Tensor, Measure]]
    ) -> Measure:
        handed = self._handed.pop((index, slot), None)
        # Other memory or another version than was handed on: a hook of the user's changed it.
        if handed is not None and handed[:2] == (gradient.data_ptr(), gradient._version):
            known.append((gradient, handed[2]))
            return handed[2]
        return once(gradient, known)

    def _departure(
        self, index: int, number: int, gradient: Tensor, known: list[tuple[Tensor, Measure]]
    ) -> None:
        """Measure what leaves only where several edges meet; hand on what is known already."""
        node = self.graph.nodes[index]
        target, slot = node.edges[number]
        if target is None:  # a gradient nobody asked for
            return
        # A checkpoint still to come may show further edges into this one's target.
        later = self.has_custom_functions and (
            node.inside is not None or self.graph.nodes[target].leaf is not None
        )
        if later or self.graph.consumers[target, slot] > 1:
            self.left[index, number] = once(gradient, known)
            return
        figure = known_figure(gradient, known)
        if figure is not None:
            self._handed[target, slot] = (gradient.data_ptr(), gradient._version, figure)

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


class _Enter:
    def __init__(self, mode: TorchFunctionMode) -> None:
        self.mode = mode

    def __call__(self, arrived: Any) -> None:
        self.mode.__enter__()


class _Leave(_Enter):
    def __call__(self, left: Any, arrived: Any) -> None:  # type: ignore[override]
        self.mode.__exit__(None, None, None)


class _NodeHook:
    __slots__ = ("index", "watch")

    def __init__(self, watch: NodeWatch, index: int) -> None:
        self.watch, self.index = watch, index

    def __call__(self, left: Any, arrived: Any) -> None:
        # What we compute is none of the user's operations.
        with self.watch.own(), torch._C.DisableTorchFunction():
            self.watch.record(self.index, left, arrived)


class _LeafHook(_NodeHook):
    def __call__(self, arrived: Any) -> None:  # type: ignore[override]
        super().__call__((), arrived)
        self.watch.reached(self.index, arrived)


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
