"""A rehearsal: a few real optimizer steps on a copy, and what each of them did."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from unvanish.preserve import Guard
from unvanish.probe.graph import nodes_behind
from unvanish.signals import count_zeros, inner, l2, l2_each
from unvanish.training.optimizer_copy import asks_for_closure

EVALUATED = 4
"""Batches on which the loss before and after is taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a tensor: squared norms of change and weights, and their inner product."""

    update: float
    weight: float
    product: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """What the steps did to one parameter tensor; one figure a step, norms are l2.

    ``update`` is the norm of the real change of the weights (momentum, weight decay, everything
    the optimizer did), ``weight`` their norm before the step, ``gradient`` that of their gradient
    (``None``: there was none), ``descent`` the cosine between change and negative gradient, ``moved``
    the rms change of the entries that had a gradient, in units of the learning rate. ``first`` is
    the first step on the entries that had a gradient (``None``: none had).
    """

    name: str
    dimensions: int
    rate: float
    update: tuple[float, ...]
    weight: tuple[float, ...]
    gradient: tuple[float | None, ...]
    descent: tuple[float | None, ...]
    moved: tuple[float | None, ...]
    first: "Step | None" = None

    @property
    def update_to_weight(self) -> tuple[float, ...]:
        """Relative change a step; a tensor that is still zero has none."""
        pairs = zip(self.update, self.weight, strict=True)
        return tuple(update / weight for update, weight in pairs if weight > 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """The record of some real steps on a copy.

    ``losses[k]`` is the loss before step ``k``, ``initial`` and ``final`` the mean loss over up to
    four batches before the first and after the last step, ``stopped`` why there were fewer.
    """

    optimizer: str
    losses: tuple[float, ...]
    initial: float
    final: float
    movements: tuple[Movement, ...]
    stopped: str | None = None

    @property
    def finite(self) -> bool:
        """Whether the loss stayed a number."""
        return self.stopped is None and all(math.isfinite(v) for v in (*self.losses, self.final))

    @property
    def fell(self) -> float:
        """Share of the initial loss that is gone (negative: it rose; -inf: no number any more)."""
        if not self.finite or self.initial == 0:
            return -math.inf
        return (self.initial - self.final) / abs(self.initial)

    @property
    def weights(self) -> tuple[Movement, ...]:
        """The movements of tensors with two or more dimensions that have a size to compare with."""
        return tuple(m for m in self.movements if m.dimensions >= 2 and m.weight[0] > 0)


LossOf = Callable[[nn.Module, Any], Tensor]
Take = Callable[[nn.Module, torch.optim.Optimizer, Any], Any]
Row = tuple[float, float, float | None, float | None, float | None, Step | None]


def rehearse(
    twin: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Sequence[Any],
    steps: int,
    loss_of: LossOf,
    take: Take | None = None,
    *,
    tracked: bool = True,
) -> Rehearsal:
    """Take real steps with a copy and record them; stops at the first loss that is not finite.

    ``take(twin, optimizer, batch)`` is one whole training step of the user's own loop; without it
    a step is to clear the gradients, run backward and step. Without ``tracked`` there are losses
    and no movements, at the price of the steps alone.
    """
    ledger = _Ledger(twin, optimizer) if tracked else None
    losses: list[float] = []
    asked = batches[: min(EVALUATED, steps)]
    initial = mean_loss(twin, asked, loss_of) if steps > 1 else math.nan
    stopped = None
    for number in range(steps):
        batch = batches[number % len(batches)]
        value = loss_of(twin, batch) if take is None else None
        losses.append(mean_loss(twin, [batch], loss_of) if value is None else float(value.detach()))
        if not math.isfinite(losses[-1]):
            stopped = f"the loss was {losses[-1]} at step {number}"
            break
        if take is not None:
            take(twin, optimizer, batch)
        elif value is not None:
            _take(optimizer, value, twin, batch, loss_of)
    final = mean_loss(twin, asked, loss_of) if stopped is None else math.nan
    return Rehearsal(
        optimizer=type(optimizer).__name__,
        losses=tuple(losses),
        initial=initial if steps > 1 else losses[0],  # of one step the loss itself tells
        final=final,
        movements=ledger.movements() if ledger is not None else (),
        stopped=stopped,
    )


def _take(
    optimizer: torch.optim.Optimizer, value: Tensor, twin: nn.Module, batch: Any, loss_of: LossOf
) -> None:
    """One plain step; an optimizer that asks for a closure (LBFGS) gets one."""

    def closure() -> Tensor:
        optimizer.zero_grad()
        again = loss_of(twin, batch)
        _backward(again, twin)
        return again

    if asks_for_closure(optimizer):
        cast(Any, optimizer).step(closure)
        return
    optimizer.zero_grad()
    _backward(value, twin)
    optimizer.step()


def _backward(value: Tensor, twin: nn.Module) -> None:
    """Gradients for the copy; what trains outside of it (a loss with weights) keeps its own."""
    own = {id(parameter) for parameter in twin.parameters()}
    with Guard() as guard:
        for node in nodes_behind(value):
            leaf = getattr(node, "variable", None)
            if leaf is not None and id(leaf) not in own:
                guard.keep_leaf(leaf)
        value.backward()


class _Ledger:
    """What each step of an optimizer does to each tensor; it wraps the ``step`` of this object."""

    def __init__(self, twin: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self._rates = {id(p): float(g["lr"]) for g in optimizer.param_groups for p in g["params"]}
        self._tracked = [
            (n, p) for n, p in twin.named_parameters() if p.requires_grad and id(p) in self._rates
        ]
        self._rows: dict[str, list[Row]] = {name: [] for name, _ in self._tracked}
        self._step = optimizer.step
        optimizer.step = self._recorded  # of the copy alone: its class is left as it is

    def _recorded(self, *arguments: Any, **options: Any) -> Any:
        tensors = [p.detach() for _, p in self._tracked]
        before = [tensor.clone() for tensor in tensors]
        weights = l2_each(before)
        result = self._step(*arguments, **options)
        changes = [tensor - old for tensor, old in zip(tensors, before, strict=True)]
        gradients = [_dense(p.grad) for _, p in self._tracked]
        known = [g for g in gradients if g is not None]
        sizes, norms = l2_each(changes), iter(l2_each(known))
        for index, (name, parameter) in enumerate(self._tracked):
            gradient, size, weight = gradients[index], sizes[index], weights[index]
            rows = self._rows[name]
            if gradient is None:
                rows.append((size, weight, None, None, None, None))
                continue
            norm, change, rate = next(norms), changes[index], self._rates[id(parameter)]
            product = size * norm
            along = -inner(change, gradient) / product if product > 0 else None
            touched = gradient.numel() - count_zeros(gradient)
            first = None
            if touched < gradient.numel():
                # Entries without gradient (rows of an embedding) must not dilute the figures;
                # weight decay and momentum move them too.
                kept = gradient != 0
                change, old = change[kept], before[index][kept]
                size, weight_there = l2(change), l2(old)
            else:
                old, weight_there = before[index], weight
            if touched and not rows:
                first = Step(update=size**2, weight=weight_there**2, product=inner(change, old))
            moved = size / touched**0.5 / rate if touched and rate > 0 else None
            rows.append((sizes[index], weight, norm, along, moved, first))
        return result

    def movements(self) -> tuple[Movement, ...]:
        return tuple(
            _movement(n, p, self._rates[id(p)], self._rows[n])
            for n, p in self._tracked
            if self._rows[n]
        )


def _movement(name: str, parameter: Tensor, rate: float, rows: list[Row]) -> Movement:
    update, weight, gradient, descent, moved, steps = zip(*rows, strict=True)
    return Movement(
        name=name,
        dimensions=parameter.dim(),
        rate=rate,
        update=update,
        weight=weight,
        gradient=gradient,
        descent=descent,
        moved=moved,
        first=steps[0],
    )


def _dense(gradient: Tensor | None) -> Tensor | None:
    if gradient is None:
        return None
    gradient = gradient.detach()
    return gradient if gradient.layout == torch.strided else gradient.to_dense()


def mean_loss(model: nn.Module, batches: Sequence[Any], loss_of: LossOf) -> float:
    """Mean loss over the batches; no graph is kept, and none is built if the loss needs none."""
    try:
        with torch.no_grad():
            values = [float(loss_of(model, batch)) for batch in batches]
    except RuntimeError:
        # A loss with derivatives in it (a gradient penalty, a differential equation) needs one.
        with torch.enable_grad():
            values = [float(loss_of(model, batch).detach()) for batch in batches]
    return math.fsum(values) / len(values)
