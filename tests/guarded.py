"""A training loop that drives guard policies by hand: what the watcher does, written independently."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unvanish.guard import Act, Moment, Policy, ScalePolicy, ScaleUpdate
from unvanish.recording import StepReading

Batch = tuple[Tensor, Tensor]


def read(parameters: dict[str, Tensor], step: int, scale: float = 1.0) -> StepReading:
    """The two statistics that policies use, by numpy in double precision."""
    norms, bad = [], []
    for parameter in parameters.values():
        gradient = parameter.grad
        if gradient is None:
            norms.append(np.nan)
            bad.append(0.0)
            continue
        dense = gradient.to_dense() if gradient.is_sparse else gradient
        entries = dense.detach().double().numpy() / scale
        norms.append(float(np.sqrt(np.square(entries[np.isfinite(entries)]).sum())))
        bad.append(float((~np.isfinite(entries)).sum()))
    values = {
        "gradient_l2": np.array(norms, np.float32),
        "gradient_nonfinite": np.array(bad, np.float32),
    }
    return StepReading(
        step=step, seconds=float(step), stage="unscaled unclipped whole", values=values
    )


def moment(
    parameters: dict[str, Tensor],
    optimizer: torch.optim.Optimizer | None = None,
    *,
    step: int = 0,
    loss: float | None = 1.0,
    scale: float = 1.0,
    **more: Any,
) -> Moment:
    optimizer = optimizer or torch.optim.SGD(list(parameters.values()), lr=0.1)
    return Moment(
        step=step,
        optimizer=optimizer,
        parameters=parameters,
        reading=read(parameters, step, scale),
        loss=loss,
        loss_scale=scale,
        **more,
    )


@dataclass
class Loop:
    """Steps a model with policies, as the watcher would."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    policies: Sequence[Policy] = ()
    acts: list[tuple[int, Act]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    skipped: list[int] = field(default_factory=list)
    after_backward: Callable[["Loop"], None] | None = None
    step: int = 0

    def take(self, batch: Batch) -> None:
        self.optimizer.zero_grad()
        loss = nn.functional.cross_entropy(self.model(batch[0]), batch[1])
        loss.backward()
        self.losses.append(float(loss.detach()))
        if self.after_backward is not None:
            self.after_backward(self)
        at = moment(
            dict(self.model.named_parameters()),
            self.optimizer,
            step=self.step,
            loss=self.losses[-1],
            model=self.model,
        )
        for policy in self.policies:
            policy.before_step(at)
        self.carry_out(at)
        for policy in self.policies:
            policy.after_step(at)
        self.acts += [(self.step, act) for act in at.acts]
        self.step += 1

    def carry_out(self, at: Moment) -> None:
        parameters = list(at.parameters.values())
        gradients = [p.grad for p in parameters]
        rates = [group["lr"] for group in self.optimizer.param_groups]
        if at.skip:
            self.skipped.append(self.step)
            for p in parameters:
                p.grad = None
        for group in self.optimizer.param_groups:
            group["lr"] *= at.rate_factor
        self.rates.append(self.optimizer.param_groups[0]["lr"])
        self.optimizer.step()
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        for p, gradient in zip(parameters, gradients, strict=True):
            p.grad = gradient

    def close(self) -> None:
        for policy in self.policies:
            policy.close()


def updated(policy: Policy, scaler: Any, step: int) -> list[Act]:
    """What a policy says to an update of the loss scale."""
    update = ScaleUpdate(step=step, scaler=scaler)
    assert isinstance(policy, ScalePolicy)
    policy.after_update(update)
    return update.acts


def state_of(model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[Any, Any]:
    return copy.deepcopy(model.state_dict()), copy.deepcopy(optimizer.state_dict()["state"])


def same(left: Any, right: Any) -> bool:
    """Bit for bit, through containers."""
    if isinstance(left, Tensor):
        return left.dtype == right.dtype and left.numpy().tobytes() == right.numpy().tobytes()
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right
