"""The recorder of a forward pass that is not ours: it may be put on and taken off at any moment."""

import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import (
    TorchFunctionMode,
    _get_current_function_mode_stack,  # pyright: ignore[reportPrivateUsage]
    _pop_mode,  # pyright: ignore[reportPrivateUsage]
    _push_mode,  # pyright: ignore[reportPrivateUsage]
)

from unvanish.probe.activations import ActivationReader
from unvanish.probe.backward import Own
from unvanish.probe.forward import ForwardRecorder
from unvanish.probe.functions import Arguments
from unvanish.probe.spans import ModuleSpans

MOST_CALLS = 100_000
"""Functions that are recorded: a step of more is no longer looked at but held up."""


class LiveRecorder(ForwardRecorder):
    """A :class:`ForwardRecorder` whose own failures are none of the program's.

    It lies at the bottom of the stack of function modes, below whatever the program enters and
    leaves while it looks.
    """

    def __init__(
        self,
        own: Own,
        spans: ModuleSpans,
        parameters: dict[int, str],
        constants: set[int],
        before_write: Callable[[Tensor], None] | None,
        activations: ActivationReader | None,
    ) -> None:
        super().__init__(spans, parameters, constants, before_write, activations)
        self.off = False
        self._own = own
        self._inside = 0
        self._thread: int | None = None

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if self.off:
            return func(*args, **kwargs)
        self._inside += 1
        try:
            arguments = Arguments(func, args, kwargs)
            with self._own():
                self.before(arguments)
            output = func(*args, **kwargs)
            with self._own():
                self._note(arguments, output)
            return output
        finally:
            self._inside -= 1

    def _note(self, arguments: Arguments, output: Any) -> None:
        if not self.off:
            self.after(arguments, output)
        if len(self.flow.calls) > MOST_CALLS:
            raise OverflowError(f"the step makes more than {MOST_CALLS:,} calls")

    def _foreign(self, inputs: list[Tensor], index: int) -> int:
        # Targets are met first outside of the model: they came with the batch.
        return super()._foreign(inputs, index) if self._spans.inside_model else 0

    @property
    def on(self) -> bool:
        """Whether it lies on the stack of some thread."""
        return self._thread is not None

    def put_on(self) -> None:
        """Lie below every mode of this thread, but above the default device, as torch wants it."""
        if self.on:
            return
        default = _default_device()

        def change(stack: list[Any]) -> list[Any]:
            lowest = int(bool(stack) and stack[0] is default)
            return [*stack[:lowest], self, *stack[lowest:]]

        _rebuild(change)
        self._thread = threading.get_ident()

    def take_off(self) -> bool:
        """Leave the stack; ``False`` where that is not possible now: another thread's, or in use."""
        if not self.on:
            return True
        if self._thread != threading.get_ident() or self._inside:
            return False
        _rebuild(lambda stack: [mode for mode in stack if mode is not self])
        self._thread = None
        return True

    def forward_is_gone(self) -> bool:
        """Whether no tensor that could lead a backward pass here is alive any more."""
        made = (reference() for reference, _ in self._made_by.values())
        # A leaf leads nowhere: a parameter, or the buffer that the next input is received in.
        return not any(t is not None and t.grad_fn is not None for t in made)


def _default_device() -> Any:
    """The mode of ``torch.set_default_device``, which insists on the lowest place; or ``None``."""
    return getattr(getattr(torch, "_GLOBAL_DEVICE_CONTEXT", None), "device_context", None)


def _rebuild(change: Callable[[list[Any]], list[Any]]) -> None:
    stack: list[TorchFunctionMode] = list(_get_current_function_mode_stack())
    for _ in stack:
        _pop_mode()
    for mode in change(stack):
        _push_mode(mode)
