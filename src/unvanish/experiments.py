"""Experiments on a copy: what would happen if. The user's model is never stepped."""

import copy
from collections.abc import Callable, Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn

from unvanish.batches import Forward, Loss, compute_loss, take_batches
from unvanish.errors import BadInput, UnvanishError
from unvanish.preserve import preserved
from unvanish.probe.observe import eager, observe, unwrapped
from unvanish.trace import Trace

OptimizerFactory = Callable[[Iterable[Tensor]], torch.optim.Optimizer]


class Bench:
    """The laboratory of one diagnosis; remembers what was tried and what could not be."""

    def __init__(
        self,
        model: nn.Module,
        data: Any,
        loss: Loss | None,
        forward: Forward | None,
        optimizer: torch.optim.Optimizer | OptimizerFactory | None,
        seed: int,
    ) -> None:
        self._model, self._data, self._loss, self._forward = (
            unwrapped(model)[0],
            data,
            loss,
            forward,
        )
        self._optimizer, self._seed = optimizer, seed
        self._traces: dict[int, Trace | None] = {}
        self.failures: list[str] = []

    def after_steps(self, steps: int) -> Trace | None:
        """The trace of a copy after real optimizer steps; run once for each number of steps.

        With no optimizer given, Adam at its default step: it moves every weight that gets any
        gradient by the same small amount, so what stays put got none.
        """
        if steps not in self._traces:
            self._traces[steps] = self._try_steps(steps)
        return self._traces[steps]

    def _try_steps(self, steps: int) -> Trace | None:
        try:
            trained = self._step_copy(steps)
            return observe(trained, self._data, self._loss, self._forward, self._seed)
        except (UnvanishError, RuntimeError, TypeError, ValueError) as error:
            said = (str(error).splitlines() or [type(error).__name__])[0]
            self.failures.append(f"{steps} steps on a copy could not be taken: {said}")
            return None

    def _step_copy(self, steps: int) -> nn.Module:
        twin = copy.deepcopy(self._model)
        optimizer = copied_optimizer(self._optimizer, self._model, twin)
        batches = take_batches(self._data, steps)
        with preserved(self._model, self._seed), eager():
            for number in range(steps):
                optimizer.zero_grad()
                batch = batches[number % len(batches)]
                compute_loss(twin, batch, self._loss, self._forward).backward()
                optimizer.step()
        return twin


def copied_optimizer(
    optimizer: torch.optim.Optimizer | OptimizerFactory | None, model: nn.Module, twin: nn.Module
) -> torch.optim.Optimizer:
    """The user's optimizer over the parameters of a copy: same class, groups, options and state.

    Raises:
        BadInput: ``optimizer`` is neither an optimizer nor a factory.
    """
    if optimizer is None:
        return torch.optim.Adam([p for p in twin.parameters() if p.requires_grad])
    if not isinstance(optimizer, torch.optim.Optimizer):
        made = cast(Any, optimizer([p for p in twin.parameters() if p.requires_grad]))
        if not isinstance(made, torch.optim.Optimizer):
            raise BadInput(
                f"optimizer: the factory returned {type(made).__name__}, not a torch.optim.Optimizer."
            )
        return made
    # deepcopy keeps identity within one call: giving it both keeps them together.
    memo = {id(p): q for p, q in zip(model.parameters(), twin.parameters(), strict=True)}
    return copy.deepcopy(optimizer, cast(dict[int, Any], memo))


def check_optimizer(optimizer: Any) -> None:
    """Refuse what is neither an optimizer nor a factory of one.

    Raises:
        BadInput: it is something else.
    """
    if optimizer is None or isinstance(optimizer, torch.optim.Optimizer) or callable(optimizer):
        return
    raise BadInput(
        "optimizer must be a torch.optim.Optimizer over the model's parameters or a factory "
        f"params -> Optimizer, got {type(optimizer).__name__}."
    )
