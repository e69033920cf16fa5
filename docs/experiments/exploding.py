"""Claim 16: growth by the same multiplication, NaN, and what clipping cures and hides."""

import math

import torch
from nets import Measured, decades, gradients_at, halves, plain, right, train
from torch import nn


def measure() -> Measured:
    """Thirty ReLUs that start twice as large as He: without clipping, with it, and cured."""
    seen, unseen = halves()
    large = 2 * 2**0.5
    growth = decades(gradients_at(plain(nn.ReLU, 30, gain=large), seen))
    measured = {"30 ReLUs at twice He: growth a layer": 10 ** (growth / 31)}
    for name, gain, clip in (
        ("twice He", large, None),
        ("twice He, clipped at 1", large, 1.0),
        ("He", 2**0.5, None),
    ):
        model = plain(nn.ReLU, 30, gain=gain)
        losses = train(model, seen, torch.optim.SGD(model.parameters(), 0.01), 200, clip)
        measured |= {
            f"{name}: steps before NaN (200: none)": float(len(losses))
            if not math.isfinite(losses[-1])
            else 200.0,
            f"{name}: right on unseen samples": right(model, unseen),
        }
    return measured
