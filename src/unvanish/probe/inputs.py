"""Whose leaf is it: a parameter of the model, an input that data enters by, or a stranger."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

from torch import Tensor, nn

from unvanish.probe.spans import node_key

if TYPE_CHECKING:
    from unvanish.probe.forward import ForwardRecorder


class Leaves:
    """The leaves of one graph that data enters by; ``names`` are the model's parameters by id."""

    def __init__(self, names: dict[int, str], model: nn.Module) -> None:
        self.names = names
        self.model = model
        self._inputs: dict[int, Tensor] = {}  # keeps them alive, so that ids stay theirs
        self._given: set[int] = set()
        self._recorder: ForwardRecorder | None = None
        self.passed: dict[int, Tensor] = {}
        """Leaves of the user's own that the model was called with: an image, a prompt that trains."""
        self.makers: set[tuple[int, int]] = set()
        """What made the tensors that the model was called with: nothing behind it is the model's."""

    def add_input(self, leaf: Tensor, given: bool = False) -> None:
        """Count ``leaf`` as input; ``given`` says it requires grad in the user's own run too."""
        self._inputs[id(leaf)] = leaf
        if given:
            self._given.add(id(leaf))

    def came_with(self, tensor: Tensor) -> None:
        """Count a tensor that the model was called with, and that may come from another net."""
        key = node_key(tensor.grad_fn)
        if key is not None:
            self.makers.add(key)

    def pass_in(self, arguments: tuple[Any, ...]) -> None:
        """Remember the leaves that require grad among what the model is called with."""
        for value in arguments:
            wanted = isinstance(value, Tensor) and value.is_leaf and value.requires_grad
            if wanted and not isinstance(value, nn.Parameter) and id(value) not in self._inputs:
                self.passed[id(value)] = value

    @property
    def inputs(self) -> list[Tensor]:
        """The inputs so far."""
        return list(self._inputs.values())

    def mark_restarted(self, recorder: "ForwardRecorder") -> None:
        """Let leaves that were made from data in this forward pass count as inputs."""
        self._recorder = recorder

    def only_ours(self, leaf: Tensor) -> bool:
        """Whether this leaf requires grad only because the observation wanted it to."""
        return id(leaf) in self._inputs and id(leaf) not in self._given

    def is_input(self, leaf: Tensor) -> bool:
        """Whether data enters by this leaf: an input, or ``x.detach().requires_grad_()`` of one."""
        if id(leaf) in self._inputs:
            return True
        if isinstance(leaf, nn.Parameter) or self._recorder is None:
            return False
        start = self._recorder.producer(leaf)
        if start is None:  # made before this forward pass: a weight that is held somewhere
            return False
        flow = self._recorder.flow
        # Made of numbers after numbers had left the graph: those, in all likelihood.
        again = flow.calls[start].made and any(left.source < start for left in flow.exits)
        return flow.calls[start].data or again

    def release(self) -> None:
        """Let go of the tensors."""
        self._inputs.clear()
        self.passed.clear()
        self._recorder = None


OWN = frozenset(vars(nn.Module()))
"""Attributes that torch keeps what is registered in."""
NESTED = 3
"""Lists in lists in a dictionary: no deeper is looked."""


def held_names(model: nn.Module) -> dict[int, str]:
    """Where the model holds leaves that it does not register: ``layers.2.weight``, by id of leaf."""
    names: dict[int, str] = {}
    for path, module in model.named_modules():
        for attribute, value in vars(module).items():
            if attribute not in OWN:
                place = f"{path}.{attribute}" if path else attribute
                for name, tensor in _held(value, place, NESTED):
                    for leaf in _leaves_behind(tensor):
                        names.setdefault(id(leaf), name)
    return names


def _held(value: Any, place: str, depth: int) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield place, value
    elif isinstance(value, nn.Module):
        for name, parameter in value.named_parameters():
            yield f"{place}.{name}", parameter
    elif depth and isinstance(value, Mapping | list | tuple):
        whole = cast(Any, value)
        items = whole.items() if isinstance(value, Mapping) else enumerate(whole)
        for key, inner in items:
            yield from _held(inner, f"{place}.{key}", depth - 1)


def _leaves_behind(tensor: Tensor) -> Iterator[Tensor]:
    """The tensor, or the leaves that it was made from before the forward pass."""
    if tensor.grad_fn is None:
        yield tensor
        return
    pending, seen = [cast(Any, tensor.grad_fn)], set[Any]()
    while pending:
        node = pending.pop()
        if node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            yield node.variable
        pending += [behind for behind, _ in node.next_functions if behind is not None]
