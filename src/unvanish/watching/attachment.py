"""Hooks at the steps of one optimizer: when its gradients are complete, and when it has stepped.

``Optimizer.step`` of torch calls its pre-hooks before a closure runs, so at that moment the
gradients of LBFGS, or of a framework that computes them inside of the step, are missing or stale:
there the closure is wrapped, and the gradients are those of its first call.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch

Told = Callable[[torch.optim.Optimizer], None]


class Attachment:
    """Tells ``ready`` and ``stepped`` about each step of one optimizer, until :meth:`remove`.

    A step that is compiled (``torch.compile(optimizer.step)``) tells nobody: our code would be
    compiled into it. It leaves a mark, ``compiled``, and who watches looks for that later.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, ready: Told, stepped: Told) -> None:
        self.optimizer = optimizer
        self._ready, self._stepped = ready, stepped
        self.compiled = False
        self._handles = [
            optimizer.register_step_pre_hook(self._before),
            optimizer.register_step_post_hook(self._after),
        ]

    def remove(self) -> None:
        """Take the hooks off."""
        for handle in self._handles:
            handle.remove()

    def _before(
        self, optimizer: torch.optim.Optimizer, arguments: Any, options: dict[str, Any]
    ) -> Any:
        if torch.compiler.is_compiling():
            self.compiled = True
            return None
        # The first argument is the optimizer itself: torch wraps the unbound method.
        positional = len(arguments) > 1 and callable(arguments[1])
        closure: Any = arguments[1] if positional else options.get("closure")
        if not callable(closure):
            self._ready(optimizer)
            return None
        listened = self._listened(closure, optimizer)
        if positional:
            return (arguments[0], listened, *arguments[2:]), options
        return arguments, {**options, "closure": listened}

    def _listened(self, closure: Callable[..., Any], optimizer: torch.optim.Optimizer) -> Any:
        calls = 0

        @functools.wraps(closure)
        def listened(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            result = closure(*arguments, **options)
            calls += 1
            if calls == 1:
                self._ready(optimizer)
            return result

        return listened

    def _after(self, optimizer: torch.optim.Optimizer, arguments: Any, options: Any) -> None:
        if torch.compiler.is_compiling():
            return
        self._stepped(optimizer)


def innermost(optimizer: Any) -> Any:
    """The torch optimizer that takes the steps of the one given.

    A wrapper keeps it as ``optimizer`` (Accelerate's, a sharded one's). An optimizer that makes
    its steps by means of another one keeps that under any name, over the same tensors: its own
    ``step`` may never be called (sharpness-aware minimization by two halves of a step).
    """
    met: set[int] = set()
    while id(optimizer) not in met:
        met.add(id(optimizer))
        inner = getattr(optimizer, "optimizer", None)
        if not isinstance(inner, torch.optim.Optimizer):
            inner = _steps_by(optimizer)
        if inner is None:
            break
        optimizer = inner
    return optimizer


def _steps_by(optimizer: Any) -> torch.optim.Optimizer | None:
    """An optimizer that this one holds, over the very tensors that it is over itself."""
    if not isinstance(optimizer, torch.optim.Optimizer):
        return None
    own = _held(optimizer)
    kept = [one for one in vars(optimizer).values() if isinstance(one, torch.optim.Optimizer)]
    return next((one for one in kept if own and _held(one) == own), None)


def _held(optimizer: torch.optim.Optimizer) -> set[int]:
    return {id(tensor) for group in optimizer.param_groups for tensor in group["params"]}
