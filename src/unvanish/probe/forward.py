"""Every tensor operation of the forward pass as it happens: values, and where they flow.

A torch function mode sees functional calls, module internals and ``no_grad`` regions alike. It
keeps numbers and weak references, never tensors, so the memory of the step stays what it was.
"""

import weakref
from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from unvanish.batches import tensors_in
from unvanish.kinds import activation_name
from unvanish.preserve import ParameterKeeper
from unvanish.probe.activations import ActivationReader
from unvanish.probe.flow import EXITS, WEIGHTED, BadValue, Call, Flow
from unvanish.probe.gate import MOST_LIKENESSES, likeness
from unvanish.probe.spans import ModuleSpans, in_reentrant_checkpoint
from unvanish.signals import bad_from_here, extremes, rms, spread_between_samples


class ForwardRecorder(TorchFunctionMode):
    """Records a :class:`Flow` while it is entered.

    Args:
        spans: says which module is running.
        parameters: name of every parameter by id.
        constants: ids of the model's buffers.
        keeper: is told before something is written in place.
        activations: is shown every activation function; ``None`` where they were read before.
    """

    def __init__(
        self,
        spans: ModuleSpans,
        parameters: dict[int, str],
        constants: set[int],
        keeper: ParameterKeeper,
        activations: ActivationReader | None,
    ) -> None:
        super().__init__()
        self.flow = Flow()
        self.failed: str | None = None
        self.batch: set[int] = set()
        self._spans = spans
        self._parameters = parameters
        self._constants = constants
        self._keeper = keeper
        self._activations = activations
        self._made_by: dict[int, tuple[weakref.ref[Tensor], int]] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = function_name(func)
        inputs = list(_tensors(args, kwargs))
        in_place = writes_in_place(name, kwargs)
        if in_place:
            for written in written_to(args, kwargs):
                self._keeper.before_write(written)
        reader = self._activations
        activation = activation_name(name) if inputs and reader is not None else None
        before = reader.look(func, args, kwargs) if activation and reader is not None else None
        grad_in = any(t.requires_grad for t in inputs)
        sources = self._sources(inputs)
        try:
            output = func(*args, **kwargs)
        except Exception:
            self.failed = self.failed or name
            raise
        made = tensors_in(output) if not isinstance(output, Tensor) else [output]
        if in_place and not made:
            made = inputs[:1]
        if made:
            index = self._add(name, inputs, sources, grad_in, made, in_place)
            if "softmax" in name or name == "sum":
                self.flow.calls[index].dim = _dim(args, kwargs)
            if activation and before is not None and reader is not None:
                reader.read(activation, before, made[0], self._spans, self.flow, index)
        elif name in EXITS and sources[0]:
            self.flow.exits.append((name, self._spans.path, sources[0][0]))
        return output

    def producer(self, tensor: Tensor) -> int | None:
        """The call that made this tensor, if it was seen."""
        entry = self._made_by.get(id(tensor))
        return entry[1] if entry is not None and entry[0]() is tensor else None

    def _from_data(self, tensor: Tensor) -> bool:
        source = self.producer(tensor)
        return self.flow.calls[source].data if source is not None else self._unknown(tensor)

    def _unknown(self, tensor: Tensor) -> bool:
        """Whether nothing that was seen made this tensor, and the model does not hold it."""
        known = id(tensor) in self._parameters or id(tensor) in self._constants
        return not known and self.producer(tensor) is None

    def _sources(self, inputs: list[Tensor]) -> tuple[tuple[int, ...], tuple[str, ...]]:
        calls: list[int] = []
        leaves: list[str] = []
        for tensor in inputs:
            call = self.producer(tensor)
            if call is not None:
                calls.append(call)
            elif (leaf := self._parameters.get(id(tensor))) is not None:
                leaves.append(leaf)
        return tuple(calls), tuple(leaves)

    def _add(
        self,
        name: str,
        inputs: list[Tensor],
        sources: tuple[tuple[int, ...], tuple[str, ...]],
        grad_in: bool,
        made: list[Tensor],
        in_place: bool,
    ) -> int:
        index = len(self.flow.calls)
        first = made[0]
        call = Call(
            name.rstrip("_") if not name.startswith("__") else name.strip("_"),
            self._spans.path,
            self._spans.call,
            self._spans.inside_model,
            sources[0],
            sources[1],
            grad_in,
            any(t.requires_grad for t in made),
            node=first.grad_fn if first.requires_grad else None,
            made=not inputs,
            makers=tuple(self.producer(tensor) for tensor in inputs),
            input_shapes=tuple(tuple(tensor.shape) for tensor in inputs),
            output_shape=tuple(first.shape),
            dtype=str(first.dtype).removeprefix("torch."),
        )
        call.data = any(self._from_data(tensor) for tensor in inputs)
        call.foreign = any(self._unknown(t) and id(t) not in self.batch for t in inputs)
        call.checkpointed = grad_in and not call.grad_out and in_reentrant_checkpoint()
        call.channels_first = name.startswith("conv") or (
            bool(sources[0])
            and name not in WEIGHTED
            and first.shape == inputs[0].shape
            and self.flow.calls[sources[0][0]].channels_first
        )
        self.flow.calls.append(call)
        self._measure(index, call, inputs, first, in_place)
        # Only now: an op that returns its input as it is reads the figures of what made that.
        for tensor in made:
            if id(tensor) not in self._parameters:
                self._made_by[id(tensor)] = (weakref.ref(tensor), index)
            if in_place and tensor._is_view() and tensor._base is not None:
                self._made_by[id(tensor._base)] = (weakref.ref(tensor._base), index)
        return index

    def _measure(
        self, index: int, call: Call, inputs: list[Tensor], output: Tensor, in_place: bool
    ) -> None:
        if not output.is_floating_point() or not output.numel() or output.layout != torch.strided:
            return
        twin = None if in_place else _same_memory(output, inputs)
        if twin is not None:
            source = self.producer(twin)
            if source is not None:
                call.output_rms = self.flow.calls[source].output_rms
                call.spread = self.flow.calls[source].spread
                call.likeness = self.flow.calls[source].likeness
            return
        with torch.no_grad(), torch._C.DisableTorchFunction():
            call.output_rms = rms(output)
            if not _finite(call.output_rms):
                self._note_bad(index, inputs, output)
            elif call.grad_out and output.dim() >= 2:
                call.spread = spread_between_samples(_few_features(output))
                if index < MOST_LIKENESSES:
                    call.likeness = likeness(output)

    def _note_bad(self, index: int, inputs: list[Tensor], output: Tensor) -> None:
        if not bad_from_here(inputs, output):
            return
        limits = [found for t in inputs if (found := extremes(t)) is not None]
        zeros = sum(int((t == 0).sum()) for t in inputs[:2])
        nans = int(output.isnan().sum())
        infinite = int(output.isinf().sum())
        low = min((pair[0] for pair in limits), default=None)
        high = max((pair[1] for pair in limits), default=None)
        self.flow.bad.append(BadValue(index, nans, infinite, low, high, zeros))


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


def _tensors(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Tensor]:
    for value in (*args, *kwargs.values()):
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, tuple | list):
            yield from (t for t in cast(list[Any], value) if isinstance(t, Tensor))


def _same_memory(output: Tensor, inputs: list[Tensor]) -> Tensor | None:
    for tensor in inputs:
        whole = tensor.layout == torch.strided and tensor.numel() == output.numel()
        if whole and tensor.data_ptr() == output.data_ptr():
            return tensor
    return None


def _few_features(output: Tensor, most: int = 4096) -> Tensor:
    """At most about ``most`` entries a sample: enough to tell alike from different."""
    flat = output.detach().reshape(output.shape[0], -1)
    return flat[:, :: max(flat.shape[1] // most, 1)]


def _dim(args: tuple[Any, ...], kwargs: dict[str, Any]) -> int | None:
    given = kwargs.get("dim", args[1] if len(args) > 1 else None)
    return given if isinstance(given, int) else None


def _finite(value: float) -> bool:
    return value - value == 0
