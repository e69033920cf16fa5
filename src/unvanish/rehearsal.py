"""A rehearsal: a few real optimizer steps on a copy, and what each of them did."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """What the steps did to one parameter tensor; one figure a step, norms are l2.

    ``update`` is the norm of the real change of the weights (momentum, weight decay, everything
    the optimizer did), ``weight`` their norm before the step, ``gradient`` that of their gradient
    (``None``: there was none), ``descent`` the cosine between change and negative gradient.
    """

    name: str
    update: tuple[float, ...]
    weight: tuple[float, ...]
    gradient: tuple[float | None, ...]
    descent: tuple[float | None, ...]

    @property
    def update_to_weight(self) -> tuple[float, ...]:
        """Relative change a step; a tensor that is still zero has none."""
        pairs = zip(self.update, self.weight, strict=True)
        return tuple(update / weight for update, weight in pairs if weight > 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """The record of some real steps on a copy.

    ``losses[k]`` is the loss before step ``k``, ``initial`` and ``final`` the mean loss over the
    batches before the first and after the last step, ``stopped`` why there were fewer.
    """

    losses: tuple[float, ...]
    initial: float
    final: float
    movements: tuple[Movement, ...]
    stopped: str | None = None

    @property
    def finite(self) -> bool:
        return self.stopped is None and all(math.isfinite(v) for v in (*self.losses, self.final))

    @property
    def fell(self) -> float:
        """Share of the initial loss that is gone (negative: it rose)."""
        if not self.finite or self.initial == 0:
            return -math.inf
        return (self.initial - self.final) / abs(self.initial)

    def movement(self, name: str) -> Movement | None:
        """The movement of one parameter, if it trained."""
        return next((m for m in self.movements if m.name == name), None)


def rehearse(
    twin: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Sequence[Any],
    steps: int,
    loss_of: Callable[[nn.Module, Any], Tensor],
) -> Rehearsal:
    """Take real steps with a copy and record them; stops at the first loss that is not finite."""
    tracked = [(n, p) for n, p in twin.named_parameters() if p.requires_grad]
    rows: dict[str, list[tuple[float, float, float | None, float | None]]] = {
        n: [] for n, _ in tracked
    }
    losses: list[float] = []
    initial = mean_loss(twin, batches, loss_of)
    stopped = None
    for number in range(steps):
        optimizer.zero_grad()
        value = loss_of(twin, batches[number % len(batches)])
        losses.append(float(value.detach()))
        if not math.isfinite(losses[-1]):
            stopped = f"the loss was {losses[-1]} at step {number}"
            break
        value.backward()
        before = [p.detach().clone() for _, p in tracked]
        optimizer.step()
        for (name, parameter), old in zip(tracked, before, strict=True):
            rows[name].append(_row(parameter, old))
    movements = tuple(
        Movement(name=name, update=u, weight=w, gradient=g, descent=d)
        for name, found in rows.items()
        if found
        for u, w, g, d in [tuple(zip(*found, strict=True))]
    )
    final = mean_loss(twin, batches, loss_of) if stopped is None else math.nan
    return Rehearsal(
        losses=tuple(losses), initial=initial, final=final, movements=movements, stopped=stopped
    )


def _row(parameter: Tensor, old: Tensor) -> tuple[float, float, float | None, float | None]:
    change = (parameter.detach() - old).double()
    size = float(change.norm())
    gradient = parameter.grad
    if gradient is None:
        return size, float(old.double().norm()), None, None
    dense = (
        (gradient.to_dense() if gradient.layout != torch.strided else gradient).detach().double()
    )
    norm = float(dense.norm())
    product = size * norm
    cosine = -float((change * dense).sum()) / product if product > 0 else None
    return size, float(old.double().norm()), norm, cosine


def mean_loss(
    model: nn.Module, batches: Sequence[Any], loss_of: Callable[[nn.Module, Any], Tensor]
) -> float:
    """Mean loss over the batches, without gradient."""
    with torch.no_grad():
        values = [float(loss_of(model, batch)) for batch in batches]
    return math.fsum(values) / len(values)
