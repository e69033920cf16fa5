"""What a look at a running training listens to besides hooks: backward calls and compiled code.

A function mode is off the stack while a function that it sees runs, and comes back after it: what
``loss.backward()`` should find removed has to be removed before the call is seen. So the method
itself is exchanged while somebody looks, once for all who do.
"""

import functools
import sys
import threading
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from unvanish.probe.spans import running_node

Call = Callable[..., Any]


class Listener(Protocol):
    """Who is told."""

    def step_aside(self) -> None:
        """A backward pass is about to start."""

    def come_back(self) -> None:
        """It is over."""

    def recomputes(self, tensors: Any) -> None:
        """A backward pass on these tensors starts inside another."""

    def compiled(self) -> None:
        """Compiled code is about to run: it must meet no hook and no mode that it was not made with."""


_listeners: list[Listener] = []
_exchanged: list[tuple[Any, str, Call, Call]] = []
_lock = threading.Lock()


def listen(listener: Listener) -> None:
    """Tell this one from now on."""
    with _lock:
        _listeners.append(listener)
        if _exchanged:
            return
        _exchange(Tensor, "backward", _around_backward)
        _exchange(torch.autograd, "backward", _before_recomputing)
        frames = sys.modules.get("torch._dynamo.eval_frame")
        for name in ("_maybe_set_eval_frame", "set_eval_frame"):
            if frames is not None and hasattr(frames, name):
                _exchange(frames, name, _before_compiled)
                break
        compiled: Any = getattr(frames, "OptimizedModule", None)
        if compiled is not None and "__call__" in compiled.__dict__:
            _exchange(compiled, "__call__", _before_compiled_module)


def leave(listener: Listener) -> None:
    """Tell this one no more; with the last one to leave, torch is as it was."""
    with _lock:
        if listener not in _listeners:
            return
        _listeners.remove(listener)
        while _exchanged and not _listeners:
            owner, name, original, ours = _exchanged.pop()
            if owner.__dict__.get(name) is ours:  # else another has wrapped it: ours passes on
                setattr(owner, name, original)


def _exchange(owner: Any, name: str, make: Callable[[Call], Call]) -> None:
    original = owner.__dict__[name]
    ours = make(original)
    setattr(owner, name, ours)
    _exchanged.append((owner, name, original, ours))


def _around_backward(original: Call) -> Call:
    @functools.wraps(original)
    def backward(*arguments: Any, **options: Any) -> Any:
        told = list(_listeners)
        for listener in told:
            listener.step_aside()
        try:
            return original(*arguments, **options)
        finally:
            for listener in told:
                listener.come_back()

    return backward


def _before_recomputing(original: Call) -> Call:
    @functools.wraps(original)
    def backward(tensors: Any, *arguments: Any, **options: Any) -> Any:
        if running_node() is not None:
            if not isinstance(tensors, Tensor):
                tensors = tuple(tensors)  # a generator can be read only once
            for listener in list(_listeners):
                listener.recomputes(tensors)
        return original(tensors, *arguments, **options)

    return backward


def _before_compiled(original: Call) -> Call:
    @functools.wraps(original)
    def set_eval_frame(callback: Any) -> Any:
        if callback is not None and callback is not False:
            for listener in list(_listeners):
                listener.compiled()
        return original(callback)

    return set_eval_frame


def _before_compiled_module(original: Call) -> Call:
    # It warns about global hooks before it runs anything, and ours are to be gone by then.
    @functools.wraps(original)
    def call(module: Any, *arguments: Any, **options: Any) -> Any:
        for listener in list(_listeners):
            listener.compiled()
        return original(module, *arguments, **options)

    return call
