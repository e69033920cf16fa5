"""The gradients of a moment: how large they are without the loss scale, and made smaller in place."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unvanish import clipping
from unvanish.guard.policy import Moment


def stepped(moment: Moment) -> dict[str, Tensor]:
    """The watched parameters that this moment's optimizer steps (of several in a watch, its own)."""
    groups: list[dict[str, Any]] = moment.optimizer.param_groups
    own = {id(p) for group in groups for p in group["params"]}
    return {name: p for name, p in moment.parameters.items() if id(p) in own}


def present(moment: Moment) -> dict[str, Tensor]:
    """The gradients that there are, by parameter name."""
    found = {name: p.grad for name, p in stepped(moment).items()}
    return {name: gradient for name, gradient in found.items() if gradient is not None}


def loss_scaler(moment: Moment) -> Any:
    """The loss scaler that is in charge of this step, or None; one that is switched off is none."""
    scaler = moment.scaler
    return scaler if scaler is not None and scaler.is_enabled() else None


def nonfinite(moment: Moment) -> tuple[str, ...]:
    """Names of the parameters whose gradient has a NaN or an Inf."""
    counts = moment.reading.values.get("gradient_nonfinite")
    if counts is not None and not moment.touched:
        own = stepped(moment)
        named = zip(moment.parameters, counts, strict=False)
        return tuple(name for name, count in named if count > 0 and name in own)
    gradients = present(moment)
    return tuple(
        name for name, g in gradients.items() if not bool(torch.isfinite(_entries(g)).all())
    )


def norms(moment: Moment) -> dict[str, float]:
    """The l2 norm of each gradient that there is, unscaled."""
    read = moment.reading.values.get("gradient_l2")
    if read is not None and not moment.touched:
        own = stepped(moment)
        named = zip(moment.parameters, read, strict=False)
        return {name: float(norm) for name, norm in named if name in own and not np.isnan(norm)}
    return {
        name: clipping.whole_norm([gradient]) / moment.loss_scale
        for name, gradient in present(moment).items()
    }


def whole_norm(moment: Moment) -> float:
    """The l2 norm of everything, unscaled; infinite where an entry is not finite."""
    if nonfinite(moment):
        return math.inf
    if moment.touched or "gradient_l2" not in moment.reading.values:
        return clipping.whole_norm(present(moment).values()) / moment.loss_scale
    return math.hypot(*norms(moment).values())


def shrink(moment: Moment, factor: float) -> None:
    """Multiply all gradients by one factor."""
    with torch.no_grad():
        for gradient in present(moment).values():
            gradient.mul_(factor)
    moment.touched = True


def _entries(gradient: Tensor) -> Tensor:
    return gradient._values() if gradient.is_sparse else gradient
