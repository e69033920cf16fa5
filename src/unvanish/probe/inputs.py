"""Whose leaf is it: a parameter of the model, an input that data enters by, or a stranger."""

from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from unvanish.probe.forward import ForwardRecorder


class Leaves:
    """The leaves of one graph that data enters by; ``names`` are the model's parameters by id."""

    def __init__(self, names: dict[int, str]) -> None:
        self.names = names
        self._inputs: dict[int, Tensor] = {}  # keeps them alive, so that ids stay theirs
        self._given: set[int] = set()
        self._recorder: ForwardRecorder | None = None

    def add_input(self, leaf: Tensor, given: bool = False) -> None:
        """Count ``leaf`` as input; ``given`` says it requires grad in the user's own run too."""
        self._inputs[id(leaf)] = leaf
        if given:
            self._given.add(id(leaf))

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
        return self._recorder.flow.calls[start].data

    def release(self) -> None:
        """Let go of the tensors."""
        self._inputs.clear()
        self._recorder = None
