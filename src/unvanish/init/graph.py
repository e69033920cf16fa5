"""The operations of one forward pass as a graph: who reads whom, and what the activations are."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from unvanish.errors import BadInput
from unvanish.kinds import activation_name
from unvanish.probe.flow import MULTIPLYING, NORMALIZING, WEIGHTED
from unvanish.theory.activations import Nonlinearity, nonlinearity
from unvanish.trace import Operation, Trace

DROPOUTS = frozenset(
    "dropout alpha_dropout feature_dropout dropout1d dropout2d dropout3d "
    "feature_alpha_dropout".split()
)
KEEPS = frozenset(
    "contiguous clone to float double half bfloat16 type type_as detach identity alias "
    "requires_grad_ expand expand_as".split()
)
VIEWS = KEEPS | frozenset(
    "view reshape view_as reshape_as flatten unflatten ravel squeeze unsqueeze transpose permute t "
    "T mT swapaxes swapdims movedim".split()
)
SUMS = frozenset(("add", "iadd", "radd"))
SCALINGS = MULTIPLYING | frozenset("imul rmul div idiv itruediv truediv true_divide".split())
ATTENTION = frozenset(
    "scaled_dot_product_attention multi_head_attention_forward softmax bmm baddbmm einsum".split()
)


@dataclass(frozen=True, slots=True)
class Bend:
    """One activation: where its value goes in and comes out, and what function it is."""

    start: int
    end: int
    function: Nonlinearity


class Graph:
    """The operations of a trace with their readers; ``bends`` are the activations by first op.

    An activation that a module without weights computes in several operations (``NewGELU``) is
    one bend from the first to the last of them; the operations between are in ``within``.
    """

    def __init__(self, model: nn.Module, trace: Trace) -> None:
        self.operations = trace.operations
        self.readers: dict[int, list[int]] = {}
        for index, operation in enumerate(self.operations):
            for maker in dict.fromkeys(operation.inputs):
                if maker is not None:
                    self.readers.setdefault(maker, []).append(index)
        self._picking = {(op.module, op.call) for op in trace.ops if op.kind == "Index"}
        self._kept: dict[Any, Nonlinearity | None] = {}
        self._modules = dict(model.named_modules())
        self.bends: dict[int, Bend] = {}
        self.within: set[int] = set()
        self._find_bends()

    def __getitem__(self, index: int) -> Operation:
        return self.operations[index]

    def signals(self, index: int) -> list[int]:
        """Makers of the arguments of an operation that carry the batch."""
        makers = self.operations[index].inputs
        return [m for m in makers if m is not None and self.operations[m].from_data]

    def ancestors(self, start: Iterable[int], lowest: int = 0) -> set[int]:
        """These operations and all whose value flowed into them, down to index ``lowest``."""
        seen = {index for index in start if index >= lowest}
        pending = list(seen)
        while pending:
            for maker in self.operations[pending.pop()].inputs:
                if maker is not None and maker >= lowest and maker not in seen:
                    seen.add(maker)
                    pending.append(maker)
        return seen

    def may_permute(self, index: int) -> bool:
        """Whether an indexing may put entries into another order, as lists and tensors can.

        Ranges and single places cannot. What was given is not kept, but autograd has one operation
        for the former and others for the latter; where it saw nothing, or the same call has both,
        it cannot be excluded.
        """
        operation = self.operations[index]
        if operation.function != "getitem":
            return False
        return not operation.requires_grad or (operation.module, operation.call) in self._picking

    def side_by_side(self, calls: Collection[int]) -> bool:
        """Whether the value of none of these operations flows into another one of them."""
        reached: set[int] = set()
        for index in range(min(calls), max(calls) + 1):
            fed = any(maker in reached for maker in self.operations[index].inputs)
            if fed and index in calls:
                return False
            if fed or index in calls:
                reached.add(index)
        return True

    def before(self, index: int, through: frozenset[str]) -> int | None:
        """The nearest operation at or before ``index`` that is none of ``through``."""
        current: int | None = index
        while current is not None and self.operations[current].function in through:
            inputs = self.operations[current].inputs
            current = inputs[0] if inputs else None
        return current

    def source(self, index: int) -> tuple[str, int | None]:
        """What the data argument of a weighted operation comes from, behind norms and views.

        ``"batch"``, ``"bend"``, ``"weight"``, ``"attention"``, ``"sum"``, ``"norm"`` or
        ``"other"``, and the operation.
        """
        makers = self.signals(index)
        if not makers:
            return "batch", None
        current = makers[0]
        while True:
            operation = self.operations[current]
            if current in self.bend_ends:
                return "bend", current
            if operation.function in NORMALIZING:
                return "norm", current
            if operation.function in ATTENTION:
                return "attention", current
            if operation.function in WEIGHTED:
                return "weight", current
            if operation.function in SUMS and len(self.signals(current)) > 1:
                return "sum", current
            following = self.signals(current)
            if not following:
                return ("batch", None) if operation.from_data else ("other", current)
            if len(following) > 1:
                return "other", current
            current = following[0]

    def _find_bends(self) -> None:
        for index, operation in enumerate(self.operations):
            if index in self.within or not operation.from_data:
                continue
            bend = self._composite(index) or self._single(index)
            if bend is not None:
                self.bends[index] = bend
                self.within.update(range(index + 1, bend.end + 1))
        self.bend_ends = {bend.end: bend for bend in self.bends.values()}

    def _single(self, index: int) -> Bend | None:
        operation = self.operations[index]
        name = activation_name(operation.function)
        if name is None or operation.output_shape != operation.input_shapes[0]:
            return None
        module = self._modules.get(operation.module)
        alone = module is not None and self._only_this(index, index) and _is_leaf(module)
        function = self._measured(module if alone and module is not None else name)
        return None if function is None else Bend(index, index, function)

    def _composite(self, index: int) -> Bend | None:
        """An activation that a module without weights of its own computes step by step."""
        operation = self.operations[index]
        module = self._modules.get(operation.module)
        if module is None or not operation.module or not _is_leaf(module):
            return None
        end = index
        while end + 1 < len(self.operations) and self._same_call(index, end + 1):
            end += 1
        if end == index or not self._only_this(index, end):
            return None
        steps = self.operations[index : end + 1]
        if any(step.function in WEIGHTED | NORMALIZING | DROPOUTS for step in steps):
            return None
        if any(step.output_shape != operation.input_shapes[0] for step in steps):
            return None
        function = self._measured(module)
        return None if function is None else Bend(index, end, function)

    def _same_call(self, index: int, other: int) -> bool:
        first, second = self.operations[index], self.operations[other]
        return (first.module, first.call) == (second.module, second.call)

    def _only_this(self, start: int, end: int) -> bool:
        """Whether the module's call made these operations alone, from one signal to one."""
        around = [i for i in (start - 1, end + 1) if 0 <= i < len(self.operations)]
        if any(self._same_call(start, i) for i in around):
            return False
        inside = range(start, end + 1)
        entries = {m for i in inside for m in self.signals(i) if m < start}
        leaks = any(r > end for i in inside if i != end for r in self.readers.get(i, ()))
        return len(entries) <= 1 and not leaks

    def _measured(self, activation: str | nn.Module) -> Nonlinearity | None:
        key = activation if isinstance(activation, str) else _identity(activation)
        kept = _OF_TORCH if _is_torchs(activation) else self._kept
        if key not in kept:
            kept[key] = _nonlinearity(activation)
        return kept[key]


_OF_TORCH: dict[Any, Nonlinearity | None] = {}
"""Torch's own activations, which are the same in every model: to find their kinks takes a while."""


def _is_torchs(activation: str | nn.Module) -> bool:
    if isinstance(activation, str) or type(activation).__module__ != nn.modules.activation.__name__:
        return False
    hooked = activation._forward_hooks or activation._forward_pre_hooks
    settled = next(activation.parameters(), None) is None and "forward" not in vars(activation)
    # Settings are numbers of any value: what is kept must not grow with a program that runs long.
    return settled and not hooked and len(_OF_TORCH) < 64


def _is_leaf(module: nn.Module) -> bool:
    """Whether the module holds nothing but, at most, a slope to learn."""
    inside = next(module.children(), None) is not None
    return not inside and all(p.dim() <= 1 for p in module.parameters())


def _identity(module: nn.Module) -> Any:
    """Modules of one type with the same settings are one activation."""
    numbers = [tuple(p.detach().flatten().tolist()) for p in module.parameters()]
    return type(module), module.extra_repr(), str(numbers), module.training


def _nonlinearity(activation: str | nn.Module) -> Nonlinearity | None:
    function: Callable[[Tensor], Tensor] | str = activation
    if isinstance(activation, nn.PReLU):
        slope = float(activation.weight.detach().double().mean())
        function = lambda x: functional.leaky_relu(x, slope)  # noqa: E731
    elif isinstance(activation, nn.RReLU):
        slope = (activation.lower + activation.upper) / 2
        function = lambda x: functional.leaky_relu(x, slope)  # noqa: E731
    elif isinstance(activation, nn.Module):
        function = activation
    try:
        with torch.no_grad():
            return nonlinearity(function)
    except BadInput:
        return None
