"""Reentrant checkpoints: a second backward pass inside the first, spliced into its graph."""

import contextlib
from collections.abc import Generator
from typing import Any

import torch
from torch import Tensor, nn

from unvanish.probe.backward import NodeWatch
from unvanish.probe.spans import running_node


@contextlib.contextmanager
def seeing_through_checkpoints(watch: NodeWatch) -> Generator[None]:
    """Follow reentrant checkpointing, which runs a second backward inside the first.

    Its node hides a whole stretch of the model. The recomputed graph is watched too and spliced
    in: the checkpoint op leads to the recomputed outputs, and the recomputed inputs lead on to
    what the checkpoint op led to before.
    """
    original = torch.autograd.backward

    def backward(tensors: Any, grad_tensors: Any = None, *args: Any, **kwargs: Any) -> Any:
        see_through(watch, tensors)
        return original(tensors, grad_tensors, *args, **kwargs)

    torch.autograd.backward = backward  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.autograd.backward = original  # type: ignore[assignment]


def see_through(watch: NodeWatch, tensors: Any) -> bool:
    """Splice in what a backward pass on these tensors recomputes; says whether it did.

    It does where a node that is watched is running now, on this thread.
    """
    node = running_node()
    if node is None or node not in watch.graph.index_of:
        return False
    listed = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    _splice(watch, node, [t for t in listed if t.grad_fn is not None])
    return True


def _splice(watch: NodeWatch, outer: Any, outputs: list[Tensor]) -> None:
    index = watch.graph.index_of[outer]
    fresh = watch.watch([output.grad_fn for output in outputs], inside=index)
    node = watch.graph.nodes[index]
    watch.graph.spliced.add(index)
    saved = [t for t in getattr(outer, "saved_tensors", ()) if isinstance(t, Tensor)]
    places = {_place(tensor): number for number, tensor in enumerate(saved)}
    for inner in fresh:
        leaf = watch.graph.nodes[inner].leaf
        # A parameter is no input of the checkpoint even where it was passed in detached.
        passed_in = leaf is not None and not isinstance(leaf, nn.Parameter)
        number = places.get(_place(leaf)) if leaf is not None and passed_in else None
        if number is not None and number < len(node.edges):
            watch.graph.nodes[inner].kind = "CheckpointInput"
            watch.graph.nodes[inner].edges = [node.edges[number]]
            watch.graph.spliced.add(inner)
    roots = [watch.graph.index_of[output.grad_fn] for output in outputs]
    node.edges = [(root, output.output_nr) for root, output in zip(roots, outputs, strict=True)]
    for root, output in zip(roots, outputs, strict=True):
        key = (root, output.output_nr)
        watch.graph.consumers[key] = watch.graph.consumers.get(key, 0) + 1
    watch.keep(i for i in fresh if i not in watch.graph.spliced)


def _place(tensor: Tensor) -> tuple[int, tuple[int, ...]]:
    return tensor.data_ptr(), tuple(tensor.shape)
