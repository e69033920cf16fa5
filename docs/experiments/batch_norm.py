"""Claim 11: what batch norm forgives, and what it does to the gradient of a deep plain net."""

import torch
from nets import Measured, decades, gradients_at, halves, plain, right, train
from torch import nn


def measure() -> Measured:
    """Right answers under bad starts and large rates with and without; its own growth by depth."""
    seen, unseen = halves()
    measured: Measured = {}
    for norm in (False, True):
        name = "with batch norm" if norm else "without"
        for gain in (0.1, 2**0.5, 10.0):
            model = plain(nn.ReLU, 5, gain=gain, norm=norm)
            train(model, seen, torch.optim.SGD(model.parameters(), 0.1), 40)
            measured[f"{name}, gain {gain:.1f}, rate 0.1: right"] = _right(model, unseen)
        model = plain(nn.ReLU, 5, gain=2**0.5, norm=norm)
        train(model, seen, torch.optim.SGD(model.parameters(), 3.0), 40)
        measured[f"{name}, gain 1.4, rate 3: right"] = _right(model, unseen)
    for depth in (10, 50, 100):
        total = decades(gradients_at(plain(nn.ReLU, depth, norm=True), seen))
        measured[f"{depth} ReLUs behind batch norms: factor a layer"] = 10 ** (total / depth)
    return measured


def _right(model: nn.Module, data: tuple[torch.Tensor, torch.Tensor]) -> float:
    """In eval mode: the norm uses what it has gathered."""
    return right(model.eval(), data)
