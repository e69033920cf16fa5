"""What a function can reach besides its arguments, and how to give it back as it was.

A training step uses a loss scaler, a second model, an average of weights that live outside of it.
Calling it on copies must not move those.
"""

import contextlib
import copy
import functools
import inspect
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from types import FunctionType, MethodType, ModuleType
from typing import Any, cast

import torch
from torch import Tensor, nn

_DEEP = 5  # a step calls a helper that calls a helper; further down nobody keeps a model
_LIBRARIES = ("torch", "numpy", "builtins")
"""Functions of these keep no state of the user's, and lead to a great many others."""


def reached(function: Callable[..., Any]) -> list[Any]:
    """Modules, optimizers and everything with a ``state_dict`` that a function can get hold of.

    Looked at are its closure, the globals that it names, its defaults, the object that it is
    bound to, and the functions found there.

    >>> scaler = torch.amp.GradScaler("cpu")
    >>> reached(lambda model: scaler.scale(model))[0] is scaler
    True
    """
    found: dict[int, Any] = {}
    seen: set[int] = set()
    pending: list[tuple[Any, int]] = [(function, 0)]
    while pending:
        value, depth = pending.pop()
        if id(value) in seen or depth > _DEEP:
            continue
        seen.add(id(value))
        if hasattr(value, "state_dict") and not isinstance(value, type):
            found[id(value)] = value
        else:
            pending += [(inner, depth + 1) for inner in _inside(value)]
    return list(found.values())


def _inside(value: Any) -> Iterator[Any]:
    if isinstance(value, functools.partial):
        yield from (cast(Any, value.func), *value.args, *value.keywords.values())
    elif isinstance(value, MethodType):
        yield from (value.__self__, value.__func__)
    elif _of_library(value):
        return
    elif isinstance(value, FunctionType):
        seen = inspect.getclosurevars(value)
        yield from (*seen.nonlocals.values(), *seen.globals.values())
        yield from (*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values())
    elif isinstance(value, Mapping):
        yield from cast(Mapping[Any, Any], value).values()
    elif isinstance(value, list | tuple):
        yield from cast(Iterable[Any], value)
    elif not isinstance(value, type | ModuleType | Tensor) and hasattr(value, "__dict__"):
        yield from vars(value).values()
        if callable(value):
            yield type(value).__call__


def _of_library(value: Any) -> bool:
    return str(getattr(value, "__module__", "")).split(".")[0] in _LIBRARIES


@contextlib.contextmanager
def kept(things: Iterable[Any]) -> Generator[None]:
    """Put modules, optimizers and other stateful things back as they were when the context ends."""
    with contextlib.ExitStack() as stack:
        for thing in things:
            if isinstance(thing, nn.Module):
                stack.callback(_module_keeper(thing))
            elif isinstance(thing, torch.optim.Optimizer):
                stack.callback(_optimizer_keeper(thing))
            else:
                stack.callback(_keeper(thing))
        yield


def _module_keeper(module: nn.Module) -> Callable[[], None]:
    tensors = [(t, t.detach().clone(), t.grad) for t in (*module.parameters(), *module.buffers())]
    modes = [(part, part.training) for part in module.modules()]

    def restore() -> None:
        for tensor, values, gradient in tensors:
            if not torch.equal(tensor.detach(), values):  # else: not one bit was touched
                tensor.data.copy_(values)
            if tensor.is_leaf:
                tensor.grad = gradient
        for part, training in modes:
            part.training = training

    return restore


def _optimizer_keeper(optimizer: torch.optim.Optimizer) -> Callable[[], None]:
    state = {key: dict(value) for key, value in optimizer.state.items()}
    values = {id(t): (t, t.clone()) for entry in state.values() for t in _tensors(entry)}
    groups = [dict(group) for group in optimizer.param_groups]

    def restore() -> None:
        optimizer.state.clear()
        optimizer.state.update(state)
        for tensor, saved in values.values():
            tensor.copy_(saved)
        for group, saved in zip(optimizer.param_groups, groups, strict=False):
            group.clear()
            group.update(saved)

    return restore


def _tensors(entry: Mapping[str, Any]) -> list[Tensor]:
    return [value for value in entry.values() if isinstance(value, Tensor)]


def _keeper(thing: Any) -> Callable[[], None]:
    """Of an object of the user's: its attributes, one level down, tensors by value."""
    own: dict[str, Any] = getattr(thing, "__dict__", {})
    saved = {name: _copied(value) for name, value in own.items()}
    before = dict(own)

    def restore() -> None:
        for name, value in before.items():
            if isinstance(value, Tensor):
                value.detach().copy_(saved[name])
                saved[name] = value
        own.clear()
        own.update(saved)

    return restore


def _copied(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, dict | list | set):
        return copy.copy(cast(Any, value))
    return value
