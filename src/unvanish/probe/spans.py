"""Which module call made which operation.

Autograd numbers its nodes in the order in which they are made. A module call spans the numbers
between its start and its end, so the innermost span around a node's number is the call that
made it. The number is a private name of torch (2.0 to 2.13); it is read here and nowhere else.
"""

import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, cast

import torch
from torch import nn
from torch.nn.modules import module as torch_module
from torch.utils.checkpoint import CheckpointFunction

LEAF_NUMBER = 2**64 - 1
"""Autograd gives leaves (AccumulateGrad) the largest number, so that they run first."""


def next_number() -> int:
    """The number that the next autograd node of this thread will get."""
    return int(cast(Any, torch._C)._autograd._get_sequence_nr())


def running_node() -> Any:
    """The autograd node whose backward runs now on this thread, or ``None``."""
    return cast(Any, torch._C)._current_autograd_node()


def in_reentrant_checkpoint() -> bool:
    """Whether the first, gradient-free pass of torch's reentrant checkpoint is running."""
    code = cast(Any, CheckpointFunction.forward).__code__
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code is code:
            return True
        frame = frame.f_back
    return False


def number_of(node: Any) -> int:
    """The number of an autograd node; :data:`LEAF_NUMBER` for leaves."""
    return int(node._sequence_nr())


def node_key(node: Any) -> tuple[int, int] | None:
    """What tells a node of this thread from all others without keeping its graph alive."""
    return None if node is None else (threading.get_ident(), number_of(node))


@dataclass(slots=True)
class Span:
    """One call of one module: ``start <= number < end`` for the nodes it made, by thread."""

    path: str
    call: int
    start: int
    thread: int
    own: bool
    end: int = LEAF_NUMBER
    module: nn.Module | None = field(default=None, repr=False)


EntryHook = Callable[[nn.Module, tuple[Any, ...], str], tuple[Any, ...] | None]


class ModuleSpans:
    """Watches every module call while it is open; owns two global hooks and removes them.

    ``on_entry(module, arguments, path)`` is called when a module of interest starts and may return
    replaced arguments; ``on_stranger(module)`` before a module that is not the model's runs.
    Calls made while recomputing (checkpointing in backward) get the call number that they had in
    the forward pass.
    """

    def __init__(
        self,
        model: nn.Module,
        on_entry: EntryHook | None = None,
        on_stranger: Callable[[nn.Module], None] | None = None,
    ) -> None:
        self.spans: list[Span] = []
        self.stack: list[Span] = []
        self.failed: str | None = None
        self._thread_of: Callable[[Any], int | None] | None = None
        self._replays: dict[Any, int] = {}
        self.names = {id(module): name for name, module in model.named_modules()}
        self.calls: dict[str, int] = {}
        self._strangers: dict[str, list[int]] = {}
        self.alive: list[nn.Module] = []  # so that no other module gets the id of a stranger
        self.on_entry = on_entry
        self._on_stranger = on_stranger
        self._handles: list[Any] = []
        self._thread = threading.get_ident()

    def __enter__(self) -> "ModuleSpans":
        self._thread = threading.get_ident()
        self._handles = [
            torch_module.register_module_forward_pre_hook(cast(Any, self.enter)),
            torch_module.register_module_forward_hook(self._leave, always_call=True),
        ]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    @property
    def path(self) -> str:
        """Path of the innermost module that is running now; "" at the root or outside."""
        return self.stack[-1].path if self.stack else ""

    @property
    def call(self) -> int:
        return self.stack[-1].call if self.stack else 0

    @property
    def inside_model(self) -> bool:
        """Whether one of the model's own modules is running."""
        return any(span.own for span in self.stack)

    def _elsewhere(self) -> bool:
        """Whether this thread runs something else: not this pass, and not its recomputation."""
        if threading.get_ident() == self._thread:
            return False
        node = running_node()
        return node is None or self._thread_of is None or self._thread_of(node) is None

    def enter(self, module: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Called as a module starts; what it returns takes the place of the arguments."""
        if self._elsewhere():
            return None
        path = self.names.get(id(module))
        own = path is not None
        if path is None:
            path = self._name_stranger(module)
        recomputing = self._thread_of is not None
        call = self._replayed_call(path) if recomputing else self.calls.get(path, 0)
        if not recomputing:
            self.calls[path] = call + 1
        span = Span(path, call, next_number(), threading.get_ident(), own, module=module)
        self.spans.append(span)
        self.stack.append(span)
        if self.on_entry is None or recomputing:
            return None
        return self.on_entry(module, arguments, path)

    def recompute_in(self, thread_of: Callable[[Any], int | None]) -> None:
        """From now on module calls are recomputations; ``thread_of(node)`` made the node."""
        self._thread_of = thread_of

    def _replayed_call(self, path: str) -> int:
        """The number that this call had when it ran before.

        The checkpoint's node was numbered just before its forward ran; the spans that started
        after that number are, in order, the calls that are replayed now.
        """
        last = max(self.calls.get(path, 0) - 1, 0)
        node = running_node()
        thread = self._thread_of(node) if node is not None and self._thread_of is not None else None
        if thread is None:
            return last
        if node not in self._replays:
            number = number_of(node)
            after = (i for i, s in enumerate(self.spans) if s.thread == thread and s.start > number)
            self._replays[node] = next(after, len(self.spans))
        while self._replays[node] < len(self.spans):
            span = self.spans[self._replays[node]]
            self._replays[node] += 1
            if span.path == path:
                return span.call
        return last

    def _leave(self, module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        if self._elsewhere():
            return
        error = sys.exc_info()[0]
        # Checkpointing ends a recomputation early by an exception of its own.
        stopped = error is not None and error.__name__ == "_StopRecomputationError"
        if output is None and error is not None and not stopped and self.failed is None:
            self.failed = self.path or type(module).__name__
        # A module that raised before its own hook ran leaves its span above ours: close both.
        while self.stack:
            span = self.stack.pop()
            span.end = next_number()
            if span.module is module:
                break

    def _name_stranger(self, module: nn.Module) -> str:
        """``parent.<Linear#2>``: a module that is called but not registered in the model."""
        kind = type(module).__name__
        known = self._strangers.setdefault(kind, [])
        if id(module) not in known:
            known.append(id(module))
            self.alive.append(module)
            if self._on_stranger is not None:
                self._on_stranger(module)
        number = known.index(id(module))
        parent = f"{self.path}." if self.path else ""
        return f"{parent}<{kind}#{number}>" if number else f"{parent}<{kind}>"

    def locate(self, numbers: dict[int, int], thread: int) -> dict[int, Span]:
        """The innermost span of every node number.

        Args:
            numbers: node index -> node number.
            thread: the thread that made these nodes.

        Returns:
            Node index -> span, for the nodes that some span contains.
        """
        spans = sorted(
            (s for s in self.spans if s.thread == thread and s.end > s.start),
            key=lambda s: (s.start, -s.end),
        )
        found: dict[int, Span] = {}
        open_spans: list[Span] = []
        position = 0
        for index, number in sorted(numbers.items(), key=lambda item: item[1]):
            if number == LEAF_NUMBER:
                break
            while position < len(spans) and spans[position].start <= number:
                open_spans.append(spans[position])
                position += 1
            while open_spans and open_spans[-1].end <= number:
                open_spans.pop()
            if open_spans:
                found[index] = open_spans[-1]
        return found
