"""Which gradients an optimizer finds when it steps, and whether it steps inside of another one."""

import math
from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor

from unvanish.signals import l2_each


class Arrivals:
    """Follows the gradients of what one optimizer holds from a backward pass to its step."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer
        self._arrived: list[tuple[Tensor, int]] = []

    def after_backward(self) -> None:
        """Note which tensors have a gradient that is not zero, and their version."""
        held = [p for p in _held(self._optimizer) if p.grad is not None]
        norms = l2_each([cast(Tensor, p.grad) for p in held])
        known = zip(held, norms, strict=True)
        self._arrived = [(p, p._version) for p, norm in known if 0 < norm < math.inf]

    def cleared(self) -> bool:
        """Whether there were gradients, all of them are gone, and nothing was done with them.

        A tensor that changed meanwhile used its gradient: it is stepped by hand or by another.
        """
        there = [p.grad for p, _ in self._arrived if p.grad is not None]
        gone = bool(self._arrived) and not any(l2_each(there))
        return gone and all(p._version == version for p, version in self._arrived)

    def forget(self) -> None:
        """A step is over: what it left is no gradient that arrived."""
        self._arrived = []


class Turns:
    """Which parameters each optimizer steps on its own: not as a part of another one's step.

    Wrappers (a look ahead, a climb to the worst neighbour) step an inner optimizer over the same
    tensors, once for both of them.
    """

    def __init__(self, parameters: Mapping[str, Tensor]) -> None:
        self._names = {id(p): name for name, p in parameters.items()}
        self._stepped: dict[int, frozenset[str]] = {}
        self._open = 0

    def begin(self, optimizer: torch.optim.Optimizer) -> None:
        """A step begins."""
        if not self._open:
            known = (self._names.get(id(tensor)) for tensor in _held(optimizer))
            self._stepped[id(optimizer)] = frozenset(name for name in known if name is not None)
        self._open += 1

    def end(self) -> None:
        """The step that began last is over."""
        self._open -= 1

    def shared(self, optimizer: torch.optim.Optimizer) -> frozenset[str]:
        """What this optimizer and another one each step."""
        others = (names for key, names in self._stepped.items() if key != id(optimizer))
        return self._stepped.get(id(optimizer), frozenset()) & frozenset().union(*others)


def _held(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [tensor for g in optimizer.param_groups for tensor in cast(list[Tensor], g["params"])]
