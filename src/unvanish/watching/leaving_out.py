"""One step of an optimizer left out, though its ``step`` runs."""

from typing import Any, cast

import torch
from torch import Tensor

from unvanish.guard import snapshot
from unvanish.guard.policy import Moment


class LeavingOut:
    """Takes the gradients away for one step, and gives them back after it.

    Optimizers of torch leave a tensor without gradient alone: no decay, no momentum, no count. One
    from elsewhere may not ask whether there is a gradient, nor bear that there are no tensors. It
    steps with gradients of zero, which every one bears (one that decomposes a matrix would not
    bear NaN), and what it made of them is undone: weights, its state, its groups' numbers.
    """

    def __init__(self) -> None:
        self._aside: list[tuple[Tensor, Tensor, Tensor | None]] = []
        self._before: snapshot.Snapshot | None = None
        self._moment: Moment | None = None
        self._groups: list[tuple[dict[str, Any], dict[str, Any]]] = []

    def begin(self, moment: Moment) -> None:
        """Before the step."""
        optimizer = moment.optimizer
        foreign = type(optimizer).__module__.partition(".")[0] != "torch"
        if foreign:
            self._moment, self._before = moment, snapshot.take(moment)
            self._groups = [(group, dict(group)) for group in optimizer.param_groups]
        for group in optimizer.param_groups:
            for parameter in cast(list[Tensor], group["params"]):
                gradient = parameter.grad
                if gradient is not None:
                    parameter.grad = torch.zeros_like(gradient) if foreign else None
                    self._aside.append((parameter, gradient, parameter.grad))

    def end(self) -> None:
        """After it, or where it is given up. May be repeated."""
        for parameter, gradient, instead in self._aside:
            if parameter.grad is instead:  # not where the step itself cleared it
                parameter.grad = gradient
        if self._before is not None and self._moment is not None:
            snapshot.put_back(self._before, self._moment)
        for group, before in self._groups:
            group.update(before)
        self._aside, self._before, self._moment, self._groups = [], None, None, []
