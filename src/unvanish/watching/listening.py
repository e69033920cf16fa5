"""torch's training functions, listened to by everybody who watches in this process.

They are exchanged when the first listener comes and put back when the last one goes. Where
somebody else exchanged one in the meantime, ours stays where it is and hands every call on.
"""

import functools
import threading
import weakref
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.amp.grad_scaler import GradScaler

from unvanish.shards import is_distributed
from unvanish.training.interception import cell_of, clipping_arguments, standing_for

Call = Callable[..., Any]


class Listener(Protocol):
    """What happens in the training of this process, as it happens. Nothing here may raise."""

    def before_backward(self, loss: Tensor, roots: Any, scale: Any, given: Any) -> None:
        """A backward call begins. ``loss`` is before a loss scaler multiplied it by ``scale``.

        ``given``: the gradient of the first root, where the caller has one.
        """
        ...

    def after_backward(self, failed: bool) -> None: ...

    def clipped(self, parameters: list[Tensor], factor: Any, limit: float, kind: str) -> None:
        """Gradients of these were clipped; ``factor`` multiplied all of them (None: by value, or unknown)."""
        ...

    def before_scaler_step(self, scaler: GradScaler, optimizer: Any) -> None: ...

    def after_scaler_step(self, scaler: GradScaler, optimizer: Any) -> None: ...

    def scale_updated(self, scaler: GradScaler) -> None: ...


class _Place:
    """One function that can be exchanged: how to read it and how to write it."""

    def __init__(
        self, read: Callable[[], Call], write: Callable[[Call], None], make: Callable[[Call], Call]
    ) -> None:
        self._read, self._write, self._make = read, write, make
        self._original: Call | None = None
        self._exchanged: Call | None = None

    def exchange(self) -> None:
        if self._exchanged is not None:  # covered by somebody else's when we left: still in place
            return
        original = self._read()
        exchanged = self._make(original)
        self._write(exchanged)
        self._original, self._exchanged = original, exchanged

    def put_back(self) -> None:
        if self._original is not None and self._read() is self._exchanged:
            self._write(self._original)
            self._original = self._exchanged = None


def _attribute(owner: Any, name: str, make: Callable[[Call], Call]) -> _Place:
    return _Place(
        lambda: owner.__dict__[name], lambda function: setattr(owner, name, function), make
    )


def _inner(function: Call, make: Callable[[Call], Call]) -> _Place | None:
    """What a decorated function calls, so that every reference that a script holds is listened to."""
    cell = cell_of(function)
    if cell is None:
        return None
    return _Place(
        lambda: cell.cell_contents,
        lambda given: setattr(cell, "cell_contents", given),
        lambda original: standing_for(function, make(original)),
    )


class _Listening:
    """Who listens, and the places listened at."""

    def __init__(self) -> None:
        self._listeners: tuple[Listener, ...] = ()
        self._lock = threading.RLock()
        self._places: list[_Place] | None = None
        self._depth = threading.local()
        self._products: dict[int, tuple[Any, Tensor, Any]] = {}

    def add(self, listener: Listener) -> None:
        """Hear what happens from now on."""
        with self._lock:
            if self._places is None:
                self._places = self._make_places()
            if not self._listeners:
                for place in self._places:
                    place.exchange()
            self._listeners = (*self._listeners, listener)

    def remove(self, listener: Listener) -> None:
        """Hear nothing any more; the last one to go puts torch's functions back."""
        with self._lock:
            self._listeners = tuple(one for one in self._listeners if one is not listener)
            if not self._listeners and self._places is not None:
                for place in self._places:
                    place.put_back()
                self._products.clear()

    def _make_places(self) -> list[_Place]:
        places = [
            _attribute(torch.autograd, "backward", self._backward),
            _attribute(GradScaler, "scale", self._scale),
            _attribute(GradScaler, "step", self._scaler_step),
            _attribute(GradScaler, "update", self._update),
        ]
        clips = torch.nn.utils
        found = [
            _inner(clips.clip_grad_norm_, self._clip_norm),
            _inner(clips.clip_grad_value_, self._clip_value),
        ]
        return places + [place for place in found if place is not None]

    @contextmanager
    def _outermost(self) -> Generator[bool]:
        """Whether this is no call from inside another one, in this thread."""
        depth: int = getattr(self._depth, "value", 0)
        self._depth.value = depth + 1
        try:
            yield depth == 0
        finally:
            self._depth.value = depth

    def _backward(self, original: Call) -> Call:
        def backward(tensors: Any, *arguments: Any, **options: Any) -> Any:
            with self._outermost() as outermost:  # a checkpoint recomputes within a backward pass
                # Of a pass that is to reach chosen tensors only, parameters would look unreached.
                whole = options.get("inputs") is None
                listeners = self._listeners if outermost and whole else ()
                if not listeners:
                    return original(tensors, *arguments, **options)
                if not isinstance(tensors, Tensor):
                    tensors = tuple(tensors)  # a generator can be read only once
                loss, scale = self._behind(tensors)
                given = _first(arguments[0] if arguments else options.get("grad_tensors"))
                failed = True
                try:
                    for listener in listeners:
                        listener.before_backward(loss, tensors, scale, given)
                    result = original(tensors, *arguments, **options)
                    failed = False
                    return result
                finally:
                    for listener in listeners:
                        listener.after_backward(failed)

        return backward

    def _behind(self, tensors: Any) -> tuple[Tensor, Any]:
        root = tensors if isinstance(tensors, Tensor) else tensors[0]
        known = self._products.pop(id(root), None)
        self._products.clear()
        if known is None or known[0]() is not root:
            return root, None
        return known[1], known[2]

    def _scale(self, original: Call) -> Call:
        def scale(scaler: GradScaler, outputs: Any) -> Any:
            result = original(scaler, outputs)
            if self._listeners and isinstance(outputs, Tensor) and result is not outputs:
                held = weakref.ref(result)
                self._products[id(result)] = held, outputs.detach(), scaler._scale
            return result

        return scale

    def _scaler_step(self, original: Call) -> Call:
        def step(scaler: GradScaler, optimizer: Any, *rest: Any, **more: Any) -> Any:
            listeners = self._listeners
            for listener in listeners:
                listener.before_scaler_step(scaler, optimizer)
            result = original(scaler, optimizer, *rest, **more)
            for listener in listeners:
                listener.after_scaler_step(scaler, optimizer)
            return result

        return step

    def _update(self, original: Call) -> Call:
        def update(scaler: GradScaler, *arguments: Any, **options: Any) -> Any:
            result = original(scaler, *arguments, **options)
            for listener in self._listeners:
                listener.scale_updated(scaler)
            return result

        return update

    def _clip_norm(self, original: Call) -> Call:
        read = clipping_arguments(original)

        @functools.wraps(original)  # who listens on top of us asks for the names of its arguments
        def clip_grad_norm_(*arguments: Any, **options: Any) -> Any:
            listeners = self._listeners
            if not listeners:
                return original(*arguments, **options)
            given, parameters, name = read(arguments, options)
            limit = float(given.arguments[name])
            total = original(*given.args, **given.kwargs)
            factor = _factor(total, limit)
            for listener in listeners:
                listener.clipped(parameters, factor, limit, "norm")
            return total

        return clip_grad_norm_

    def _clip_value(self, original: Call) -> Call:
        read = clipping_arguments(original)

        @functools.wraps(original)
        def clip_grad_value_(*arguments: Any, **options: Any) -> Any:
            listeners = self._listeners
            if not listeners:
                return original(*arguments, **options)
            given, parameters, name = read(arguments, options)
            limit = float(given.arguments[name])
            result = original(*given.args, **given.kwargs)
            for listener in listeners:
                listener.clipped(parameters, None, limit, "value")
            return result

        return clip_grad_value_


def _first(given: Any) -> Any:
    """The gradient of the first root; a generator is left alone: it can be read only once."""
    return given[0] if isinstance(given, list | tuple) and given else given


def _factor(total: Tensor, limit: float) -> Tensor | None:
    """What ``clip_grad_norm_`` has multiplied gradients by (torch's own formula: even where it is 1).

    Unknown where the norm is a distributed tensor: to read it every process would have to be asked.
    """
    if is_distributed(total):
        return None
    return (limit / (total.detach() + 1e-6)).clamp(max=1.0)


LISTENING = _Listening()
"""The one of this process: there is only one ``torch.autograd.backward`` to exchange."""
