"""torch's functions as they are called: their plain names, and what they read and write."""

import math
from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
from torch import Tensor

from unvanish.batches import tensors_in
from unvanish.preserve import in_transform
from unvanish.probe.activations import Before


def function_name(func: Callable[..., Any]) -> str:
    """The plain name of a torch function, method or property (``relu_``, ``data``, ``add``)."""
    name = getattr(func, "__name__", type(func).__name__)
    if name in ("__get__", "__set__"):
        attribute = str(getattr(getattr(func, "__self__", None), "__name__", name))
        return attribute if name == "__get__" else f"{attribute}.__set__"
    return {"__matmul__": "matmul", "__mul__": "mul", "__rmul__": "mul"}.get(name, name)


def writes_in_place(name: str, kwargs: dict[str, Any]) -> bool:
    """Whether a torch function of this name writes into its first argument (or ``out``)."""
    if name in ("__setitem__", "data.__set__") or kwargs.get("inplace") is True:
        return True
    if kwargs.get("out") is not None:
        return True
    if (
        name.startswith("__i")
        and name.endswith("__")
        and name not in ("__index__", "__int__", "__invert__")
    ):
        return True
    return name.endswith("_") and not name.startswith("_")


def written_to(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Tensor]:
    """The tensors that an in-place function of these arguments writes into."""
    return [*tensors_in(kwargs.get("out")), *tensors_in(args[0] if args else None)]


def tensor_arguments(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Tensor]:
    """The tensors among the arguments, and in lists of them."""
    for value in (*args, *kwargs.values()):
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, tuple | list):
            yield from (t for t in cast(list[Any], value) if isinstance(t, Tensor))


def same_memory(output: Tensor, inputs: list[Tensor]) -> Tensor | None:
    """The input that an output is a view of the whole of, if one is."""
    for tensor in inputs:
        whole = tensor.layout == torch.strided and tensor.numel() == output.numel()
        if whole and tensor.data_ptr() == output.data_ptr():
            return tensor
    return None


def few_features(output: Tensor, most: int = 4096) -> Tensor:
    """At most about ``most`` entries a sample: enough to tell alike from different."""
    flat = output.detach().reshape(output.shape[0], -1)
    return flat[:, :: max(flat.shape[1] // most, 1)]


def dim_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> int | None:
    """The dimension that a softmax or a sum was called with."""
    given = kwargs.get("dim", args[1] if len(args) > 1 else None)
    return given if isinstance(given, int) else None


LIMITING = frozenset(("clamp", "clip"))


def hard_limit(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
    """``"hardtanh"`` where this is a clamp between two numbers: torch's name for that activation."""
    if name.rstrip("_") not in LIMITING:
        return None
    low, high = (
        kwargs.get(said, args[place] if len(args) > place else None)
        for place, said in ((1, "min"), (2, "max"))
    )
    numbers = all(isinstance(end, int | float) and math.isfinite(end) for end in (low, high))
    return "hardtanh" if numbers else None


class Arguments:
    """One call of a torch function: what it got, as far as it was looked at before it ran."""

    __slots__ = (
        "activation",
        "args",
        "function",
        "grad_in",
        "in_place",
        "inputs",
        "kwargs",
        "name",
        "sample",
        "sources",
    )

    def __init__(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.function, self.args, self.kwargs = function, args, kwargs
        self.name = function_name(function)
        self.inputs: list[Tensor] = []
        self.sources: tuple[tuple[int, ...], tuple[str, ...]] = (), ()
        self.activation: str | None = None
        self.sample: Before | None = None
        self.grad_in = self.in_place = False


def counted_targets(call: Arguments, output: Tensor) -> tuple[float, float] | None:
    """Least and largest target of a binary cross entropy of logits, if each of them counts in it.

    Where it is not reduced, or weighs its entries, a mask may take some out. The one that takes
    probabilities refuses targets outside of 0 to 1 itself.
    """
    if call.name != "binary_cross_entropy_with_logits" or output.dim() or in_transform(output):
        return None
    args, kwargs = call.args, call.kwargs
    targets = kwargs.get("target", args[1] if len(args) > 1 else None)
    weight = kwargs.get("weight", args[2] if len(args) > 2 else None)
    if weight is not None or not isinstance(targets, Tensor) or not targets.numel():
        return None
    low, high = torch.aminmax(targets.detach().float())
    return float(low), float(high)
