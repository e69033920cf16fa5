"""Every tensor operation of the forward pass as it happens: values, and where they flow.

A torch function mode sees functional calls, module internals and ``no_grad`` regions alike. It
keeps numbers and weak references, never tensors, so the memory of the step stays what it was.
"""

import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from unvanish.batches import tensors_in
from unvanish.kinds import activation_name
from unvanish.preserve import in_transform
from unvanish.probe.activations import ActivationReader
from unvanish.probe.flow import EXITS, WEIGHTED, BadValue, Call, Exit, Flow
from unvanish.probe.functions import (
    Arguments,
    counted_targets,
    dim_of,
    few_features,
    hard_limit,
    same_memory,
    tensor_arguments,
    writes_in_place,
    written_to,
)
from unvanish.probe.gate import MOST_LIKENESSES, Samples
from unvanish.probe.spans import ModuleSpans, in_reentrant_checkpoint, node_key
from unvanish.signals import bad_from_here, extremes, rms, spread_between_samples


class ForwardRecorder(TorchFunctionMode):
    """Records a :class:`Flow` while it is entered.

    Args:
        spans: says which module is running.
        parameters: name of every parameter by id.
        constants: ids of the model's buffers.
        before_write: is told before something is written in place.
        activations: is shown every activation function; ``None`` where they were read before.
    """

    def __init__(
        self,
        spans: ModuleSpans,
        parameters: dict[int, str],
        constants: set[int],
        before_write: Callable[[Tensor], None] | None,
        activations: ActivationReader | None,
    ) -> None:
        super().__init__()
        self.flow = Flow()
        self.failed: str | None = None
        self._spans = spans
        self._parameters = parameters
        self._constants = constants
        self._before_write = before_write
        self._activations = activations
        self._made_by: dict[int, tuple[weakref.ref[Tensor], int]] = {}
        self._given: dict[int, weakref.ref[Tensor]] = {}
        self._met: dict[int, tuple[weakref.ref[Tensor], list[int]]] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        arguments = Arguments(func, args, kwargs or {})
        self.before(arguments)
        try:
            output = func(*args, **arguments.kwargs)
        except Exception:
            self.failed = self.failed or arguments.name
            raise
        self.after(arguments, output)
        return output

    def before(self, call: Arguments) -> None:
        """Look at what a function is about to get: it may write over it."""
        inputs = call.inputs = list(tensor_arguments(call.args, call.kwargs))
        call.in_place = writes_in_place(call.name, call.kwargs)
        if call.in_place and self._before_write is not None:
            for written in written_to(call.args, call.kwargs):
                self._before_write(written)
        if inputs and self._activations is not None and not in_transform(inputs[0]):
            call.activation = activation_name(call.name) or hard_limit(
                call.name, call.args, call.kwargs
            )
            if call.activation:
                call.sample = self._activations.look(call.function, call.args, call.kwargs)
        call.grad_in = any(t.requires_grad for t in inputs)
        call.sources = self._sources(inputs)

    def after(self, call: Arguments, output: Any) -> None:
        """Write down what a function made."""
        made = tensors_in(output) if not isinstance(output, Tensor) else [output]
        if call.in_place and not made:
            made = call.inputs[:1]
        if made:
            index = self._add(call, made)
            if "softmax" in call.name or call.name == "sum":
                self.flow.calls[index].dim = dim_of(call.args, call.kwargs)
            self.flow.calls[index].targets = counted_targets(call, made[0])
            if call.activation and call.sample is not None and self._activations is not None:
                self._activations.read(
                    call.activation, call.sample, made[0], self._spans, self.flow, index
                )
        elif call.name in EXITS and call.sources[0]:
            values = call.inputs[0].numel()
            self.flow.exits.append(Exit(call.name, self._spans.path, call.sources[0][0], values))
        elif call.name in EXITS:
            self.flow.read_out += call.sources[1]

    def came_with(self, tensors: Iterable[Tensor]) -> None:
        """Count these tensors as the batch, for the calls that read them already as well."""
        for tensor in tensors:
            if id(tensor) in self._given and self._given[id(tensor)]() is tensor:
                continue
            self._given[id(tensor)] = weakref.ref(tensor)
            met = self._met.pop(id(tensor), None)
            if met is not None and met[0]() is tensor:
                for index in met[1]:
                    self.flow.calls[index].foreign -= 1

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

    def _foreign(self, inputs: list[Tensor], index: int) -> int:
        """How many of these tensors came from nowhere: remembered, as they may be the batch."""
        count = 0
        for tensor in inputs:
            given = self._given.get(id(tensor))
            if (given is None or given() is not tensor) and self._unknown(tensor):
                met = self._met.get(id(tensor))
                if met is None or met[0]() is not tensor:
                    met = self._met[id(tensor)] = weakref.ref(tensor), []
                met[1].append(index)
                count += 1
        return count

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

    def _add(self, arguments: Arguments, made: list[Tensor]) -> int:
        index = len(self.flow.calls)
        inputs, name, sources, first = arguments.inputs, arguments.name, arguments.sources, made[0]
        call = Call(
            name.rstrip("_") if not name.startswith("__") else name.strip("_"),
            self._spans.path,
            self._spans.call,
            self._spans.inside_model,
            sources[0],
            sources[1],
            arguments.grad_in,
            any(_goes_on(t, inputs) for t in made),
            node=node_key(first.grad_fn) if first.requires_grad else None,
            made=not inputs,
            makers=tuple(self.producer(tensor) for tensor in inputs),
            input_shapes=tuple(tuple(tensor.shape) for tensor in inputs),
            output_shape=tuple(first.shape),
            dtype=str(first.dtype).removeprefix("torch."),
        )
        call.data = any(self._from_data(tensor) for tensor in inputs)
        call.foreign = self._foreign(inputs, index)
        call.fresh = any(
            t.is_floating_point() and not t.requires_grad and self._from_data(t) for t in inputs
        )
        call.checkpointed = call.grad_in and not call.grad_out and in_reentrant_checkpoint()
        call.channels_first = name.startswith("conv") or (
            bool(sources[0])
            and name not in WEIGHTED
            and first.shape == inputs[0].shape
            and self.flow.calls[sources[0][0]].channels_first
        )
        self.flow.calls.append(call)
        self._measure(index, call, inputs, first, arguments.in_place)
        # Only now: an op that returns its input as it is reads the figures of what made that.
        for tensor in made:
            if id(tensor) not in self._parameters:
                self._made_by[id(tensor)] = (weakref.ref(tensor), index)
            if arguments.in_place and tensor._is_view() and tensor._base is not None:
                self._made_by[id(tensor._base)] = (weakref.ref(tensor._base), index)
        return index

    def _measure(
        self, index: int, call: Call, inputs: list[Tensor], output: Tensor, in_place: bool
    ) -> None:
        if not output.is_floating_point() or not output.numel() or output.layout != torch.strided:
            return
        if in_transform(output):  # all slices at once: no figure of theirs is a number
            return
        twin = None if in_place else same_memory(output, inputs)
        if twin is not None:
            source = self.producer(twin)
            if source is not None:
                call.output_rms = self.flow.calls[source].output_rms
                call.spread = self.flow.calls[source].spread
                call.samples = self.flow.calls[source].samples
            return
        with torch.no_grad(), torch._C.DisableTorchFunction():
            call.output_rms = rms(output)
            if not _finite(call.output_rms):
                self._note_bad(index, inputs, output)
            elif call.grad_out and output.dim() >= 2:
                call.spread = spread_between_samples(few_features(output))
                if index < MOST_LIKENESSES:
                    call.samples = Samples(output)

    def _bad_leaves(self, inputs: list[Tensor]) -> dict[str, str | None]:
        """What bad values come in with here: in words, with the name of a parameter.

        Infinities in what is no parameter may be meant (a mask); that they came in is noted.
        """
        begins: dict[str, str | None] = {}
        for tensor in inputs:
            if not tensor.is_floating_point() or bool(torch.isfinite(tensor).all()):
                continue
            if self.producer(tensor) is not None:
                return {}
            name = self._parameters.get(id(tensor))
            shape = tuple(tensor.shape)
            said = f"parameter {name}" if name else f"a tensor of shape {shape} from outside"
            if said not in self.flow.bad_leaves:
                self.flow.bad_leaves.append(said)
            if name is not None or bool(tensor.isnan().any()):
                begins[said] = name
        return begins

    def _note_bad(self, index: int, inputs: list[Tensor], output: Tensor) -> None:
        own = bad_from_here(inputs, output)
        known = own and not self.flow.calls[index].leaves
        begins = {} if known else self._bad_leaves(inputs)
        if not own and not begins:
            return
        limits = [found for t in inputs if (found := extremes(t)) is not None]
        zeros = sum(int((t == 0).sum()) for t in inputs[:2])
        nans, infinite = int(output.isnan().sum()), int(output.isinf().sum())
        low = min((pair[0] for pair in limits), default=None)
        high = max((pair[1] for pair in limits), default=None)
        bad = BadValue(index, nans, infinite, low, high, zeros)
        bad.came_in = next(iter(begins), None)
        bad.leaves = tuple(name for name in begins.values() if name is not None)
        self.flow.bad.append(bad)


def _goes_on(made: Tensor, inputs: list[Tensor]) -> bool:
    """Whether gradient comes back through a result: a new leaf requires grad, but for itself."""
    return made.requires_grad and (made.grad_fn is not None or any(made is t for t in inputs))


def _finite(value: float) -> bool:
    return value - value == 0
