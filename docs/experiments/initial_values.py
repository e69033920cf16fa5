"""Claim 10: the variance of the signal by depth, under Xavier's rule and under He's."""

import torch
from nets import Measured, halves, plain
from torch import nn


def measure() -> Measured:
    """Root mean square of the signal behind thirty layers over that in front; how alike samples are."""
    seen, _ = halves()
    measured: Measured = {}
    for name, activation, gain, depth in (
        ("Xavier, 30 tanhs", nn.Tanh, 1.0, 30),
        ("Xavier, 30 ReLUs", nn.ReLU, 1.0, 30),
        ("He, 30 ReLUs", nn.ReLU, 2**0.5, 30),
        ("He, 100 ReLUs", nn.ReLU, 2**0.5, 100),
    ):
        with torch.no_grad():
            states = plain(activation, depth, gain=gain, width=256)[:-1](seen[0].repeat(1, 4))
        start = seen[0].square().mean().sqrt()
        measured[f"{name}: signal, end over start"] = (states.square().mean().sqrt() / start).item()
        directions = nn.functional.normalize(states, dim=1)
        alike = (directions @ directions.T).mean()
        measured[f"{name}: mean cosine between samples"] = alike.item()
    return measured
