"""Listening to what torch's training functions are called with, while a user's step runs.

Everything here is undone when its context ends, whatever happened inside.
"""

import contextlib
import inspect
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler

Call = Callable[..., Any]


@contextlib.contextmanager
def exchanged(owner: Any, name: str, make: Callable[[Call], Call]) -> Generator[None]:
    """Exchange an attribute of a class or module for what ``make`` makes of it."""
    original = owner.__dict__[name]
    setattr(owner, name, make(original))
    try:
        yield
    finally:
        setattr(owner, name, original)


@contextlib.contextmanager
def exchanged_inside(function: Call, make: Callable[[Call], Call]) -> Generator[None]:
    """Exchange what a decorated function calls, so that every reference to it sees the exchange.

    Scripts write ``from torch.nn.utils import clip_grad_norm_``: exchanging the module's attribute
    would miss them. torch wraps these functions to turn gradients off, and the wrapper finds the
    function in a closure cell.
    """
    cell = cell_of(function)
    if cell is None:
        raise RuntimeError(
            f"{function.__name__} of torch {torch.__version__} cannot be listened to"
        )
    inner = cell.cell_contents
    cell.cell_contents = standing_for(function, make(inner))
    try:
        yield
    finally:
        cell.cell_contents = inner


def cell_of(function: Call) -> Any:
    """The closure cell in which a decorated function keeps what it decorates, if there is one.

    Also where somebody listens there already: what stands in it then says for what it does.
    """
    inner = getattr(function, "__wrapped__", None)
    cells: Iterable[Any] = getattr(function, "__closure__", None) or ()
    if inner is None:
        return None
    return next(
        (c for c in cells if getattr(c.cell_contents, _FOR, c.cell_contents) is inner), None
    )


def standing_for(function: Call, replacement: Call) -> Call:
    """Mark what is put into a decorated function's cell, so that :func:`cell_of` finds it again."""
    setattr(replacement, _FOR, getattr(function, "__wrapped__", None))
    return replacement


_FOR = "__stands_for__"


def clipping_arguments(
    original: Call,
) -> Callable[[Any, Any], tuple[inspect.BoundArguments, list[Tensor], str]]:
    """How to read a call of ``clip_grad_norm_`` or ``clip_grad_value_``, whatever names it used.

    Of ``read(arguments, options)``: the call as bound, its parameters as a list, and under which
    name its limit is bound.
    """
    signature = inspect.signature(original)
    parameters, limit = list(signature.parameters)[:2]

    def read(arguments: Any, options: Any) -> tuple[inspect.BoundArguments, list[Tensor], str]:
        given = signature.bind(*arguments, **options)
        listed: Any = given.arguments[parameters]
        # A generator can be read only once: the original gets the list.
        found = [listed] if isinstance(listed, Tensor) else list(listed)
        given.arguments[parameters] = found
        return given, found, limit

    return read


@contextlib.contextmanager
def schedulers_standing_still() -> Generator[None]:
    """Let learning-rate schedulers do nothing: they belong to the user's own optimizer."""

    def standing(step: Call) -> Call:
        return lambda *_, **__: None

    with contextlib.ExitStack() as stack:
        for scheduler in {LRScheduler, *_subclasses(LRScheduler)}:
            if "step" in scheduler.__dict__:
                stack.enter_context(exchanged(scheduler, "step", standing))
        yield


def _subclasses(parent: type) -> Iterator[type]:
    for child in parent.__subclasses__():
        yield child
        yield from _subclasses(child)
